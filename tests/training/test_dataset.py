"""All forms of data sets, through the command line: preparation, and evaluation of a bundle."""

import csv
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.handler.images import dicom
from tests.tiny_bundle import write_tiny_bundle
from training.__main__ import main
from training.dataset import Reading
from training.evaluate import evaluate
from training.prepare import Prepared, load

SIZE = 40
THREE = ("BACTERIA", "NORMAL", "VIRUS")


def pixels(label: int, number: int) -> np.ndarray:
    """Noise whose brightness increases with the label. All images are different."""
    rng = np.random.default_rng((label, number))
    return rng.integers(0, 60, (SIZE, SIZE), dtype=np.uint8) + np.uint8(60 * label)


def draw(folder: Path, labels: Sequence[str], count: int = 16, first: int = 0) -> None:
    """`count` images in a folder for each class, each of another patient."""
    for label, name in enumerate(labels):
        (folder / name).mkdir(parents=True)
        for number in range(first, first + count):
            Image.fromarray(pixels(label, number)).save(folder / name / f"{name}{number}.png")


def table(file: Path, header: str, rows: Sequence[Sequence[object]], delimiter: str = ",") -> Path:
    with file.open("w", newline="", encoding="utf-8") as target:
        csv.writer(target, delimiter=delimiter).writerows([header.split(","), *rows])
    return file


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[..., Prepared]:
    """Prepare a valid data set."""

    def run(*options: object, data: Path = tmp_path / "data") -> Prepared:
        out = tmp_path / "prepared"
        command = ["prepare", "--data", data, "--out", out, "--size", 32, *options]
        assert main(list(map(str, command))) == 0
        return load(out)

    return run


