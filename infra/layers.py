"""What an image weighs above its base, megabyte by megabyte, as a Markdown table.

docker build --target lambda -t xray:lambda .
python -m infra.layers xray:lambda
"""

import argparse
import json
import sys
from collections import Counter

from handler.command_help import parser_of
from handler.commands import run, suggest
from infra.engine import docker

BASE = "public.ecr.aws/docker/library/python:3.13-slim-bookworm"
LIBRARY = "/usr/local/lib/python3.13"
"""The standard library, to which the image adds compiled modules alone."""

PLACES = ("/opt/python", "/var/task/handler", LIBRARY)
"""Where everything lies that the Dockerfile adds; what is written elsewhere shows as unaccounted."""

LEAST = 300_000
"""Bytes from which an entry gets a row of its own."""


def above_base(image: str, base: str = BASE) -> int:
    """Bytes that an image adds to its base, uncompressed.

    Raises:
        RuntimeError: the image does not stand on that base, or the engine cannot say (`EngineError`).
    """
    below, ground = _inspected(base)
    whole, layers = _inspected(image)
    if layers[: len(ground)] != ground:
        raise RuntimeError(f"{image} is not built on this {base}: build it again")
    return whole - below


def contents(image: str) -> dict[str, int]:
    """Bytes by file or folder right below `PLACES`."""
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
    """Rows by size; the rest in one, so that the sum is what the engine says."""
    total, found = above_base(image, base), contents(image)
    rows = sorted(((size, path) for path, size in found.items() if size >= LEAST), reverse=True)
    small = sum(size for size in found.values() if size < LEAST)
    rows += [(small, f"everything below {LEAST / 1e6:.1f} MB"), (total - sum(found.values()), "unaccounted")]
    lines = [f"| {path} | {size / 1e6:.1f} |" for size, path in rows]
    return "\n".join(["| above the base | MB |", "| --- | ---: |", *lines, f"| **in all** | **{total / 1e6:.1f}** |"])


def _inspected(image: str) -> tuple[int, list[str]]:
    size, _, layers = docker("image", "inspect", "--format", "{{.Size}} {{json .RootFS.Layers}}", image).partition(" ")
    return int(size), json.loads(layers)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = parser_of(__doc__)
    parser.add_argument("image", help="built from the Dockerfile")
    parser.add_argument("--base", default=BASE, help="image that it is built on (default: %(default)s)")
    options = parser.parse_args(arguments)
    return run(lambda: _print(options), refused=(RuntimeError,))


def _print(options: argparse.Namespace) -> None:
    sys.stdout.write(f"{table(options.image, options.base)}\n")
    suggest("python -m infra.cold_start IMAGE for what a start of it costs")


if __name__ == "__main__":
    sys.exit(main())
