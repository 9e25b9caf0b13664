"""Decode the bytes of an image file to the pixels that the network takes.

Other packages use:

- `decode`: the one function from bytes to pixels
- `isolation`: the same in a separate process with hard limits, for untrusted files; `limits`: these limits
- `dicom`: `is_dicom` detects a DICOM file

The other modules are private to this package. import-linter checks it.
"""
