"""The choice of the examples that the page offers with a bundle."""

import io
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from handler.classifier import Classifier
from handler.contract import EMBEDDED_BUNDLE
from handler.http.endpoints import PAGE
from handler.imaging.decode import decode
from handler.scoring import Predictor
from training.errors import DataError
from training.examples import choose
from training.prepare import load, prepare

INDEX = {
    "model": "0" * 64,
    "credits": {"xrays": {}},
    "examples": [{"file": "photograph.jpg", "title": "No X-ray", "credit": "xrays", "expected": {"problem": "x"}}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "index.json").write_text(json.dumps(INDEX))
    return tmp_path


def test_examples_are_answered_as_the_index_says(xrays: Path, folder: Path, tmp_path: Path) -> None:
    # GIVEN a share of the data set: all uncertain images of the validation split are rare
    prepared = tmp_path / "prepared"
    prepare(xrays, prepared, size=32)
    # WHEN examples are chosen
    files = choose(load(prepared), xrays, EMBEDDED_BUNDLE, "xrays", folder)
    # THEN there is one of each class and an uncertain one, and the other entry is still there
    index = json.loads((folder / "index.json").read_text())
    assert [entry["title"] for entry in index["examples"]] == ["NORMAL", "PNEUMONIA", "Uncertain", "No X-ray"]
    assert index["model"] == Classifier(threads=1).contract.sha256
    predictor = Predictor(Classifier(threads=1), decode)
    for file, entry in zip(files, index["examples"], strict=False):
        data = (folder / file).read_bytes()
        found = predictor.predict(data)
        assert {name: found[name] for name in ("label", "uncertain")} == entry["expected"]
        assert found["warnings"] == []
        assert len(data) <= 60_000
        with Image.open(io.BytesIO(data)) as image:
            assert (image.format, image.mode, dict(image.getexif())) == ("JPEG", "L", {})


def test_what_no_image_fits_is_said_and_nothing_is_changed(phantoms: Path, folder: Path, tmp_path: Path) -> None:
    prepare(phantoms, tmp_path / "prepared", size=32, workers=1)
    before = (folder / "index.json").read_bytes()
    with pytest.raises(DataError, match="no validation image has a right answer"):
        choose(load(tmp_path / "prepared"), phantoms, EMBEDDED_BUNDLE, "xrays", folder)
    assert (folder / "index.json").read_bytes() == before
    assert [path.name for path in folder.glob("*.jpg")] == []


def test_an_example_needs_a_credit(phantoms: Path, tmp_path: Path) -> None:
    prepare(phantoms, tmp_path / "prepared", size=32, workers=1)
    folder = Path(shutil.copytree(PAGE / "examples", tmp_path / "examples"))
    with pytest.raises(DataError, match="has no credit `other`"):
        choose(load(tmp_path / "prepared"), phantoms, EMBEDDED_BUNDLE, "other", folder)
