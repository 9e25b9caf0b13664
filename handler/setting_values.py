"""The forms of environment variables: each function parses a value, and its ValueError says what the value must be."""

import re
from collections.abc import Callable

BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
ORIGIN = re.compile(r"\*|https?://[A-Za-z0-9.-]+(:\d+)?")


def positive(text: str) -> int:
    """A number of things, above 0."""
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise ValueError("must be an integer above 0")
    return int(text)


def names(pattern: re.Pattern[str], what: str) -> Callable[[str], tuple[str, ...]]:
    """Names that match a pattern, separated by commas."""

    def parse(text: str) -> tuple[str, ...]:
        found = tuple(name for part in text.split(",") if (name := part.strip()))
        if wrong := [name for name in found if not pattern.fullmatch(name)]:
            raise ValueError(f"must be {what}, separated by commas; {', '.join(wrong)} is not")
        return found

    return parse


def bucket(text: str) -> str:
    """The name of an S3 bucket."""
    if not BUCKET.fullmatch(text):
        raise ValueError("must be the name of an S3 bucket, without s3://")
    return text


def s3_folder(text: str) -> str:
    """`s3://BUCKET/PREFIX/`."""
    if not re.fullmatch(rf"s3://{BUCKET.pattern}/([^/]+/)*", text):
        raise ValueError("must have the form s3://BUCKET/PREFIX/, with a slash at its end")
    return text


def prefix(text: str) -> str:
    """The prefix of keys of S3, such as `uploads/`."""
    if not re.fullmatch(r"([A-Za-z0-9_-][A-Za-z0-9._-]*/)+", text):
        raise ValueError("must be a key prefix that ends in a slash, such as uploads/")
    return text


def commit(text: str) -> str:
    """A commit SHA."""
    if not re.fullmatch("[0-9a-f]{40}", text):
        raise ValueError("must be a commit SHA of 40 hexadecimal digits, because a branch or tag may change")
    return text


def base_path(text: str) -> str:
    """The path prefix of a proxy, such as `/xray`."""
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", text):
        raise ValueError("must begin with a slash and end without one, such as /xray")
    return text


def level(text: str) -> str:
    """A log level, in any case."""
    if text.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
    return text.upper()


def header(text: str) -> str:
    """Sources for a Content-Security-Policy."""
    if not re.fullmatch(r"[\x21-\x3a\x3c-\x7e]+( [\x21-\x3a\x3c-\x7e]+)*", text):
        raise ValueError("must be CSP sources separated by single spaces, such as 'self' https://huggingface.co")
    return text


def shares(text: str) -> dict[str, float]:
    """Parse `0.1`, whose key is "", or `A=0.2,B=0.8`."""
    wrong = "must be a number between 0 and 1, such as 0.1, or one for each label, such as A=0.2,B=0.8"
    try:
        parts = [part.rpartition("=") for part in text.split(",")]
        found = [(label.strip(), float(share)) for label, _, share in parts]
    except ValueError:
        raise ValueError(wrong) from None
    if len(dict(found)) < len(found) or not all(0 < share < 1 for _, share in found):
        raise ValueError(wrong)
    return dict(found)
