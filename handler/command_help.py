"""Parsers of command lines whose help begins with an example.

The examples are those of the docstring of the command line's module: a summary, a paragraph of commands, and what else
there is to say.
"""

import argparse
import re
from typing import TYPE_CHECKING, Any

from handler.commands import with_scripts

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


class _Parser(argparse.ArgumentParser):
    """Reports an unknown option of a subcommand with the usage of the subcommand."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """See `argparse.ArgumentParser.parse_args`."""
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            getattr(options, _COMMAND, self).error(f"unrecognized arguments: {' '.join(unknown)}")
        return options


_COMMAND = "command_parser"


def parser_of(docstring: str) -> argparse.ArgumentParser:
    """A parser for the module with this docstring. Its help shows the examples first."""
    summary, examples, *rest = docstring.strip().split("\n\n")
    program = re.search(r"^python -m \S+", examples, re.MULTILINE)
    if program is None:
        raise ValueError(f"the second paragraph has no example that begins with `python -m`: {examples}")
    return _Parser(
        prog=with_scripts(program[0]),
        description=_description(examples.splitlines(), summary, *rest),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_command(commands: "Subparsers", docstring: str, name: str, summary: str) -> argparse.ArgumentParser:
    """Add a subcommand. Its help shows its own examples first.

    Args:
        docstring: of the module, with an example of each subcommand.

    Raises:
        ValueError: the docstring has no example of this subcommand.
    """
    examples = re.findall(rf"^python -m \S+ {re.escape(name)}\b.*$", docstring, re.MULTILINE)
    if not examples:
        raise ValueError(f"the docstring has no example of {name}")
    command = commands.add_parser(
        name,
        help=summary,
        description=_description(examples, f"{summary[0].upper()}{summary[1:]}."),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(**{_COMMAND: command})
    return command


def _description(examples: list[str], *texts: str) -> str:
    return with_scripts("\n\n".join(["\n".join(["example:", *(f"  {line}" for line in examples)]), *texts]))
