"""Write the figures of the READMEs: each block between `<!-- figures: NAME -->` and `<!-- end -->`.

python -m infra.readme

The figures come from JSON files that measurements wrote, see `infra.readme_files`. `make figures` measures again and
then runs this.
"""

import re
import sys
from pathlib import Path

from handler.command_help import parser_of
from handler.commands import run
from handler.files import write_atomically
from infra.engine import ROOT
from infra.readme_blocks import BLOCKS
from infra.readme_files import FigureError

DOCUMENTS = tuple(
    ROOT / name for name in ("README.md", *(f"{p}/README.md" for p in ("handler", "training", "export", "infra")))
)

_BLOCK = re.compile(r"(<!-- figures: ([a-z0-9-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def written(text: str) -> str:
    """A document with its blocks written anew.

    Raises:
        FigureError: there is no such block, or a JSON file is missing or of another model.
    """

    def block(match: re.Match[str]) -> str:
        if match[2] not in BLOCKS:
            raise FigureError(f"there is no block {match[2]}: use one of {', '.join(BLOCKS)}")
        return f"{match[1]}{BLOCKS[match[2]]()}\n{match[3]}"

    return _BLOCK.sub(block, text)


def blocks(text: str) -> list[str]:
    """The names of the blocks in a document."""
    return [match[2] for match in _BLOCK.finditer(text)]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = parser_of(__doc__)
    parser.parse_args(arguments)
    return run(_write, refused=(FigureError,))


def _write() -> None:
    texts = {path: written(path.read_text(encoding="utf-8")) for path in DOCUMENTS}
    for path, text in texts.items():
        write_atomically(path, lambda temporary, text=text: _save(temporary, text))  # type: ignore[misc]
        sys.stdout.write(f"{path.relative_to(ROOT)}: {len(blocks(text))} blocks\n")
    sys.stdout.write("the figures are written; see what changed with: git diff\n")


def _save(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
