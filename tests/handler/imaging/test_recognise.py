"""The error for a file that is not a supported image names its format and the remedy."""

import base64
import gzip
import io
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from handler.errors import UnreadableImage, UnsupportedFormat
from handler.imaging.decode import decode
from tests.handler.images import encode, jpeg, phantom, png, tiff


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("image.jpg", jpeg())
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("image.jpg")
        member.size = len(jpeg())
        archive.addfile(member, io.BytesIO(jpeg()))
    return file.getvalue()


def array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros((8, 8)))
    return file.getvalue()


def brand(name: bytes) -> bytes:
    return b"\0\0\0\x18ftyp" + name + bytes(12)


FILES = {
    "HEIC": (lambda: brand(b"heic"), r"HEIC image.*\. Save it as JPEG or PNG"),
    "HEIF": (lambda: brand(b"mif1"), "HEIC image"),
    "AVIF": (lambda: encode(phantom(), "AVIF"), r"AVIF image\. Save it as JPEG or PNG"),
    "MP4": (lambda: brand(b"isom"), r"a video\. Save one frame"),
    "JP2": (lambda: encode(phantom(), "JPEG2000"), r"JPEG 2000 image \(JP2\)\. Save it"),
    "J2K": (lambda: encode(phantom(), "JPEG2000", no_jp2=True), r"JPEG 2000 codestream\. Save it"),
    "JPEG XL": (lambda: b"\xff\x0a" + bytes(20), r"JPEG XL image\. Save it"),
    "JPEG XL in a box": (lambda: b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(20), r"JPEG XL image\. Save it"),
    "NIfTI": (lambda: b"\x5c\x01\0\0" + bytes(340) + b"n+1\0" + bytes(100), r"NIfTI volume\. Export the image in it"),
    "NIfTI 2": (lambda: b"\x1c\x02\0\0n+2\0\r\n\x1a\n" + bytes(540), "NIfTI volume"),
    "NRRD": (lambda: b"NRRD0004\ntype: short\n", "NRRD volume"),
    "PDF": (lambda: encode(phantom(), "PDF"), r"PDF document\. Export the image in it"),
    "zip": (zipped, r"zip archive.*\. Unpack it"),
    "gzip": (lambda: gzip.compress(jpeg()), r"gzip file\. Unpack it"),
    "tar": (tarred, r"tar archive\. Unpack it"),
    "npy": (array, r"NumPy array\. Save the array as a PNG"),
    "UTF-8 JPEG": (lambda: jpeg().decode(errors="replace").encode(), "converted as text.*as binary data"),
    "UTF-8 PNG": (lambda: png().decode(errors="replace").encode(), "converted as text"),
    "Latin-1 JPEG": (lambda: jpeg().decode("latin-1").encode(), "converted as text"),
    "Latin-1 PNG": (lambda: png().decode("latin-1").encode(), "converted as text"),
    "base64 JPEG": (lambda: base64.b64encode(jpeg()), r"base64 text\. Decode it"),
    "base64 PNG": (lambda: base64.b64encode(png()), r"base64 text\. Decode it"),
    "data URL": (lambda: b"data:image/png;base64," + base64.b64encode(png()), "base64 text"),
    "HTML": (lambda: b"\n<!DOCTYPE html><html><body>403 Forbidden</body></html>", "HTML page.*Check where"),
    "SVG": (lambda: b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', r"SVG drawing\. Send one of"),
    "JSON": (lambda: b'{"message": "Forbidden"}', "JSON.*Check where"),
    "text": (lambda: "Röntgen: Thorax p.a., Befund unauffällig".encode(), r"The file is text\. Send one of"),
    "anything": (lambda: bytes(range(200, 250)), r"not an image of a supported format\. Send one of JPEG, PNG"),
}


@pytest.mark.parametrize("name", FILES)
def test_the_message_names_the_file_and_the_remedy(name: str) -> None:
    make, message = FILES[name]

    with pytest.raises(UnsupportedFormat, match=message):
        decode(make(), 64)


DAMAGED = {
    "JPEG": lambda: jpeg()[:30],
    "PNG": lambda: png()[:20],
    "GIF": lambda: encode(phantom(), "GIF")[:8],
    "BMP": lambda: encode(phantom(), "BMP")[:20],
    "WebP": lambda: b"RIFF\x10\0\0\0WEBPVP8 ",
    "TIFF": lambda: tiff(np.asarray(phantom()), tags={258: (3, 1, 24)}),
    "TIFF (big-endian BigTIFF)": lambda: tiff(np.asarray(phantom()), order=">", big=True),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_supported_format_with_a_broken_header_is_named(name: str) -> None:
    with pytest.raises(UnreadableImage, match=f"begins like {name.split()[0]}.*Save it again|truncated or corrupt"):
        decode(DAMAGED[name](), 64)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_images_are_not_taken_for_something_else(name: str) -> None:
    assert decode(encode(Image.new("L", (8, 8), 128).convert("RGB"), name), 8).shape == (8, 8)
