"""All command lines: help begins with an example."""

import importlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from handler.command_help import add_command, parser_of
from handler.commands import SCRIPTS

ROOT = Path(__file__).parents[1]
PROGRAMS = ["handler", "training", "export"]
BUILDING = {"precompile", "trim"}
"""Run while the image is built, where nothing but the standard library is installed."""
MODULES = [
    f"infra.{path.stem}"
    for path in sorted((ROOT / "infra").glob("*.py"))
    if '\nif __name__ == "__main__":\n' in path.read_text() and path.stem not in BUILDING
]


def shown(module: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What is printed by a command line that ends at once."""
    with pytest.raises(SystemExit):
        importlib.import_module(module).main(words)
    captured = capsys.readouterr()
    return captured.out + captured.err


def subcommands(program: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Those that the parser offers instead of one that it does not have."""
    _, _, offered = shown(f"{program}.__main__", ["no-such-command"], capsys).rpartition("choose from ")
    return re.findall(r"[a-z-]+", offered)


def options(text: str) -> set[str]:
    return set(re.findall(r"(?<!\S)--[a-z-]+", text))


def assert_begins_with_an_example(help_text: str, command: str) -> None:
    usage, description, *rest = help_text.split("\n\n")
    heading, *examples = description.splitlines()
    assert usage.startswith(f"usage: {command} ")
    assert heading == "example:"
    assert any(line.startswith(f"  {command}") for line in examples)
    assert rest


def test_the_help_of_each_program_begins_with_an_example_of_each_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    for program in PROGRAMS:
        names = subcommands(program, capsys)
        text = shown(f"{program}.__main__", ["--help"], capsys)
        assert_begins_with_an_example(text, f"python -m {program}")
        assert len(names) > 4
        assert [name for name in names if f"  python -m {program} {name}" not in text.split("\n\n")[1]] == []


def test_the_help_of_each_subcommand_begins_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for program in PROGRAMS:
        for name in subcommands(program, capsys):
            text = shown(f"{program}.__main__", [name, "--help"], capsys)
            assert_begins_with_an_example(text, f"python -m {program} {name}")
            example, _, described = text.partition("\n\n")[2].partition("\n\n")
            assert options(example) <= options(described)


@pytest.mark.parametrize("module", MODULES)
def test_the_help_of_each_tool_begins_with_an_example(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(module, ["--help"], capsys)
    assert_begins_with_an_example(text, f"python -m {module}")
    own = "\n".join(line for line in text.splitlines() if f"python -m {module}" in line)
    assert options(own) <= options(text.rpartition("options:")[2]) | {"--help"}


def test_a_command_without_an_example_cannot_be_added() -> None:
    docstring = "Do it.\n\npython -m program one FILE"
    commands = parser_of(docstring).add_subparsers()
    add_command(commands, docstring, "one", "do one")
    with pytest.raises(ValueError, match="no example of on"):
        add_command(commands, docstring, "on", "do another")
    with pytest.raises(ValueError, match="no example"):
        parser_of("Do it.\n\nIt is done.")


@pytest.mark.parametrize(("module", "script"), SCRIPTS.items())
def test_an_installed_script_names_itself(module: str, script: str, tmp_path: Path) -> None:
    defined = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert defined[script] == f"{module}.__main__:main"
    assert len(defined) == len(SCRIPTS)
    (tmp_path / script).write_text(f"import {module}.__main__\n{module}.__main__.main()\n")

    done = subprocess.run(
        [sys.executable, script, "--help"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )

    assert_begins_with_an_example(done.stdout, script)
    assert "python -m" not in done.stdout
