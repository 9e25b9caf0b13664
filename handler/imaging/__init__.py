"""From the bytes of an image file to the pixels that the network sees.

Other packages use:

- `decode`: the one function from bytes to pixels
- `isolation`: the same in a process with hard limits, for files of strangers; `limits`: what these are
- `dicom`: what is a DICOM file, and which patient it is of

The other modules serve these. import-linter checks it.
"""
