"""Run the command line of `training.commands`, if its packages are installed.

python -m training --help
"""

import sys
from collections.abc import Sequence

from handler.commands import needing_packages


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    with needing_packages("train"):
        from training.commands import main as run

        return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
