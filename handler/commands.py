"""Shared code of all command lines. An error is printed as one line that names the remedy, not as a traceback."""

import errno
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from handler.errors import FolderError, HandlerError
from handler.files import require_writable

SCRIPTS = {"handler": "xray", "training": "xray-train", "export": "xray-export"}
"""The scripts that `pip install` makes, by the module that each runs. `pyproject.toml` defines them."""

_WITH_TENSORFLOW = ("train", "export")
"""Extras."""

_GONE = "the drive does not answer: connect it again, then run the same command again"
_FULL = "free space on the disk, then run the same command again"
_REMEDIES = {
    errno.ENOENT: "check the path",
    errno.EACCES: "grant access to it with chmod, or name another",
    errno.EPERM: "grant access to it with chmod, or name another",
    errno.EROFS: "name a place that can be written",
    errno.EISDIR: "name a file",
    errno.ENOTDIR: "name a folder",
    errno.EEXIST: "name a folder",  # a file exists where a folder must be created
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    **dict.fromkeys((errno.EIO, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ESTALE), _GONE),
}


def run(
    command: Callable[[], int | None],
    *,
    refused: tuple[type[Exception], ...] = (),
    out: Path | None = None,
    failed: int = 1,
    interrupted: str = "start it again",
    prog: str = "",
    arguments: Sequence[str] | None = None,
) -> int:
    """Run a command. Report an exception that stops it: first the notes of the exception, which explain it or contain
    results, then one line.

    Args:
        command: returns the exit status; None is 0.
        refused: exceptions whose message names the remedy, besides `HandlerError`.
        out: folder for the results; a check that it is writable comes first.
        failed: the exit status after an error.
        interrupted: what to do after Ctrl-C.
        prog: beginning of the command line.
        arguments: the rest of the command line; None for the arguments of this process.

    Returns:
        The exit status.
    """
    errors: tuple[type[Exception], ...] = (HandlerError, *refused)
    try:
        if out is not None:
            require_writable(out)
        status = command() or 0
        sys.stdout.flush()
    except BrokenPipeError:
        # The output pipe is closed. Python would try to write the rest of the output at exit.
        _drop_output()
        return 1
    except KeyboardInterrupt:
        _say(f"interrupted: {interrupted}")
        return 130
    except FolderError as exc:
        words = list(sys.argv[1:] if arguments is None else arguments)
        _report(exc, f"{exc}: {prog} {_retyped(words, exc.given, exc.instead)}" if exc.instead else str(exc))
    except errors as exc:
        _report(exc, str(exc))
    except OSError as exc:
        _report(exc, described(exc))
    else:
        return status
    return failed


def with_scripts(text: str) -> str:
    """Return a text with the scripts in place of `python -m MODULE`, if this process is a script."""
    if Path(sys.argv[0]).name not in SCRIPTS.values():
        return text
    return re.sub(r"python -m (\w+)(?![\w.])", lambda match: SCRIPTS.get(match[1], match[0]), text)


def program(module: str) -> str:
    """Return the command that starts a module with this Python: `xray`, or `.venv/bin/python -m handler`."""
    generic = f"python -m {module}"
    if (script := with_scripts(generic)) != generic:
        return script
    python = Path(sys.executable)
    if shutil.which("python") == str(python):
        return generic
    if python.is_relative_to(here := Path.cwd()):
        python = python.relative_to(here)
    return f"{shlex.quote(str(python))} -m {module}"


def suggest(command: str) -> None:
    """Tell a person what to type next. The output stays as programs read it: this goes to standard error, and only if
    that is a terminal."""
    if sys.stderr.isatty():
        sys.stdout.flush()
        sys.stderr.write(f"next: {command}\n")


def printable(text: str) -> str:
    """Escape control characters, such as those of a file name: they could move the cursor or begin another line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


@contextmanager
def needing_packages(extra: str = "", *, failed: int = 1) -> Iterator[None]:
    """Say how to install a package that is missing, in one line.

    Args:
        extra: the extra that the package belongs to; empty for the packages of serving.
        failed: the exit status.

    Raises:
        SystemExit: a package is missing.
    """
    try:
        yield
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] in ("", "handler", "training", "export", "infra"):
            raise
        remedy = "make serve, and use .venv/bin/python, or pip install ."
        if extra:
            remedy = f"make install, or pip install '.[{extra}]'"
        if extra in _WITH_TENSORFLOW and sys.version_info >= (3, 14):
            remedy += " with Python 3.13, the last one that TensorFlow has packages for"
        _say(f"error: {exc.name} is not installed: {remedy}")
        sys.exit(failed)


def _retyped(words: list[str], given: Path, instead: Path) -> str:
    """Return the command line with `instead` in place of the given folder."""
    found = []
    for word in words:
        option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        found.append(f"{option}{equals}{instead}" if value and Path(value) == given else word)
    return shlex.join(found)


def described(exc: OSError) -> str:
    """Return the path, the error and the remedy."""
    if exc.errno is None or exc.strerror is None:  # it has its own message
        return str(exc)
    where = exc.filename if exc.filename is not None else "the output"
    if isinstance(where, bytes):
        where = os.fsdecode(where)
    remedy = _REMEDIES.get(exc.errno, "check the path and its permissions")
    return f"{where}: {exc.strerror}: {remedy}"


def _report(exc: Exception, text: str) -> None:
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()
    _say(*getattr(exc, "__notes__", ()), f"error: {text}")


def _say(*lines: str) -> None:
    """Write to standard error, on a terminal in place of a progress bar or `^C` in the current line."""
    erase = "\r\x1b[K" if sys.stderr.isatty() else ""
    sys.stderr.write(erase + "".join(f"{line}\n" for line in lines))


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
