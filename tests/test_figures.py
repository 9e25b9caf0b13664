"""The figures of the READMEs are those of the JSON files, and of the model that is shipped."""

import json
import re
from pathlib import Path

import pytest

from infra import readme_files
from infra.readme import DOCUMENTS, blocks, written
from infra.readme_blocks import BLOCKS
from infra.readme_files import FILES, FigureError, contract, figures
from tests.conftest import REPOSITORY

_VERSION = re.compile(r"(?<![\w.])[mM]odel (\d+\.\d+\.\d+)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_the_figures_of_a_document_are_those_of_the_json_files(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert written(text) == text, "run: python -m infra.readme"


@pytest.mark.parametrize("name", FILES)
def test_figures_are_of_the_shipped_model(name: str) -> None:
    assert figures(name)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_document_has_results_of_an_older_model(document: Path) -> None:
    assert set(_VERSION.findall(document.read_text(encoding="utf-8"))) <= {contract()["version"]}


def test_every_block_is_in_a_document() -> None:
    assert {name for document in DOCUMENTS for name in blocks(document.read_text(encoding="utf-8"))} == BLOCKS.keys()


def test_a_changed_figure_would_be_noticed() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- figures: results -->[^<]*?(\d\.\d\d\d)", text)
    assert found
    changed = text[: found.start(1)] + "0.123" + text[found.end(1) :]
    assert written(changed) == text


def test_figures_of_another_model_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.json"
    path.write_text(json.dumps(contract() | {"version": "9.9.9"}), encoding="utf-8")
    monkeypatch.setattr(readme_files, "MODEL", path)
    with pytest.raises(FigureError, match=r"another model than .* 9\.9\.9, which is shipped"):
        figures("answers")


def test_an_unknown_block_is_refused() -> None:
    with pytest.raises(FigureError, match="there is no block nonsense"):
        written("<!-- figures: nonsense -->\n<!-- end -->")


@pytest.mark.parametrize("name", ["README.md", "handler/README.md"])
def test_the_numbers_of_the_answer_are_those_of_the_contract(name: str) -> None:
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    shipped = contract()
    assert set(re.findall(r"(?:An image above|The threshold is) (\d\.\d+)", text)) == {
        f"{shipped['ood_threshold']:.2f}"
    }
    assert set(re.findall(r"true class of (?:at least )?(\d+) % of", text)) == {f"{100 * shipped['set_coverage']:.0f}"}
