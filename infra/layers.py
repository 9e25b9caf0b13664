"""Print what an image adds to the size of its base image, as a Markdown table.

docker build --target lambda -t xray:lambda .
python -m infra.layers xray:lambda
"""

import argparse
import json
import sys
from collections import Counter

from handler.command_help import parser_of
from handler.commands import program, run, suggest
from infra.engine import docker

BASE = "public.ecr.aws/docker/library/python:3.13-slim-bookworm"
LIBRARY = "/usr/local/lib/python3.13"
"""The standard library, to which the image adds only compiled modules."""

PLACES = ("/opt/python", "/var/task/handler", LIBRARY)
"""Folders to which the Dockerfile adds files. Files elsewhere count as unaccounted."""

LEAST = 300_000
"""Minimum number of bytes for a separate row."""


def above_base(image: str, base: str = BASE) -> int:
    """Return the number of uncompressed bytes that an image adds to its base image.

    Raises:
        RuntimeError: the image is not built on this base, or the engine fails (`EngineError`).
    """
    below, ground = _inspected(base)
    whole, layers = _inspected(image)
    if layers[: len(ground)] != ground:
        raise RuntimeError(f"{image} is not built on this {base}: build it again")
    return whole - below


def contents(image: str) -> dict[str, int]:
    """Return the bytes by file or folder directly below `PLACES`."""
    source = ("-path", f"{LIBRARY}/*", "-not", "-path", "*/__pycache__/*")
    theirs = ("(", *source, "-o", "-path", f"{LIBRARY}/site-packages/*", ")")
    find = ("find", *PLACES, "-type", "f", "-not", *theirs, "-printf", "%s\\t%p\\n")
    listing = docker("run", "--rm", "--network", "none", "--entrypoint", find[0], image, *find[1:])
    found: Counter[str] = Counter()
    for size, _, path in (line.partition("\t") for line in listing.splitlines()):
        place = next(place for place in PLACES if path.startswith(place))
        found[f"{place}/{path.removeprefix(place).split('/')[1]}"] += int(size)
    return found


def table(image: str, base: str = BASE) -> str:
    """Make a table with rows sorted by size. One row has the rest, so that the total is that of the engine."""
    total, found = above_base(image, base), contents(image)
    rows = sorted(((size, path) for path, size in found.items() if size >= LEAST), reverse=True)
    small = sum(size for size in found.values() if size < LEAST)
    rows += [(small, f"everything below {LEAST / 1e6:.1f} MB"), (total - sum(found.values()), "unaccounted")]
    lines = [f"| {path} | {size / 1e6:.1f} |" for size, path in rows]
    return "\n".join(["| above the base | MB |", "| --- | ---: |", *lines, f"| **total** | **{total / 1e6:.1f}** |"])


def _inspected(image: str) -> tuple[int, list[str]]:
    size, _, layers = docker("image", "inspect", "--format", "{{.Size}} {{json .RootFS.Layers}}", image).partition(" ")
    return int(size), json.loads(layers)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = parser_of(__doc__)
    parser.add_argument("image", help="built from the Dockerfile")
    parser.add_argument("--base", default=BASE, help="image that it is built on (default: %(default)s)")
    options = parser.parse_args(arguments)
    return run(lambda: _print(options), refused=(RuntimeError,))


def _print(options: argparse.Namespace) -> None:
    sys.stdout.write(f"{table(options.image, options.base)}\n")
    suggest(f"{program('infra.cold_start')} IMAGE for what a start of it costs")


if __name__ == "__main__":
    sys.exit(main())
