"""Options that several commands share, and their values: each function parses one, or says what is wrong with it."""

import argparse
import re

from training.patients import PATIENT
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


def add_split_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a split by patient."""
    parser.add_argument(
        "--validation",
        type=float,
        default=0.15,
        metavar="SHARE",
        help="to hold out when images are prepared (default: %(default)s)",
    )
    add_patient_argument(parser)


def add_patient_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option that says how a file name tells the patient."""
    parser.add_argument(
        "--patient",
        default=PATIENT,
        type=pattern_with_group,
        metavar="REGEX",
        help="regular expression on file names; group 1 is the patient (default: as Kaggle names them)",
    )