@pytest.fixture
def refusal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Prepare an invalid data set; returns the message."""

    def run(*options: object, data: Path = tmp_path / "data") -> str:
        capsys.readouterr()
        command = ["prepare", "--data", data, "--out", tmp_path / "refused", "--size", 32, *options]
        assert main(list(map(str, command))) == 1
        assert not (tmp_path / "refused").exists(), "nothing is left behind"
        return capsys.readouterr().err.splitlines()[-1]

    return run


def evaluated(tmp_path: Path, classes: tuple[str, ...], data: Path, **reading: Any) -> dict[str, Any]:
    """Evaluate a bundle that scores brightness on a data set, with few resamples, because intervals are not tested."""
    bundle = tmp_path / f"bundle-{'-'.join(classes)}"
    if not bundle.exists():
        write_tiny_bundle(bundle, classes)
    return evaluate(bundle, data, tmp_path / "evaluation", reading=Reading(**reading), rounds=3)


def counts(data: Prepared) -> list[int]:
    """Images of each class in both splits."""
    labels = np.concatenate([data.labels["train"], data.labels["validation"]])
    return np.bincount(labels, minlength=len(data.names)).tolist()


@pytest.mark.parametrize("names", [("covid", "normal", "tb"), ("COVID", "Lung_Opacity", "NORMAL", "Viral Pneumonia")])
def test_three_and_four_classes_in_folders_of_their_own(
    names: tuple[str, ...], prepare: Callable[..., Prepared], tmp_path: Path
) -> None:
    draw(tmp_path / "data", names)

    data = prepare()

    assert data.names == tuple(name if name != "normal" else "NORMAL" for name in names)
    assert counts(data) == [16] * len(names)
    assert set(data.labels["validation"]) == set(range(len(names)))
    assert all(Path(file).parts[0].casefold() in map(str.casefold, names) for file in data.files["train"])

    found = evaluated(tmp_path, names, tmp_path / "data")
    assert found["n"] == 16 * len(names)
    assert found["auc"] > 0.6
    assert found["intervals"].keys() >= {f"{of}_{name}" for of in ("sensitivity", "auc") for name in names}
    assert np.array(found["confusion"]).sum(axis=1).tolist() == [16] * len(names)
    report = (tmp_path / "evaluation/report.txt").read_text(encoding="utf-8")
    assert f"of 16 images of {names[0]}: " in report
    for plot in ("roc", "precision_recall", "reliability", "confusion"):
        assert (tmp_path / f"evaluation/{plot}.png").read_bytes().startswith(b"\x89PNG")


def test_a_prepared_folder_is_evaluated_on_its_validation_images_and_a_data_set_on_its_test_part(
    prepare: Callable[..., Prepared],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    draw(tmp_path / "data/train", THREE)
    draw(tmp_path / "data/TEST", THREE, count=3, first=100)
    prepared = prepare()

    of_test = evaluated(tmp_path, THREE, tmp_path / "data")
    of_validation = evaluated(tmp_path, THREE, tmp_path / "prepared")

    assert (of_test["n"], of_test["split"]) == (9, "test")
    assert (of_validation["n"], of_validation["split"]) == (len(prepared.files["validation"]), "validation")
    robustness = ["robustness", "--model", tmp_path / f"bundle-{'-'.join(THREE)}", "--out", tmp_path / "robustness"]
    for data in ("data", "prepared"):
        assert main([*map(str, robustness), "--data", str(tmp_path / data)]) == 0
        assert "| sensitivity BACTERIA | sensitivity NORMAL | sensitivity VIRUS |" in capsys.readouterr().out
        kind = "a prepared folder" if data == "prepared" else "a data set with TEST, train"
        assert sum(line.startswith(f"{tmp_path / data}: {kind}") for line in caplog.messages) >= 2
    assert any("a bundle of the classes BACTERIA, NORMAL, VIRUS" in line for line in caplog.messages)


def test_labels_of_model_and_data_agree_in_any_order_and_case(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path / "data", ("dark", "middle", "white"))  # in the order of their brightness

    usual = evaluated(tmp_path, ("DARK", "MIDDLE", "WHITE"), tmp_path / "data")
    turned = evaluated(tmp_path, ("DARK", "MIDDLE", "WHITE"), tmp_path / "data", labels=("white", "dark", "middle"))
    assert turned["confusion"] == usual["confusion"]
    assert usual["labels"] == ["DARK", "MIDDLE", "WHITE"]

    write_tiny_bundle(tmp_path / "other", ("DARK", "WHITE"))
    command = ["evaluate", "--model", str(tmp_path / "other"), "--data", str(tmp_path / "data")]
    assert main([*command, "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "dark, middle, white, those of the model are DARK, WHITE" in said
    assert main([*command, "--out", str(tmp_path / "out"), "--labels", "DARK,WHITE"]) == 0


def test_a_threshold_is_for_two_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw(tmp_path / "data", THREE, count=2)
    write_tiny_bundle(tmp_path / "bundle", THREE)

    command = ["evaluate", "--model", str(tmp_path / "bundle"), "--data", str(tmp_path / "data")]

    assert main([*command, "--out", str(tmp_path / "out"), "--threshold", "0.5"]) == 1
    assert "leave out --threshold" in capsys.readouterr().err


def test_spellings_that_differ_only_in_case_are_one_class(prepare: Callable[..., Prepared], tmp_path: Path) -> None:
    draw(tmp_path / "data/Train", ("Covid", "normal"))
    draw(tmp_path / "data/valid", ("COVID", "Normal"), count=60, first=50)

    data = prepare()

    assert data.names == ("NORMAL", "Covid"), "the positive one is last"
    assert counts(data) == [76, 76]
    assert all(file.startswith("valid/") for file in data.files["validation"])


def test_the_positive_class(prepare: Callable[..., Prepared], refusal: Callable[..., str], tmp_path: Path) -> None:
    draw(tmp_path / "data", ("covid", "tb", "normal"))

    assert prepare("--labels", "NORMAL,tb").names == ("NORMAL", "tb")
    assert prepare("--labels", "tb,normal").names == ("NORMAL", "tb")
    assert prepare("--labels", "tb,covid").names == ("tb", "covid")
    assert prepare("--labels", "tb,covid", "--positive", "TB").names == ("covid", "tb")
    assert prepare("--labels", "tb,normal,covid").names == ("tb", "NORMAL", "covid")
    assert "--positive needs two classes, and there are 3" in refusal("--positive", "tb")
    assert "--positive names 'flu', but the classes are NORMAL, covid, tb" in refusal(
        "--labels", "tb,covid", "--positive", "flu"
    )
    assert "not one of the classes in use" in refusal("--labels", "tb,covid", "--positive", "normal")


def test_labels_select_classes_and_left_out_images_are_reported(
    prepare: Callable[..., Prepared],
    refusal: Callable[..., str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    draw(tmp_path / "data", ("covid", "tb", "normal"))

    assert counts(prepare("--labels", "normal,covid")) == [16, 16]
    assert "tb: 16 images are left out" in capsys.readouterr().out
    assert "--labels names 'flu', but the classes are NORMAL, covid, tb" in refusal("--labels", "flu,tb")
    assert "twice" in refusal("--labels", "tb,TB")
    with pytest.raises(SystemExit):
        main(["prepare", "--data", "x", "--out", "y", "--labels", "tb"])
    assert "not a list of two or more classes" in capsys.readouterr().err


def test_a_pattern_on_file_names_tells_the_class(
    phantoms: Path, prepare: Callable[..., Prepared], tmp_path: Path
) -> None:
    pattern = ["--label-pattern", "_(bacteria|virus)_"]

    data = prepare(*pattern, data=phantoms)

    assert data.names == THREE
    assert {(Path(file).name.split("_")[1:2] or ["normal"])[0].upper() for file in data.files["train"]} == set(THREE)
    assert counts(data) == [24, 48, 24]
    assert evaluated(tmp_path, THREE, phantoms, label_pattern=pattern[1])["n"] == 24


def test_images_may_lie_in_a_folder_of_that_name(
    prepare: Callable[..., Prepared], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path / "flat", ("COVID", "Normal"))
    for name in ("COVID", "Normal"):
        shutil.copytree(tmp_path / "flat" / name, tmp_path / "data" / name / "images")
        shutil.copytree(tmp_path / "flat" / name, tmp_path / "data" / name / "masks")

    assert counts(prepare()) == [16, 16]
    assert "COVID/masks: misplaced, ignored" in capsys.readouterr().out


def test_one_class_is_refused(refusal: Callable[..., str], tmp_path: Path) -> None:
    draw(tmp_path / "data/train", ("normal",))

    assert "there is no second class (NORMAL)" in refusal()
    assert "images of only one class, normal" in refusal(data=tmp_path / "data/train")


def test_a_data_set_without_training_images_is_refused(refusal: Callable[..., str], tmp_path: Path) -> None:
    draw(tmp_path / "data/test", ("normal", "tb"))

    assert "there is no training image of NORMAL, tb" in refusal()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_tells_label_patient_and_split(
    delimiter: str, prepare: Callable[..., Prepared], tmp_path: Path
) -> None:
    draw(tmp_path / "data", THREE, count=20)
    rows = [
        (f"{name}/{name}{number}.png", name.lower(), f"P{number // 2}", "Training" if number < 16 else "test")
        for name in THREE
        for number in range(20)
    ]
    file = table(tmp_path / "labels.csv", "Path,Label,PATIENT,Split", rows, delimiter)

    data = prepare("--csv", file)

    assert data.names == ("bacteria", "NORMAL", "virus")
    assert counts(data) == [16] * 3, "the test part is not for training"
    assert set(data.patients["train"]) | set(data.patients["validation"]) == {f"P{number}" for number in range(8)}
    assert not set(data.patients["train"]) & set(data.patients["validation"])
    found = evaluated(tmp_path, THREE, tmp_path / "data", csv=file)
    assert (found["n"], found["patients"], found["split"]) == (12, 2, "test")


def test_paths_of_a_table_are_relative_to_its_folder_too(
    prepare: Callable[..., Prepared], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path / "tables/images", ("a", "b"))
    (tmp_path / "data").mkdir()
    rows = [(f"images/{name}/{name}{number}.png", name) for name in "ab" for number in range(16)]
    file = table(tmp_path / "tables/labels.csv", "file,class", [*rows, ("images/gone.png", "a"), ("", "b")])

    data = prepare("--csv", file)

    assert counts(data) == [16, 16]
    assert all((tmp_path / "data" / name).is_file() for name in data.files["train"])
    assert (
        "labels.csv: 2 rows do not name an existing file, such as line 34, images/gone.png" in capsys.readouterr().out
    )


def test_the_table_of_rsna_is_read_as_it_is(prepare: Callable[..., Prepared], tmp_path: Path) -> None:
    folder = tmp_path / "data/stage_2_train_images"
    folder.mkdir(parents=True)
    rows: list[tuple[object, ...]] = []
    for number in range(32):
        name, label = f"{number:08x}-aaaa", number % 2
        (folder / f"{name}.dcm").write_bytes(dicom(pixels(label, number).astype(np.uint16), PatientID=name))
        rows += [(name, 1, 2, 3, 4, label)] * (1 + label)  # a row for each box
    file = table(tmp_path / "labels.csv", "patientId,x,y,width,height,Target", rows)

    data = prepare("--csv", file)

    assert data.names == ("NORMAL", "PNEUMONIA")
    assert counts(data) == [16, 16]
    assert data.files["train"][0].startswith("stage_2_train_images/")

    classes = [(row[0], ("Normal", "Lung Opacity")[int(str(row[-1]))]) for row in rows]
    assert prepare("--csv", table(file, "patientId,class", classes)).names == ("NORMAL", "Lung Opacity")


def test_the_table_of_nih_is_read_as_it_is(
    prepare: Callable[..., Prepared], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data/images_001/images"
    folder.mkdir(parents=True)
    findings = ("No Finding", "Pneumonia", "Effusion|Pneumonia", "Effusion")
    rows = []
    for number in range(64):
        Image.fromarray(pixels(number % 4, number)).save(folder / f"{number:08}_000.png")
        rows.append((f"{number:08}_000.png", findings[number % 4], 0, 100 + number // 2))
    file = table(tmp_path / "data/Data_Entry_2017.csv", "Image Index,Finding Labels,Follow-up #,Patient ID", rows)

    data = prepare("--csv", file, "--labels", "no finding,pneumonia")
    assert data.names == ("No Finding", "PNEUMONIA")
    assert counts(data) == [16, 32], "an image counts if it has exactly one of the chosen findings"
    assert "Effusion: 16 images are left out" in capsys.readouterr().out
    assert set(data.patients["train"]) <= {str(100 + number) for number in range(32)}

    data = prepare("--csv", file)
    assert data.names == ("Effusion", "No Finding", "PNEUMONIA")
    assert counts(data) == [16, 16, 16]
    assert "several findings: 16 images are left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("header", "rows", "said"),
    [
        ("name,label", [("a/a0.png", "a")], "has no column 'path': rename one of its columns, 'name', 'label'"),
        ("path,finding", [("a/a0.png", "a")], "has no column 'label'"),
        ("path,label", [("a/a0.png", "a"), ("a/a0.png", "b")], "line 3: a/a0.png has another label"),
        ("path,label", [("a/a0.png", "a"), ("b/b0.png", " ")], "line 3: the column 'label' is empty: give b/b0.png"),
        ("path,label", [("a/a0.png", "a", "x")], "line 2: 3 values for 2 columns"),
        ("path,label", [("x.png", "a")], "names a file below"),
        ("path,label", [], "names a file below"),
        ("path,label,split", [("a/a0.png", "a", "fold7")], "'fold7' is not a split: write train, val or test"),
        ("path,label,split", [("a/a0.png", "a", "train"), ("b/b0.png", "b", "")], "line 3: '' is not a split"),
        ("path,label", [("a/a0.png", "a")], "there is no second class (a)"),
    ],
)
def test_errors_in_a_table_are_reported(
    header: str, rows: list[tuple[str, ...]], said: str, refusal: Callable[..., str], tmp_path: Path
) -> None:
    draw(tmp_path / "data", ("a", "b"), count=1)

    assert said in refusal("--csv", table(tmp_path / "labels.csv", header, rows))


def test_a_table_that_is_not_there_not_text_or_given_as_data(refusal: Callable[..., str], tmp_path: Path) -> None:
    draw(tmp_path / "data", ("a", "b"), count=1)
    (tmp_path / "latin.csv").write_bytes("path,label\nr\xf6ntgen.png,a\n".encode("latin-1"))

    assert "gone.csv: No such file" in refusal("--csv", tmp_path / "gone.csv")
    assert "is not UTF-8 text" in refusal("--csv", tmp_path / "latin.csv")
    assert "give it with --csv" in refusal(data=tmp_path / "latin.csv")
    assert "gone does not exist" in refusal("--csv", tmp_path / "latin.csv", data=tmp_path / "gone")


@pytest.mark.parametrize("pack", ["zip", "gztar"])
def test_an_archive_inside_comes_with_the_command_that_unpacks_it(
    pack: str, prepare: Callable[..., Prepared], refusal: Callable[..., str], tmp_path: Path
) -> None:
    draw(tmp_path / "set/chest_xray/train", ("normal", "tb"))
    (tmp_path / "set/chest_xray/__MACOSX/train/normal").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    shutil.make_archive(str(tmp_path / "data/chest_xray"), pack, tmp_path / "set")

    said = refusal()
    assert "holds the archive" in said
    subprocess.run(shlex.split(said.split("`")[1]), check=True, capture_output=True)

    said = refusal()
    command = shlex.split(said.partition("give that folder: ")[2])
    folder = Path(command[command.index("--data") + 1])
    assert counts(prepare(data=folder)) == [16, 16]


def test_a_folder_without_data_is_refused_with_what_is_expected(refusal: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "data/notes").mkdir(parents=True)
    (tmp_path / "data/notes/readme.txt").write_text("hello")

    said = refusal()

    assert all(word in said for word in ("train/CLASS", "--csv", "training prepare"))


def test_options_of_a_data_set_are_refused_for_a_prepared_folder(
    prepare: Callable[..., Prepared], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path / "data", THREE)
    prepare()
    write_tiny_bundle(tmp_path / "bundle", THREE)
    command = ["evaluate", "--model", str(tmp_path / "bundle"), "--data", str(tmp_path / "prepared")]

    assert main([*command, "--out", str(tmp_path / "out"), "--labels", "NORMAL,VIRUS"]) == 1
    assert "its classes are fixed" in capsys.readouterr().err
    assert main([*command, "--out", str(tmp_path / "out"), "--validation", str(tmp_path / "run")]) == 1
    assert "leave out --validation" in capsys.readouterr().err
    assert main(["prepare", "--data", str(tmp_path / "prepared"), "--out", str(tmp_path / "out")]) == 1
    assert "is a prepared folder" in capsys.readouterr().err


def test_several_processes_give_the_same_arrays(prepare: Callable[..., Prepared], tmp_path: Path) -> None:
    draw(tmp_path / "data", ("a", "b"), count=520)
    (tmp_path / "data/a/broken.png").write_bytes(b"no image")

    alone = prepare("--workers", 1)
    arrays = {split: np.array(alone.pixels[split]) for split in alone.pixels}
    together = prepare("--workers", 2)

    assert together.files == alone.files
    for split, expected in arrays.items():
        np.testing.assert_array_equal(together.pixels[split], expected)
        assert isinstance(together.pixels[split], np.memmap)
