"""Delete files of the installed packages that serving does not load. It runs when the image is built:

    python infra/trim.py /opt/python

This script needs only the standard library. A pattern that matches nothing is an error, so that files are not kept
unnoticed after a package has moved them.
"""

import compileall
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

UNUSED = {
    # A second copy of the runtime for C programs. The copy for Python is linked statically.
    "onnxruntime/capi/libonnxruntime.so.*": "C API",
    "onnxruntime/transformers": "graph tools",
    "onnxruntime/quantization": "used by export only",
    "onnxruntime/tools": "graph tools",
    "onnxruntime/datasets": "examples",
    "onnxruntime/backend": "an alternative API",
    "hf_xet": "a faster protocol for downloads of many GB; without it the client speaks plain HTTP",
    "hf_xet-*": "its metadata, from which the client would conclude that it is installed",
    "numpy/f2py": "Fortran compiler front end",
    "numpy/_core/_simd*": "numpy's own tests",
    "numpy/_core/_*_tests*": "numpy's own tests",
    "numpy/_core/include": "C headers",
    "numpy/_core/lib": "static libraries",
    "numpy/random/lib": "static libraries",
    "PIL/_avif*": "AVIF, which `handler.imaging.decode` does not read",
    "pillow.libs/libavif*": "AVIF",
    "PIL/_imagingft*": "drawing of text",
    "pillow.libs/libfreetype*": "drawing of text",
    "pillow.libs/libharfbuzz*": "drawing of text",
    "PIL/_imagingtk*": "windows on a desktop",
    "pydicom/data/test_files": "examples",
    "pydicom/sr/_*_dict.py": "dictionaries of structured reports",
    "google": "protobuf, with which onnxruntime's tools read graphs; the runtime has its own copy",
    "bin": "command lines of the packages",
    "*.dist-info/sboms": "lists of components",
}
"""The reason for the deletion, by pattern of paths."""

KEPT = {
    "imagecodecs": (
        *("__init__.py", "imagecodecs.py", "_shared*.so", "licenses"),
        *("_jpeg8*.so", "_jpegls*.so", "_jpeg2k*.so"),
    ),
    "imagecodecs.libs": ("libjpeg-*", "libcharls-*", "libopenjp2-*", "liblcms2-*"),
}
"""Files to keep, by folder of which little is used. imagecodecs loads a codec when it is called, and
`handler.imaging.dicom_pixels` calls three of seventy."""

TESTS = ("tests", "test")
SOURCES = (".pyi", ".pyx", ".pxd", ".h", ".a", ".c")

CLOUD_SERVICES = ("s3", "sts")
"""The services that are used with boto3. botocore contains the descriptions of four hundred services."""


WITH_SYMBOLS = ("PIL/_imaging.*.so", "yaml/_yaml*.so")
"""Libraries whose published files consist mostly of symbol tables."""


def trim(root: Path) -> None:
    """Delete unused files, strip libraries, and replace each module by its compiled form.

    Raises:
        FileNotFoundError: a pattern matches nothing.
    """
    for pattern in UNUSED:
        for path in _found(root, pattern):
            _remove(path)
    for folder, patterns in KEPT.items():
        kept = {path for pattern in patterns for path in _found(root / folder, pattern)}
        for path in set((root / folder).iterdir()) - kept:
            _remove(path)
    for package in ("boto3", "botocore"):
        for path in (root / package / "data").iterdir():
            if path.is_dir() and path.name not in CLOUD_SERVICES:
                shutil.rmtree(path)
    for path in list(root.rglob("*")):
        if (path.name in TESTS and path.is_dir()) or path.suffix in SOURCES:
            _remove(path)
    for pattern in WITH_SYMBOLS:
        for path in _found(root, pattern):
            subprocess.run(["strip", "--strip-unneeded", path], check=True)  # noqa: S603, S607
    # Unchecked: the file system is read-only, so Python need not compare the times of files.
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(root, quiet=1, legacy=True, invalidation_mode=mode, stripdir=root):
        raise RuntimeError("a module does not compile: see the messages above")
    for path in root.rglob("*.py"):
        path.unlink()


def _found(root: Path, pattern: str) -> list[Path]:
    found = list(root.glob(pattern))
    if not found:
        raise FileNotFoundError(f"{root / pattern} matches nothing: remove it from the list or correct it")
    return found


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    trim(Path(sys.argv[1]))
