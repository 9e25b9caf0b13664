"""The reference values for the alarms on predictions."""

import json
from pathlib import Path

import numpy as np
import pytest

from handler.classifier import Classifier
from handler.contract import EMBEDDED_BUNDLE, load_bundle
from handler.errors import FolderError
from handler.imaging.decode import decode
from handler.scoring import Predictor, identity
from infra.watch import expected, images_of, main
from tests.handler.images import noise, phantom, png

LABELS = ["NORMAL", "PNEUMONIA"]


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A prepared data set of four synthetic chests."""
    pixels = [np.asarray(phantom(224, 224, seed=seed)) for seed in range(4)]
    np.save(tmp_path / "validation.npy", np.stack(pixels))
    rows = [{"file": f"{index}.png", "label": index % 2} for index in range(4)]
    (tmp_path / "split.json").write_text(json.dumps({"names": LABELS, "validation": rows}))
    return tmp_path


def files_in(folder: Path) -> Path:
    """The same images as files."""
    for label in LABELS:
        (folder / label).mkdir(parents=True)
    for seed in range(4):
        (folder / LABELS[seed % 2] / f"{seed}.png").write_bytes(png(phantom(224, 224, seed=seed)))
    return folder


def test_both_forms_of_a_folder_give_the_same_figures(prepared: Path, tmp_path: Path, classifier: Classifier) -> None:
    predictor = Predictor(classifier, decode)
    one, two = (
        expected(predictor, images_of(folder, predictor.contract))
        for folder in (prepared, files_in(tmp_path / "files"))
    )
    assert one == pytest.approx(two, nan_ok=True)
    assert one["n"] == 4


def test_images_without_labels_have_the_same_figures_but_none_by_label(
    prepared: Path, tmp_path: Path, classifier: Classifier
) -> None:
    predictor = Predictor(classifier, decode)
    labelled = expected(predictor, images_of(prepared, predictor.contract))
    (tmp_path / "unlabelled").mkdir()
    for path in list(files_in(tmp_path / "files").rglob("*.png")):
        path.rename(tmp_path / "unlabelled" / f"{path.parent.name}{path.name}")
    unlabelled = expected(predictor, images_of(tmp_path / "unlabelled", predictor.contract))
    assert unlabelled == pytest.approx({name: labelled[name] for name in unlabelled}, nan_ok=True)
    assert set(labelled) - set(unlabelled) == {"score NORMAL", "score PNEUMONIA"}


def test_a_file_beside_the_folders_is_no_image_without_a_label(
    prepared: Path, tmp_path: Path, classifier: Classifier
) -> None:
    folder = files_in(tmp_path / "files")
    (folder / "labels.csv").write_text("path,label")
    predictor = Predictor(classifier, decode)
    found, alike = (expected(predictor, images_of(each, predictor.contract)) for each in (folder, prepared))
    assert found == pytest.approx(alike, nan_ok=True)


def test_what_is_refused_is_no_part_of_the_other_shares(tmp_path: Path, classifier: Classifier) -> None:
    folder = files_in(tmp_path / "files")
    predictor = Predictor(classifier, decode)
    before = expected(predictor, images_of(folder, predictor.contract))
    for index in range(4):
        (folder / "NORMAL" / f"noise{index}.png").write_bytes(noise())
    (folder / "NORMAL" / "text.png").write_bytes(b"text")

    after = expected(predictor, images_of(folder, predictor.contract))

    assert after["n"] == 8
    assert after["refused"] == pytest.approx((before["refused"] * 4 + 4) / 8)
    same = {name for name in before if name not in ("n", "refused")}
    assert {name: after[name] for name in same} == pytest.approx({name: before[name] for name in same}, nan_ok=True)


def test_a_score_is_the_probability_of_the_positive_class(prepared: Path, classifier: Classifier) -> None:
    predictor = Predictor(classifier, decode)
    images = list(images_of(prepared, predictor.contract))
    shares = [predictor.predict(source(), force=True)["probabilities"]["PNEUMONIA"] for source, _ in images]

    found = expected(predictor, images)

    assert found["score"] == pytest.approx(np.mean(shares))
    assert found["score NORMAL"] == pytest.approx(np.mean(shares[::2]))


def test_the_prevalence_changes_no_figure(prepared: Path, classifier: Classifier) -> None:
    one, two = (
        expected(predictor, images_of(prepared, predictor.contract))
        for predictor in (Predictor(classifier, decode), Predictor(classifier, decode, {"": 0.03}))
    )
    assert one == pytest.approx(two, abs=1e-5)


def test_another_model_s_data_are_refused(prepared: Path, classifier: Classifier) -> None:
    about = json.loads((prepared / "split.json").read_text())
    (prepared / "split.json").write_text(json.dumps(about | {"names": ["CATS", "DOGS"]}))
    with pytest.raises(FolderError, match="CATS"):
        images_of(prepared, classifier.contract)


def test_the_command_prints_a_line_for_each_figure(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(prepared)]) == 0
    names = [line.rsplit(maxsplit=1)[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ["n", "refused", "unlike", "uncertain", "warned", "score", "score NORMAL", "score PNEUMONIA"]


def test_the_figures_are_written_with_the_model_that_they_are_of(prepared: Path, tmp_path: Path) -> None:
    assert main([str(prepared), "--out", str(tmp_path / "watch.json")]) == 0
    written = json.loads((tmp_path / "watch.json").read_text())
    assert written["model"] == identity(load_bundle(EMBEDDED_BUNDLE)[0])
    assert written["figures"]["n"] == 4


@pytest.mark.parametrize(("name", "problem"), [("", "has no images"), ("nope", "is not a folder")])
def test_a_folder_without_images_is_one_line(
    name: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / name)]) == 1
    said = capsys.readouterr().err
    assert problem in said
    assert "a prepared data set, images without labels, or the folders NORMAL, PNEUMONIA" in said


def test_a_folder_without_a_readable_image_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.png").write_text("no image")
    assert main([str(tmp_path)]) == 1
    assert "has no image that can be read" in capsys.readouterr().err
