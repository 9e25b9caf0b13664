"""A small network is trained from random weights with the probabilities of a larger one."""

import json
from pathlib import Path

import pytest

from tests.training.runs import SMALL
from training.__main__ import main
from training.prepare import prepare
from training.recipe import Recipe
from training.run_folder import RunFolder

pytestmark = pytest.mark.slow

CHANNELS = "8,8,16,16,32,32,32,32,64,64,64,64,64,64,64,64"


@pytest.fixture(scope="module")
def teacher(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "teacher"
    assert main(["fit", "--data", str(prepared), *SMALL, "--sizes", "48x18", "--out", str(run)]) == 0
    return run


def test_a_student_learns_from_its_teacher_alone(prepared: Path, teacher: Path, tmp_path: Path) -> None:
    run = tmp_path / "student"
    command = ["fit", "--data", str(prepared), "--teacher", str(teacher), "--channels", CHANNELS]
    numbers = ["distillation=1", "batch_size=8", "cached_augmentations=6", "average_decay=0.9"]
    command += [word for number in numbers for word in ("--set", number)]
    assert main([*command, "--sizes", "48x24", "--out", str(run)]) == 0

    config = json.loads((run / "config.json").read_text())
    assert config["teachers"] == ["teacher"]
    assert config["init"] == "scratch"
    assert Recipe.from_dict(config["recipe"]).channels == tuple(map(int, CHANNELS.split(",")))
    assert RunFolder(run).read_metrics().validation["auc"] > 0.8
    assert not RunFolder(run).kept.exists(), "a finished run needs no augmented images"


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        (["--recipe", "student"], "give --teacher RUN"),
        (["--recipe", "scratch", "--teacher", "RUN"], "add --set distillation=0.9"),
    ],
)
def test_a_teacher_and_its_weight_need_each_other(
    options: list[str], remedy: str, prepared: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [str(teacher) if option == "RUN" else option for option in options]
    fit = ["fit", "--data", str(prepared), "--init", "scratch", "--out", str(tmp_path / "run")]
    assert main([*fit, *options]) == 1
    assert remedy in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_teacher_that_knows_the_validation_images_is_refused(
    phantoms: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(phantoms, tmp_path / "other", size=48, validation=0.25, seed=1)
    fit = ["fit", "--data", str(tmp_path / "other"), "--init", "scratch", "--out", str(tmp_path / "run")]
    assert main([*fit, "--teacher", str(teacher)]) == 1
    assert "give the --data that it was trained with" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("channels", ["16,24", "16,a", "0,8"])
def test_other_channels_are_refused(
    channels: str, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = ["fit", "--data", str(prepared), "--init", "scratch", "--out", str(tmp_path / "run")]
    try:
        status = main([*fit, "--channels", channels])
    except SystemExit as exc:  # argparse
        status = int(exc.code or 0)
    assert status != 0
    error = capsys.readouterr().err
    assert "16 positive numbers" in error or "is not an integer above 0" in error
