"""Take out of the installed packages what serving never loads. Runs while the image is built:

    python infra/trim.py /opt/python

Needs nothing but the standard library. What is named here and no longer exists is an error, so that a package that
moves its files does not quietly bring them back.
"""

import compileall
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

UNUSED = {
    # A second copy of the runtime, for programs in C; Python's own is linked statically.
    "onnxruntime/capi/libonnxruntime.so.*": "C API",
    "onnxruntime/transformers": "graph tools",
    "onnxruntime/quantization": "used by export only",
    "onnxruntime/tools": "graph tools",
    "onnxruntime/datasets": "examples",
    "onnxruntime/backend": "another way in",
    "hf_xet": "a faster protocol for downloads of many GB; without it the client speaks plain HTTP",
    "hf_xet-*": "its metadata, by which the client would take it to be there",
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
    "google": "protobuf, with which onnxruntime's tools read graphs; the runtime has its own",
    "bin": "command lines of the packages",
}
"""By pattern of path: why it goes."""

KEPT = {
    "imagecodecs": (
        *("__init__.py", "imagecodecs.py", "_shared*.so", "licenses"),
        *("_jpeg8*.so", "_jpegls*.so", "_jpeg2k*.so"),
    ),
    "imagecodecs.libs": ("libjpeg-*", "libcharls-*", "libopenjp2-*", "liblcms2-*"),
}
"""By folder of which little is used: what stays. imagecodecs loads a codec when it is called, and
`handler.imaging.dicom_pixels` calls three of seventy."""

TESTS = ("tests", "test")
SOURCES = (".pyi", ".pyx", ".pxd", ".h", ".a", ".c")

CLOUD_SERVICES = ("s3", "sts")
"""What boto3 is used for; botocore describes four hundred services."""


WITH_SYMBOLS = ("PIL/_imaging.*.so", "yaml/_yaml*.so")
"""Libraries that were published with their symbol tables, most of their size."""


def trim(root: Path) -> None:
    """Delete, strip, and leave of every module only its compiled form.

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
    # Unchecked: the file system is read-only and its times mean nothing, so Python need not compare them.
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(root, quiet=1, legacy=True, invalidation_mode=mode, stripdir=root):
        raise RuntimeError("a module does not compile: see the messages above")
    for path in root.rglob("*.py"):
        path.unlink()


def _found(root: Path, pattern: str) -> list[Path]:
    found = list(root.glob(pattern))
    if not found:
        raise FileNotFoundError(f"{root / pattern} matches nothing: take it off the list or mend it")
    return found


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    trim(Path(sys.argv[1]))
