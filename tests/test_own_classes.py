"""From each form of data set to an answer of the service: train, export and predict, with small synthetic images."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from export.__main__ import main as export
from handler.classifier import Classifier
from handler.http.endpoints import create_service
from handler.imaging.decode import decode
from handler.scoring import Predictor
from handler.settings import Settings
from tests.handler.images import dicom
from training.__main__ import main as train

pytestmark = pytest.mark.slow

SIZE, COUNT = 40, 14


def pixels(label: int, number: int) -> np.ndarray:
    """Noise whose brightness increases with the label. All images are different."""
    rng = np.random.default_rng((label, number))
    return rng.integers(0, 60, (SIZE, SIZE), dtype=np.uint8) + np.uint8(45 * label)


def draw(folder: Path, names: Sequence[str]) -> None:
    """Images in a folder for each class, each of another patient."""
    for label, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number in range(COUNT):
            Image.fromarray(pixels(label, number)).save(folder / name / f"{name}{number}.png")


def by_part(data: Path) -> list[str]:
    draw(data / "train", ("clear", "covid", "tb"))
    return []


def by_class(data: Path) -> list[str]:
    draw(data, ("COVID", "Lung_Opacity", "NORMAL", "Viral Pneumonia"))
    return []


def as_table(data: Path) -> list[str]:
    draw(data, ("a", "b"))
    rows = [
        (f"{name}/{name}{number}.png", label)
        for name, label in (("a", "Well"), ("b", "Ill"))
        for number in range(COUNT)
    ]
    with (data / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label"), *rows])
    return ["--csv", str(data / "labels.csv"), "--positive", "Ill"]


def as_dicom(data: Path) -> list[str]:
    for label, name in enumerate(("normal", "pneumonia")):
        (data / name).mkdir(parents=True)
        for number in range(2 * COUNT):  # two images of each patient
            file = dicom(pixels(label, number), PatientID=f"{name}-{number // 2}")
            (data / name / f"{number}.dcm").write_bytes(file)
    return []


FORMS: dict[str, tuple[Callable[[Path], list[str]], list[str]]] = {
    "three classes by part, in lower case": (by_part, ["clear", "covid", "tb"]),
    "four classes by folder": (by_class, ["COVID", "Lung_Opacity", "NORMAL", "Viral Pneumonia"]),
    "a table": (as_table, ["Well", "Ill"]),
    "DICOM with PatientID": (as_dicom, ["NORMAL", "PNEUMONIA"]),
}


@pytest.mark.parametrize("form", FORMS)
def test_data_becomes_a_served_answer(form: str, tmp_path: Path) -> None:
    make, names = FORMS[form]
    data, run, bundle = tmp_path / "data", tmp_path / "run", tmp_path / "bundle"
    options = make(data)
    recipe = ["--init", "scratch", "--sizes", "32x2", "--set", "width=0.05", "--workers", "1"]
    assert train(["fit", "--data", str(data), "--out", str(run), *recipe, *options]) == 0
    build = ["build", "--model", str(run), "--data", str(run / "data"), "--out", str(bundle), "--force"]
    assert export(build) == 0

    client = TestClient(create_service(Settings(), Predictor(Classifier(bundle, threads=1), decode)))

    card = client.get("/v1/model").json()
    assert card["labels"] == names
    assert card["title"] == f"{', '.join(names[:-1])} or {names[-1]} from chest X-rays"
    image = next(path for path in sorted(data.rglob("*")) if path.suffix in (".png", ".dcm"))
    answer = client.post("/v1/predictions?force=true&explain=true", content=image.read_bytes())
    assert answer.status_code == 200, answer.text
    [prediction] = answer.json()["predictions"]
    assert prediction["label"] in names
    assert list(prediction["probabilities"]) == names
    assert sum(prediction["probabilities"].values()) == pytest.approx(1)
    assert set(prediction["prediction_set"]) <= set(names)
    assert (prediction["threshold"] is None) == (len(names) > 2)
    assert prediction["explanation"]["label"] in names
