"""Values of the command line: each function parses one, or says what is wrong with it."""

import argparse
import re

from training.recipe import NUMBERS


def pattern(text: str) -> str:
    """Check a regular expression."""
    try:
        re.compile(text)
    except re.error as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {exc}") from None
    return text


def pattern_with_group(text: str) -> str:
    """Check a regular expression whose first group is the patient."""
    if re.compile(pattern(text)).groups == 0:
        raise argparse.ArgumentTypeError(f"{text!r} has no group: put what names the patient in parentheses")
    return text


def sizes(text: str) -> tuple[int, ...]:
    """Parse `64x10,128x3` to the image size of each of ten epochs at 64 px and three at 128."""
    try:
        parts = [(int(size), int(epochs or 1)) for size, _, epochs in (part.partition("x") for part in text.split(","))]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list such as 64x10,128x3") from None
    return tuple(size for size, epochs in parts for _ in range(epochs))


def recipe_number(text: str) -> tuple[str, float]:
    """Parse `NAME=VALUE` for a number of `training.recipe.Recipe`."""
    name, _, value = text.partition("=")
    if name not in NUMBERS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(NUMBERS)}")
    try:
        return name, NUMBERS[name](value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{value!r} is no value for {name}") from None
