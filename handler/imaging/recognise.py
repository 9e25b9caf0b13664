"""The error for a file that cannot be opened as an image: it names the file's format and the remedy."""

import codecs
import re

from handler.errors import InputError, UnreadableImage, UnsupportedFormat

_CONVERT = "Save it as JPEG or PNG."
_EXPORT = "Export the image in it as JPEG, PNG or DICOM."
_UNPACK = "Unpack it and send the image in it."
_SAVE_ARRAY = "Save the array as a PNG of 8 or 16 bits."
_CHECK = "Check where it came from."

_READ = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"GIF8": "GIF", b"BM": "BMP"}
_READ |= dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "TIFF")

_KINDS: tuple[tuple[int, bytes, str, str], ...] = (
    (8, b"WEBP", "WebP", ""),
    (4, b"ftypavif", "an AVIF image", _CONVERT),
    (4, b"ftypavis", "an AVIF image", _CONVERT),
    (4, b"ftyphe", "a HEIC image, as phones take photographs", _CONVERT),
    (4, b"ftypmif1", "a HEIC image, as phones take photographs", _CONVERT),
    (4, b"ftypmsf1", "a HEIC image, as phones take photographs", _CONVERT),
    (4, b"ftyp", "a video", "Save one frame as JPEG or PNG."),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 image (JP2)", _CONVERT),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 codestream", _CONVERT),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL image", _CONVERT),
    (0, b"\xff\x0a", "a JPEG XL image", _CONVERT),
    (0, b"8BPS", "a Photoshop document", _CONVERT),
    (344, b"n+1\0", "a NIfTI volume", _EXPORT),
    (344, b"ni1\0", "the header of a NIfTI volume", _EXPORT),
    (4, b"n+2\0", "a NIfTI volume", _EXPORT),
    (0, b"NRRD", "an NRRD volume", _EXPORT),
    (0, b"ObjectType", "a MetaImage volume", _EXPORT),
    (0, b"%PDF", "a PDF document", _EXPORT),
    (0, b"%!PS", "a PostScript document", _EXPORT),
    (0, b"\xd0\xcf\x11\xe0", "an Office document", _EXPORT),
    (0, b"PK\x03\x04", "a zip archive (or a document or array file that is one)", _UNPACK),
    (0, b"PK\x05\x06", "an empty zip archive", "Send an image."),
    (0, b"\x1f\x8b", "a gzip file", _UNPACK),
    (0, b"BZh", "a bzip2 file", _UNPACK),
    (0, b"\xfd7zXZ", "an xz file", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard file", _UNPACK),
    (0, b"7z\xbc\xaf", "a 7z archive", _UNPACK),
    (0, b"Rar!", "a RAR archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"\x93NUMPY", "a NumPy array", _SAVE_ARRAY),
    (0, b"\x89HDF", "an HDF5 file", _SAVE_ARRAY),
)

# U+FFFD replaces a byte that is not UTF-8. The others are the first bytes of JPEG and PNG, read as Latin-1.
_MANGLED = re.compile(rb".{0,63}\xef\xbf\xbd|\xc3\xbf\xc3\x98|\xc2\x89PNG", re.DOTALL)
_BASE64 = re.compile(rb"\s*(data:[\w/+.-]*;base64,|/9j/|iVBORw0KGgo|R0lGOD|SUkqA|TU0AK|UklGR)")
_PAGE = re.compile(rb"\s*<(!doctype html|html|head|body)", re.IGNORECASE)
_SVG = re.compile(rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<svg", re.IGNORECASE | re.DOTALL)


def unopened(data: bytes, formats: tuple[str, ...]) -> InputError:
    """Make the error for a file that no decoder accepts. It names the file's format and the remedy.

    Args:
        data: the file, not empty.
        formats: names of the supported formats.
    """
    accepted = f"Send one of {', '.join(formats)} or DICOM."
    for start, name in _READ.items():
        if data.startswith(start):
            return _damaged(name)
    for at, magic, name, remedy in _KINDS:
        if data.startswith(magic, at):
            return UnsupportedFormat(f"The file is {name}. {remedy}") if remedy else _damaged(name)
    head = data[:1024]
    if _MANGLED.match(head):
        return UnsupportedFormat(
            "The bytes of the file were converted as text, which destroyed them. Send the original as binary data "
            "(with curl: --data-binary)."
        )
    if _BASE64.match(head):
        return UnsupportedFormat("The file is an image as base64 text. Decode it and send the bytes.")
    if _SVG.match(head):
        return UnsupportedFormat(f"The file is an SVG drawing. {accepted}")
    if _PAGE.match(head):
        return UnsupportedFormat(f"The file is an HTML page, perhaps an error or a login. {_CHECK}")
    if head.lstrip()[:1] in (b"{", b"["):
        return UnsupportedFormat(f"The file is JSON, perhaps an error message. {_CHECK}")
    if _is_text(head):
        return UnsupportedFormat(f"The file is text. {accepted}")
    return UnsupportedFormat(f"The file is not an image of a supported format. {accepted}")


def _damaged(name: str) -> UnreadableImage:
    return UnreadableImage(
        f"The file begins like {name}, but its header is truncated, corrupt or of a rare kind. Save it again, with 8 "
        "or 16 bits of grey."
    )


def _is_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be incomplete
    except UnicodeDecodeError:
        return False
    return "".join(text.split()).isprintable()
