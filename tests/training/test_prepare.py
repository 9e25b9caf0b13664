"""Preparing a data set: what is used, what is left out, and that no patient stands on two sides."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests import phantoms as drawn
from training.__main__ import main
from training.errors import DataError
from training.prepare import load, patient_of, prepare


@pytest.fixture
def data(phantoms: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(phantoms, tmp_path / "data"))


def test_splits_by_patient_and_keeps_the_classes_in_proportion(phantoms: Path, tmp_path: Path) -> None:
    report = prepare(phantoms, tmp_path, size=32, validation=0.25)
    data = load(tmp_path)

    assert not set(data.patients["train"]) & set(data.patients["validation"])
    assert report["counts"]["train"] | report["counts"]["validation"]
    assert len(data.files["train"]) + len(data.files["validation"]) == 96
    share = data.labels["validation"].mean()
    assert 0.35 < share < 0.65
    assert data.pixels["train"].dtype == np.uint8
    assert data.pixels["validation"].shape == (len(data.labels["validation"]), 32, 32)


def test_the_same_seed_cuts_the_same_split(phantoms: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        prepare(phantoms, tmp_path / name, size=32, seed=3)
    prepare(phantoms, tmp_path / "c", size=32, seed=4)

    first, second, other = (load(tmp_path / name).files["validation"] for name in "abc")
    assert first == second != other


def test_a_size_that_vgg19_cannot_halve_is_no_fault_of_the_files(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prepare", "--data", str(phantoms), "--out", str(tmp_path / "out"), "--size", "0"]) == 1
    assert "at least 32 px" in capsys.readouterr().err


def test_a_validation_folder_too_small_to_use_is_ignored_and_said(phantoms: Path, tmp_path: Path) -> None:
    report = prepare(phantoms, tmp_path, size=32)

    assert any(line.startswith("val/: 4 pictures are too few") for line in report["problems"])
    assert not any(file.startswith("val/") for files in load(tmp_path).files.values() for file in files)


def test_a_validation_folder_of_some_size_is_used(data: Path, tmp_path: Path) -> None:
    drawn.write(data / "val", patients=30, first=300)
    # One of its patients is in train as well: training must do without.
    shutil.copy(data / "val/NORMAL/IM-0301-0001.jpeg", data / "train/NORMAL/IM-0301-0002.jpeg")

    report = prepare(data, tmp_path / "out", size=32)
    prepared = load(tmp_path / "out")

    assert all(file.startswith("val/") for file in prepared.files["validation"])
    assert not set(prepared.patients["train"]) & set(prepared.patients["validation"])
    assert report["counts"]["validation"]["NORMAL"] == 62


def test_a_group_can_be_held_out(phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["prepare", "--data", str(phantoms), "--size", "32", "--out"]
    assert main([*command, str(tmp_path / "usual")]) == 0
    assert main([*command, str(tmp_path / "apart"), "--held-out-group", "^IM-000"]) == 0
    usual, apart = load(tmp_path / "usual"), load(tmp_path / "apart")

    wanted = {patient for people in usual.patients.values() for patient in people if patient.startswith("IM-000")}
    assert wanted
    assert wanted < set(apart.patients["validation"])
    assert not set(apart.patients["train"]) & set(apart.patients["validation"])
    assert any(patient.startswith("person") for patient in apart.patients["validation"]), "the rest is cut as ever"
    everything = {file for files in usual.files.values() for file in files}
    assert {file for files in apart.files.values() for file in files} == everything

    assert main([*command, str(tmp_path / "none"), "--held-out-group", "^NOBODY"]) == 1
    assert "matches none of the 48 patients" in capsys.readouterr().err


def test_a_validation_folder_that_is_ignored_takes_nothing_from_training(data: Path, tmp_path: Path) -> None:
    shutil.copy(data / "train/NORMAL/IM-0001-0001.jpeg", data / "val/NORMAL/IM-0001-0001.jpeg")

    prepare(data, tmp_path / "out", size=32)

    used = [file for files in load(tmp_path / "out").files.values() for file in files]
    assert "train/NORMAL/IM-0001-0001.jpeg" in used
    assert len(used) == 96


def test_names_that_do_not_tell_the_patient_are_counted_and_said(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (data / "train/NORMAL").glob("IM-*"):
        path.rename(path.with_name(path.name.replace("IM-", "N")))
    command = ["prepare", "--data", str(data), "--size", "32", "--out", str(tmp_path / "out")]

    assert main(command) == 0
    assert "train/: 48 of 96 file names do not tell the patient, such as N0001-0001.jpeg" in capsys.readouterr().out
    assert main([*command, "--patient", r"^(person\d+|N\d+|IM-\d+)"]) == 0
    assert "do not tell" not in capsys.readouterr().out
    assert "N0001" in {patient for people in load(tmp_path / "out").patients.values() for patient in people}


def test_a_name_that_is_no_text_is_named_and_left_out(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = os.fsencode(data / "train/NORMAL") + b"/r\xf6ntgen.jpeg"  # Latin-1
    shutil.copy(os.fsencode(data / "train/NORMAL/IM-0001-0001.jpeg"), odd)

    assert main(["prepare", "--data", str(data), "--size", "32", "--out", str(tmp_path / "out")]) == 0
    assert "ntgen.jpeg: the name is no UTF-8, rename the file" in capsys.readouterr().out


def test_what_keeps_a_class_empty_is_said(data: Path, tmp_path: Path) -> None:
    (data / "train/NORMAL").rename(data / "train/Normal")

    with pytest.raises(DataError, match=r"train/NORMAL holds no picture[^$]*train/Normal: misplaced"):
        prepare(data, tmp_path / "out", size=32)


def test_an_interrupted_preparation_leaves_nothing_that_looks_whole(phantoms: Path, tmp_path: Path) -> None:
    prepare(phantoms, tmp_path, size=32)
    (tmp_path / "validation.npy").unlink()
    (tmp_path / "validation.npy").mkdir()  # where no file can be written

    with pytest.raises(IsADirectoryError):
        prepare(phantoms, tmp_path, size=32, seed=5)
    with pytest.raises(DataError, match="training prepare"):
        load(tmp_path)


def test_a_pattern_without_a_group_is_a_clear_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["prepare", "--data", "x", "--out", "y", "--patient", r"^\d+"])
    assert "put what names the patient in parentheses" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--held-out-group", "--patient"])
def test_what_is_no_regular_expression_is_a_clear_error(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["prepare", "--data", "x", "--out", "y", option, "(unclosed"])
    assert "is no regular expression" in capsys.readouterr().err


def test_names_every_unreadable_and_misplaced_file(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = (data / "train/NORMAL/IM-0001-0001.jpeg").read_bytes()
    (data / "train/NORMAL/empty.jpeg").write_bytes(b"")
    (data / "train/NORMAL/notes.jpeg").write_text("not a picture")
    (data / "train/PNEUMONIA/half.jpeg").write_bytes(good[: len(good) // 2])
    (data / "train/COVID").mkdir()
    (data / "train/NORMAL/deeper").mkdir()
    (data / "readme.txt").write_text("hello")

    assert main(["prepare", "--data", str(data), "--out", str(tmp_path / "out"), "--size", "32"]) == 0
    said = capsys.readouterr().out
    for name in ("empty.jpeg", "notes.jpeg", "half.jpeg", "train/COVID", "train/NORMAL/deeper", "readme.txt"):
        assert name in said
    assert "half.jpeg" not in json.dumps(load(tmp_path / "out").files)


def test_duplicates_count_once_and_contradictions_not_at_all(data: Path, tmp_path: Path) -> None:
    Image.open(data / "train/NORMAL/IM-0001-0001.jpeg").save(data / "train/NORMAL/IM-0002-0009.png")
    shutil.copy(data / "train/NORMAL/IM-0003-0001.jpeg", data / "train/PNEUMONIA/person77_virus_1.jpeg")
    shutil.copy(data / "test/NORMAL/IM-0500-0001.jpeg", data / "train/NORMAL/IM-0600-0001.jpeg")

    report = prepare(data, tmp_path / "out", size=32)
    prepared = load(tmp_path / "out")
    used = {file for files in prepared.files.values() for file in files}

    assert "train/NORMAL/IM-0001-0001.jpeg" in used
    assert "train/NORMAL/IM-0002-0009.png" not in used, "other bytes, the same pixels"
    assert "train/NORMAL/IM-0003-0001.jpeg" not in used
    assert "train/PNEUMONIA/person77_virus_1.jpeg" not in used
    assert "train/NORMAL/IM-0600-0001.jpeg" not in used, "a test picture must not be trained on"
    assert sum("identical" in line for line in report["problems"]) == 3


@pytest.mark.parametrize("spoil", ["train", "train/NORMAL"])
def test_missing_folder_or_class_is_a_clear_error(
    data: Path, tmp_path: Path, spoil: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(data / spoil)

    assert main(["prepare", "--data", str(data), "--out", str(tmp_path / "out")]) == 1
    assert "train/NORMAL" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_too_few_patients_to_split_is_a_clear_error(tmp_path: Path) -> None:
    drawn.write(tmp_path / "data/train", patients=3)

    with pytest.raises(DataError, match="at least 7 patients"):
        prepare(tmp_path / "data", tmp_path / "out", size=32)


def test_loading_before_preparing_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="training prepare"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("person23_bacteria_78.jpeg", "person23"),
        ("person23_virus_56.jpeg", "person23"),
        ("IM-0115-0001.jpeg", "IM-0115"),
        ("NORMAL2-IM-0587-0001-0002.jpeg", "NORMAL2-IM-0587"),
        ("my own picture.png", "my own picture"),
    ],
)
def test_patient_of(name: str, patient: str) -> None:
    assert patient_of(name) == patient


@given(number=st.integers(1, 10**6), kind=st.sampled_from(["bacteria", "virus"]), picture=st.integers(0, 10**4))
def test_all_pictures_of_a_person_share_the_patient(number: int, kind: str, picture: int) -> None:
    assert patient_of(f"person{number}_{kind}_{picture}.jpeg") == f"person{number}"


def test_the_real_data_set_splits_without_overlap(xrays: Path, tmp_path: Path) -> None:
    report = prepare(xrays, tmp_path, size=32)
    data = load(tmp_path)

    assert not set(data.patients["train"]) & set(data.patients["validation"])
    counts = report["counts"]
    assert counts["train"]["NORMAL"] + counts["validation"]["NORMAL"] == 1340  # 1,341 with one duplicate
    assert abs(data.labels["train"].mean() - data.labels["validation"].mean()) < 0.02
