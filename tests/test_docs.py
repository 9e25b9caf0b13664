"""The documents: links and paths exist, settings are documented, and the changelog has the package's version."""

import dataclasses
import re
import string
import tempfile
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from handler.imaging.decode import MAX_JPEG_PIXELS, MAX_PIXELS
from handler.imaging.dicom import MAX_FRAMES
from handler.settings import Settings
from tests.conftest import REPOSITORY
from tests.infra.template import load

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
    """GitHub's anchors of the headings: lower case, no punctuation, a hyphen for each space."""
    found: list[str] = []
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        unmarked = shown.translate(str.maketrans("", "", string.punctuation.replace("-", "").replace("_", "")))
        anchor = unmarked.replace(" ", "-")
        earlier = sum(each == anchor or re.fullmatch(rf"{re.escape(anchor)}-\d+", each) is not None for each in found)
        found.append(f"{anchor}-{earlier}" if earlier else anchor)
    return set(found)


def broken(document: Path) -> list[str]:
    """The broken links of a document."""
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


MOST_LINES = 200
"""Of the top README. Details belong in the README of a package."""


def test_the_top_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) < MOST_LINES


def contents(text: str) -> list[str]:
    """The anchors of a table of contents: a list of links, before the first section."""
    before = _FENCE.sub("", text).partition("\n## ")[0]
    return re.findall(r"^- \[[^\]]+\]\(#([^)]+)\)$", before, re.MULTILINE)


def sections(text: str) -> list[str]:
    """The anchors of the sections, in order."""
    found = re.findall(r"^## .+$", _FENCE.sub("", text), re.MULTILINE)
    return [anchors(heading).pop() for heading in found]


@pytest.mark.parametrize("package", ["handler", "training", "export", "infra"])
def test_the_readme_of_a_package_begins_with_its_contents(package: str) -> None:
    text = (REPOSITORY / package / "README.md").read_text(encoding="utf-8")
    assert contents(text) == sections(text)
    assert len(sections(text)) > 1


def test_a_section_that_the_contents_lack_would_be_noticed() -> None:
    text = "# Top\n\n- [One](#one)\n\n## One\n\n```\n## Not one\n```\n\n## Two\n\n- [One](#one)\n"
    assert contents(text) == ["one"]
    assert sections(text) == ["one", "two"]


def shown(field: "dataclasses.Field[Any]") -> str:
    """The default of a setting, as the tables of `handler/README.md` have it."""
    if field.name == "workers":
        return "number of CPUs"
    value = getattr(Settings(), field.name)
    if value is None or value in ("", ()) or value == {}:
        return "not set"
    return f"`{value}`".replace(f"{REPOSITORY}/", "").replace(tempfile.gettempdir(), "/tmp")


def rows(text: str) -> dict[str, list[str]]:
    """The rows of all tables, by their first cell: the other cells."""
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {first: rest for first, *rest in found}


@pytest.mark.parametrize("field", dataclasses.fields(Settings), ids=lambda field: field.metadata["variable"])
def test_each_setting_is_documented_with_its_default(field: "dataclasses.Field[Any]") -> None:
    table = rows((REPOSITORY / "handler" / "README.md").read_text(encoding="utf-8"))
    default, form, wrong = table[f"`{field.metadata['variable']}`"]
    assert default == shown(field)
    assert form
    assert wrong


def test_the_limits_on_pixels_and_frames_are_documented() -> None:
    text = (REPOSITORY / "handler" / "README.md").read_text(encoding="utf-8")
    images = text.partition("\n## Images\n")[2].partition("\n## ")[0]
    for limit in (f"{MAX_PIXELS:,} pixels", f"{MAX_JPEG_PIXELS:,}", f"{MAX_FRAMES} frames"):
        assert limit in images


def test_each_parameter_of_the_template_is_documented_with_its_default() -> None:
    text = (REPOSITORY / "infra" / "README.md").read_text(encoding="utf-8")
    table = rows(text.partition("\n## Parameters\n")[2].partition("\n## ")[0])
    documented = {name: default for name, (default, _) in table.items() if name.startswith("`")}
    defaults = {name: parameter["Default"] for name, parameter in load()["Parameters"].items()}
    assert documented == {f"`{name}`": f"`{value}`" if value != "" else "empty" for name, value in defaults.items()}


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
