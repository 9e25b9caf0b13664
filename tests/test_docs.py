"""The documents: links resolve, paths exist, and the changelog names the package's version."""

import re
import string
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.conftest import REPOSITORY

FOLDERS = ("handler", "training", "export", "infra", "tests", ".github", ".ci")
DOCUMENTS = sorted(
    [*REPOSITORY.glob("*.md"), *(path for name in FOLDERS for path in (REPOSITORY / name).rglob("*.md"))]
)

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
_PATH = re.compile(
    rf"(?<![\w./-])(?:{'|'.join(map(re.escape, FOLDERS))})/[\w./{{}},-]*[\w}}/]"
    r"|(?<=`)[\w.-]+\.(?:toml|yaml|md|lock)(?=`)"
)


def links(text: str) -> list[str]:
    """Targets of the links and images of a document that are not addresses on the web."""
    prose = _CODE.sub("", _FENCE.sub("", text))
    targets = [inline or reference for inline, reference in _LINK.findall(prose)]
    return [target for target in targets if not _ELSEWHERE.match(target)]


def anchors(text: str) -> set[str]:
    """What GitHub makes of the headings: small letters, no punctuation, a hyphen for each space."""
    found: list[str] = []
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        unmarked = shown.translate(str.maketrans("", "", string.punctuation.replace("-", "").replace("_", "")))
        anchor = unmarked.replace(" ", "-")
        earlier = sum(each == anchor or re.fullmatch(rf"{re.escape(anchor)}-\d+", each) is not None for each in found)
        found.append(f"{anchor}-{earlier}" if earlier else anchor)
    return set(found)


def broken(document: Path) -> list[str]:
    """The links of a document that lead nowhere."""
    text = document.read_text(encoding="utf-8")
    wrong = []
    for target in links(text):
        path, _, anchor = unquote(target).partition("#")
        file = document.parent / path if path else document
        if not file.exists() or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
            wrong.append(target)
    return wrong


def paths(text: str) -> set[str]:
    """Files and folders of this repository that a document names in code, `a/{b,c}.py` written out."""
    found = set()
    for code in _CODE.findall(_FENCE.sub("", text)):
        for path in _PATH.findall(code):
            before, brace, rest = path.partition("{")
            inner, _, after = rest.partition("}")
            found |= {before + name + after for name in inner.split(",")} if brace else {path}
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_link_leads_somewhere(document: Path) -> None:
    assert broken(document) == []


def test_a_broken_link_would_be_noticed(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# One\n\n## Two `words`, here\n\n# One\n", encoding="utf-8")
    good = (
        "[a](other.md) [b](other.md#two-words-here) [c](other.md#one-1) ![d](<other.md>) [e](#top) [f](https://x.y/z)"
    )
    bad = "[g](gone.md) [h](other.md#gone) [i](#gone)\n\n[j]: gone.png"
    document = tmp_path / "document.md"
    document.write_text(
        f"# Top\n\n{good}\n\n{bad}\n\n`[k](not-a-link)`\n\n```\n[l](not-a-link)\n```\n", encoding="utf-8"
    )
    assert broken(document) == ["gone.md", "other.md#gone", "#gone", "gone.png"]


HISTORY = REPOSITORY / "CHANGELOG.md"
"""May name files that are gone."""


@pytest.mark.parametrize(
    "document", [path for path in DOCUMENTS if path != HISTORY], ids=lambda path: str(path.relative_to(REPOSITORY))
)
def test_every_path_that_is_named_exists(document: Path) -> None:
    named = paths(document.read_text(encoding="utf-8"))
    assert sorted(path for path in named if not (REPOSITORY / path).exists()) == []


def test_a_path_that_is_gone_would_be_noticed() -> None:
    text = "`handler/gone.py`, `handler/imaging/{decode,gone}.py`, `python infra/gone.py x`, handler/prose.py, `a.toml`"
    named = {"handler/gone.py", "handler/imaging/decode.py", "handler/imaging/gone.py", "infra/gone.py", "a.toml"}
    assert paths(text) == named


def test_every_make_target_that_contributors_type_exists() -> None:
    typed = set(re.findall(r"`make ([a-z-]+)", (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")))
    targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"test", "lint", "policy", "lock"} <= typed <= set(targets)


def test_the_newest_release_in_the_changelog_is_the_package_s_version() -> None:
    changelog = HISTORY.read_text(encoding="utf-8")
    headings = re.findall(r"^## \[([^\]]+)\](.*)$", changelog, re.MULTILINE)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert headings[0] == ("Unreleased", "")
    assert headings[1][0] == project["version"]
    assert all(re.fullmatch(r" - \d{4}-\d\d-\d\d", date) for _, date in headings[1:])
