"""Options that several commands share, and functions that parse their values."""

import argparse
import re
from pathlib import Path

from training.dataset import Reading
from training.patients import PATIENT
from training.recipe import NUMBERS


def pattern(text: str) -> str:
    """Check a regular expression."""
    try:
        re.compile(text)
    except re.error as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is not a regular expression: {exc}") from None
    return text


def pattern_with_group(text: str) -> str:
    """Check a regular expression that has a group. The first group is the value to extract."""
    if re.compile(pattern(text)).groups == 0:
        raise argparse.ArgumentTypeError(f"{text!r} has no group: put the part to extract in parentheses")
    return text


def names(text: str) -> tuple[str, ...]:
    """Parse `A,B,C`."""
    found = tuple(name for part in text.split(",") if (name := part.strip()))
    if len(found) < 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of two or more classes such as NORMAL,PNEUMONIA")
    return found


def positive_integer(text: str) -> int:
    """Parse an integer above zero."""
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer above 0")
    return int(text)


def channels(text: str) -> tuple[int, ...]:
    """Parse the channels of each convolution: `16,24,32`. `training.recipe.Recipe` checks their number."""
    return tuple(positive_integer(part.strip()) for part in text.split(","))


def sizes(text: str) -> tuple[int, ...]:
    """Parse image sizes: `64x10,128x3` means ten epochs at 64 px, then three at 128 px. One size for each epoch."""
    try:
        parts = [(int(size), int(epochs or 1)) for size, _, epochs in (part.partition("x") for part in text.split(","))]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list such as 64x10,128x3") from None
    return tuple(size for size, epochs in parts for _ in range(epochs))


def recipe_number(text: str) -> tuple[str, float]:
    """Parse `NAME=VALUE` for a number of `training.recipe.Recipe`."""
    name, _, value = text.partition("=")
    if name not in NUMBERS:
        raise argparse.ArgumentTypeError(f"unknown name {name!r}: use one of {', '.join(NUMBERS)}")
    try:
        return name, NUMBERS[name](value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{value!r} is not a valid value for {name}") from None


def add_data_arguments(
    parser: argparse.ArgumentParser, *options: str, required: bool = True, purpose: str = ""
) -> None:
    """Add `--data` and the options for reading a data set, see `reading`.

    Args:
        options: other names of `--data`.
        purpose: text at the end of the help: what the data is used for.
    """
    parser.add_argument(
        "--data",
        *options,
        dest="data",
        type=Path,
        required=required,
        help=f"data set (folders PART/CLASS or CLASS, or see --csv), or a prepared folder{purpose}",
    )
    group = parser.add_argument_group("how to read a data set")
    group.add_argument(
        "--csv",
        type=Path,
        metavar="FILE",
        help="table with the columns path and label, optionally patient and split; those of RSNA and NIH are supported",
    )
    group.add_argument(
        "--labels",
        type=names,
        default=(),
        metavar="A,B,...",
        help="the classes to use, in this order (default: all, sorted by name)",
    )
    group.add_argument(
        "--positive", metavar="CLASS", help="the positive class of two (default: the one that is not NORMAL)"
    )
    group.add_argument(
        "--label-pattern",
        type=pattern_with_group,
        metavar="REGEX",
        help="regular expression on file names; where it matches, group 1 in upper case is the class",
    )
    group.add_argument(
        "--patient",
        default=PATIENT,
        type=pattern_with_group,
        metavar="REGEX",
        help="regular expression on file names; group 1 is the patient (default: the file names of Kaggle)",
    )


def reading(options: argparse.Namespace) -> Reading:
    """Return how to read a data set, from the options of `add_data_arguments`."""
    return Reading(
        csv=options.csv,
        labels=options.labels,
        positive=options.positive,
        label_pattern=options.label_pattern,
        patient=options.patient,
    )


def add_prepare_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for preparing images."""
    parser.add_argument(
        "--validation",
        type=float,
        default=0.15,
        metavar="SHARE",
        help="share of the images to hold out for validation (default: %(default)s)",
    )
    parser.add_argument(
        "--workers", type=positive_integer, metavar="N", help="number of processes (default: one for each core)"
    )
