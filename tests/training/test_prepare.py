"""Preparing a data set: used files, excluded files, and that no patient is in two splits."""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from handler.contract import EMBEDDED_BUNDLE
from tests import phantoms as drawn
from tests.handler.images import dicom
from training.__main__ import main
from training.errors import DataError
from training.patients import patient_of
from training.prepare import load, prepare


@pytest.fixture
def data(phantoms: Path, tmp_path: Path) -> Path:
    """A copy that tests may change."""
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


def test_a_size_that_vgg19_cannot_halve_is_not_a_problem_of_the_files(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prepare", "--data", str(phantoms), "--out", str(tmp_path / "out"), "--size", "0"]) == 1
    assert "at least 32 px" in capsys.readouterr().err


def test_a_validation_folder_too_small_to_use_is_ignored_and_said(phantoms: Path, tmp_path: Path) -> None:
    report = prepare(phantoms, tmp_path, size=32)

    assert any(line.startswith("val/: 4 images are too few") for line in report["problems"])
    assert not any(file.startswith("val/") for files in load(tmp_path).files.values() for file in files)


def test_a_validation_folder_of_some_size_is_used(data: Path, tmp_path: Path) -> None:
    drawn.write(data / "val", patients=30, first=300)
    # One of its patients is also in train, so training must not use this patient.
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
    assert "train: 48 of 96 file names do not name the patient, such as N0001-0001.jpeg" in capsys.readouterr().out
    assert main([*command, "--patient", r"^(person\d+|N\d+|IM-\d+)"]) == 0
    assert "do not name" not in capsys.readouterr().out
    assert "N0001" in {patient for people in load(tmp_path / "out").patients.values() for patient in people}


def test_a_file_name_that_is_not_utf8_is_reported_and_left_out(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = os.fsencode(data / "train/NORMAL") + b"/r\xf6ntgen.jpeg"  # Latin-1
    shutil.copy(os.fsencode(data / "train/NORMAL/IM-0001-0001.jpeg"), odd)

    assert main(["prepare", "--data", str(data), "--size", "32", "--out", str(tmp_path / "out")]) == 0
    assert "ntgen.jpeg: the name is not UTF-8, rename the file" in capsys.readouterr().out


def test_the_reasons_for_an_empty_class_precede_the_error(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (data / "train/NORMAL").iterdir():
        path.write_bytes(b"")

    assert main(["prepare", "--data", str(data), "--out", str(tmp_path / "out"), "--size", "32"]) == 1

    *problems, error = capsys.readouterr().err.splitlines()
    assert "train/NORMAL/IM-0001-0001.jpeg: The file has 0 bytes. Send the bytes of an image." in problems
    assert error.startswith("error: there is no training image of NORMAL: add images")


def numbered(folder: Path, count: int, seed: int) -> None:
    """Images whose names are only a number, with different images in each class."""
    rng = np.random.default_rng(seed)
    for label in ("NORMAL", "PNEUMONIA"):
        (folder / label).mkdir(parents=True)
        for number in range(1, count + 1):
            pixels = rng.integers(0, 255, (40, 40), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")


def test_a_name_that_tells_no_patient_is_a_person_of_its_own(tmp_path: Path) -> None:
    numbered(tmp_path / "data/train", 70, seed=1)
    numbered(tmp_path / "data/val", 60, seed=2)

    report = prepare(tmp_path / "data", tmp_path / "out", size=32)

    assert report["counts"]["train"] == {"NORMAL": 70, "PNEUMONIA": 70, "patients": 140}
    assert report["counts"]["validation"] == {"NORMAL": 60, "PNEUMONIA": 60, "patients": 120}
    assert "train/NORMAL/1.png" in load(tmp_path / "out").patients["train"]


def test_numbers_in_test_are_not_patients_of_train(tmp_path: Path) -> None:
    numbered(tmp_path / "data/train", 10, seed=1)
    numbered(tmp_path / "data/test", 10, seed=2)

    assert not any("test leaks" in line for line in prepare(tmp_path / "data", tmp_path / "out", size=32)["problems"])


def test_the_header_of_a_dicom_file_tells_the_patient(tmp_path: Path) -> None:
    numbered(tmp_path / "data/train", 12, seed=1)
    for index in range(24):  # three images of each of eight people
        label = ("NORMAL", "PNEUMONIA")[index % 2]
        name = f"person{index}_virus_1.dcm"  # names another patient
        pixels = np.random.default_rng(index).integers(0, 4096, (40, 40), dtype=np.uint16)
        (tmp_path / "data/train" / label / name).write_bytes(dicom(pixels, PatientID=f"DOE-{index // 3}"))

    prepare(tmp_path / "data", tmp_path / "out", size=32)

    prepared = load(tmp_path / "out")
    sides = [
        {patient for patient in prepared.patients[split] if patient.startswith("dicom-")} for split in prepared.patients
    ]
    assert len(sides[0] | sides[1]) == 8
    assert not sides[0] & sides[1]
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert b"DOE" not in written


def test_a_dicom_file_without_an_id_goes_by_its_name() -> None:
    assert patient_of("train/NORMAL/person7_virus_1.dcm", dicom(PatientID="")) == "person7"
    assert patient_of("train/NORMAL/1.dcm", dicom(PatientID=" ")) == "train/NORMAL/1.dcm"
    assert patient_of("a/1.dcm", dicom(PatientID="7 ")) == patient_of("b/2.dcm", dicom(PatientID="7"))


def test_names_of_class_folders_may_have_any_case(data: Path, tmp_path: Path) -> None:
    usual = prepare(data, tmp_path / "usual", size=32)
    (data / "train/NORMAL").rename(data / "train/normal")
    (data / "train/PNEUMONIA").rename(data / "train/Pneumonia")
    (data / "test/NORMAL").rename(data / "test/Normal")

    report = prepare(data, tmp_path / "out", size=32)

    assert report == usual


def test_hidden_files_are_passed_over_by_all(data: Path, tmp_path: Path) -> None:
    (data / "train/NORMAL/._IM-0001-0001.jpeg").write_bytes(b"what macOS adds")
    (data / ".DS_Store").write_bytes(b"too")

    assert not any(".DS_Store" in line or "._IM" in line for line in prepare(data, tmp_path, size=32)["problems"])


@pytest.mark.parametrize("pack", ["zip", "gztar"])
def test_an_archive_is_to_be_unpacked(
    data: Path, tmp_path: Path, pack: str, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = shutil.make_archive(str(tmp_path / "chest xray"), pack, data)

    assert main(["prepare", "--data", archive, "--out", str(tmp_path / "out")]) == 1

    said = capsys.readouterr().err
    how = re.search("unpack it with `(.*?)`", said)
    assert how
    shutil.rmtree(data)
    subprocess.run(shlex.split(how[1]), check=True, capture_output=True)
    assert list(tmp_path.glob("**/train/NORMAL/*.jpeg"))


def test_a_data_set_that_is_not_there_or_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("hello")

    for name, said in {
        "gone": "gone does not exist: check the path",
        "notes.txt": "is a file: give the folder",
    }.items():
        assert main(["prepare", "--data", str(tmp_path / name), "--out", str(tmp_path / "out")]) == 1
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("deeper", ["chest xray", "one/two", "__MACOSX/../real"])
@pytest.mark.parametrize("option", ["--data {}", "--data={}"])
def test_a_data_set_further_down_comes_with_the_command_to_type(
    data: Path, tmp_path: Path, deeper: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Path(os.path.normpath(tmp_path / "given" / deeper))
    shutil.copytree(data, place)
    (tmp_path / "given/__MACOSX/train").mkdir(parents=True)
    words = [word.format(tmp_path / "given") for word in option.split()]

    assert main(["prepare", *words, "--out", str(tmp_path / "out"), "--size", "32"]) == 1

    said = capsys.readouterr().err
    assert said.count("\n") == 1
    command = shlex.split(said.partition("give that folder: ")[2])
    assert command[1:4] == ["-m", "training", "prepare"]
    assert main(command[3:]) == 0
    assert load(tmp_path / "out").files["train"]


def test_evaluate_takes_the_folder_that_holds_the_classes(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(EMBEDDED_BUNDLE)
    assert main(["evaluate", "--model", model, "--data", str(data / "test/NORMAL"), "--out", str(tmp_path / "o")]) == 1
    command = shlex.split(capsys.readouterr().err.partition("give that folder: ")[2])
    assert command[command.index("--data") + 1] == str(data / "test")


def test_an_interrupted_preparation_leaves_nothing_that_looks_whole(phantoms: Path, tmp_path: Path) -> None:
    prepare(phantoms, tmp_path, size=32)
    (tmp_path / "validation.npy").unlink()
    (tmp_path / "validation.npy").mkdir()  # so that the file cannot be written

    with pytest.raises(IsADirectoryError):
        prepare(phantoms, tmp_path, size=32, seed=5)
    with pytest.raises(DataError, match="training prepare"):
        load(tmp_path)


def test_a_pattern_without_a_group_is_a_clear_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["prepare", "--data", "x", "--out", "y", "--patient", r"^\d+"])
    assert "put the part to extract in parentheses" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--held-out-group", "--patient"])
def test_an_invalid_regular_expression_is_a_clear_error(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["prepare", "--data", "x", "--out", "y", option, "(unclosed"])
    assert "is not a regular expression" in capsys.readouterr().err


def test_names_every_unreadable_and_misplaced_file(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = (data / "train/NORMAL/IM-0001-0001.jpeg").read_bytes()
    (data / "train/NORMAL/empty.jpeg").write_bytes(b"")
    (data / "train/NORMAL/notes.jpeg").write_text("not an image")
    (data / "train/PNEUMONIA/half.jpeg").write_bytes(good[: len(good) // 2])
    (data / "train/loose.png").write_bytes(good)
    (data / "train/NORMAL/deeper").mkdir()
    (data / "readme.txt").write_text("hello")

    assert main(["prepare", "--data", str(data), "--out", str(tmp_path / "out"), "--size", "32"]) == 0
    said = capsys.readouterr().out
    for name in ("empty.jpeg", "notes.jpeg", "half.jpeg", "train/loose.png", "train/NORMAL/deeper", "readme.txt"):
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
    assert "train/NORMAL/IM-0600-0001.jpeg" not in used, "a test image must not be trained on"
    assert sum("identical" in line for line in report["problems"]) == 3


@pytest.mark.parametrize("spoil", ["train", "train/NORMAL"])
def test_missing_folder_or_class_is_a_clear_error(
    data: Path, tmp_path: Path, spoil: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(data / spoil)

    assert main(["prepare", "--data", str(data), "--out", str(tmp_path / "out")]) == 1
    assert "there is no training image of NORMAL" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_too_few_patients_to_split_is_a_clear_error(tmp_path: Path) -> None:
    drawn.write(tmp_path / "data/train", patients=3)

    with pytest.raises(DataError, match="at least 7 patients of each class, but there are 3 of NORMAL, 3 of PNEUMONIA"):
        prepare(tmp_path / "data", tmp_path / "out", size=32)


def test_loading_before_preparing_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="training prepare"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("person23_bacteria_78.jpeg", "person23"),
        ("person23_virus_56.jpeg", "person23"),
        ("IM-0115-0001.jpeg", "IM-0115"),
        ("NORMAL2-IM-0587-0001-0002.jpeg", "NORMAL2-IM-0587"),
        ("train/NORMAL/my own image.png", "train/NORMAL/my own image.png"),
        ("train/person1_virus_2/3.jpeg", "train/person1_virus_2/3.jpeg"),
    ],
)
def test_patient_of(name: str, patient: str) -> None:
    assert patient_of(name, b"") == patient


@given(number=st.integers(1, 10**6), kind=st.sampled_from(["bacteria", "virus"]), image=st.integers(0, 10**4))
def test_all_images_of_a_person_share_the_patient(number: int, kind: str, image: int) -> None:
    assert patient_of(f"person{number}_{kind}_{image}.jpeg", b"") == f"person{number}"


def test_the_real_data_set_splits_without_overlap(xrays: Path, tmp_path: Path) -> None:
    report = prepare(xrays, tmp_path, size=32)
    data = load(tmp_path)

    assert not set(data.patients["train"]) & set(data.patients["validation"])
    counts = report["counts"]
    assert counts["train"]["NORMAL"] + counts["validation"]["NORMAL"] == 1340  # 1,341 with one duplicate
    assert abs(data.labels["train"].mean() - data.labels["validation"].mean()) < 0.02
