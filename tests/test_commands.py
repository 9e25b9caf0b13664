"""All command lines: an error is one line that names the remedy, and no file is lost.

The file system errors also occur for root.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from handler.contract import EMBEDDED_BUNDLE
from tests.handler.images import jpeg
from training.__main__ import main as training
from training.prepare import load, prepare

ROOT = Path(__file__).parents[1]
FAILING = Path("/proc/self/mem")
"""A file that can be opened but not read, like a file on a disconnected drive."""


@pytest.fixture
def data(phantoms: Path, tmp_path: Path) -> Path:
    """A copy that tests may change."""
    return Path(shutil.copytree(phantoms, tmp_path / "data"))


def error(stderr: str) -> str:
    """The only line of the output. Progress bars are erased."""
    lines = [line.rpartition("\r")[2] for line in stderr.splitlines()]
    assert "Traceback" not in stderr
    assert sum(line.startswith("error: ") for line in lines) == 1, stderr
    return lines[-1]


def call(words: Sequence[object], **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *map(str, words)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


@pytest.mark.parametrize("command", ["handler predict --jsn x", "training compare --al x", "export fetch --rpo x"])
def test_a_misspelt_option_shows_the_usage_of_its_command(command: str) -> None:
    module, name, *_ = command.split()

    done = call(command.split())

    assert done.returncode == 2
    assert done.stderr.startswith(f"usage: python -m {module} {name} ")


OUT_OF_EACH = [
    "training prepare --data {data} --out {out}",
    "training fit --data {data} --out {out} --init scratch",
    "training prune --run {data} --data {data} --out {out}",
    "training evaluate --model {bundle} --data {data}/test --out {out}",
    "training robustness --model {bundle} --data {data} --out {out}",
    "training explanations --model {bundle} --data {data} --out {out}",
    "training phantom --out {out}/phantom.png",
    "export build --model {data} --calibration {data} --out {out}",
    "export fetch --repo a/b --revision c --out {out}",
    "export benchmark --out {out}",
    "infra.sweep --out {out}",
]


@pytest.mark.parametrize("command", OUT_OF_EACH)
def test_an_out_that_is_a_file_is_said_before_work_begins(command: str, phantoms: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("precious")

    done = call(command.format(data=phantoms, bundle=EMBEDDED_BUNDLE, out=out).split())

    assert done.returncode in (1, 2)
    assert str(out) in error(done.stderr)
    assert "name a folder" in done.stderr
    assert out.read_text() == "precious"


@pytest.mark.parametrize("out", ["/proc/out", "broken"])
def test_an_out_that_cannot_be_written_is_reported_before_work_begins(
    out: str, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken").symlink_to("nowhere")

    assert training(["prepare", "--data", str(phantoms), "--out", str(tmp_path / out), "--size", "32"]) == 1

    assert str((tmp_path / out).parent) in error(capsys.readouterr().err)


def test_missing_permissions_are_reported(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = next((data / "train/NORMAL").iterdir())
    image.chmod(0)
    if os.access(image, os.R_OK):
        pytest.skip("root may read and write everything")
    (tmp_path / "locked").mkdir(mode=0o500)

    for out, path in (("locked", tmp_path / "locked"), ("out", image)):
        assert training(["prepare", "--data", str(data), "--out", str(tmp_path / out)]) == 1
        said = error(capsys.readouterr().err)
        assert str(path) in said
        assert "chmod" in said


def test_an_unreadable_image_is_reported_before_work_begins(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "test"):
        (data / split / "NORMAL/gone.jpeg").symlink_to(FAILING)

    assert training(["prepare", "--data", str(data), "--out", str(tmp_path / "out")]) == 1
    prepared = error(capsys.readouterr().err)
    model = ["--model", str(EMBEDDED_BUNDLE), "--out", str(tmp_path / "out")]
    assert training(["evaluate", "--data", str(data / "test"), *model]) == 1
    evaluated = error(capsys.readouterr().err)

    assert f"{data}/train/NORMAL/gone.jpeg" in prepared
    assert f"{data}/test/NORMAL/gone.jpeg" in evaluated
    assert all("the drive does not answer: connect it again" in said for said in (prepared, evaluated))
    assert not (tmp_path / "out").exists()


def test_one_line_for_one_file_at_the_handler_s_command_line(tmp_path: Path) -> None:
    (tmp_path / "good.jpg").write_bytes(jpeg())
    (tmp_path / "gone.jpg").symlink_to(FAILING)

    done = call(["handler", "predict", "--force", tmp_path / "gone.jpg", tmp_path / "good.jpg"], stdout=subprocess.PIPE)

    assert (done.returncode, done.stderr) == (1, "")
    gone, good = done.stdout.splitlines()
    assert "cannot be read" in gone
    assert "%" in good


def limited() -> None:
    """Limit files to 40 kB, as on a disk that is nearly full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))


def test_a_full_disk_leaves_what_was_prepared(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(data, out, size=32, seed=1)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    done = call(["training", "prepare", "--data", data, "--out", out, "--size", 64], preexec_fn=limited)

    assert done.returncode == 1
    assert str(out) in error(done.stderr)
    assert "free space on the disk" in done.stderr
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert load(out).files


def test_a_full_disk_does_not_lose_an_evaluation(phantoms: Path, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").mkdir()  # so that the file cannot be written

    words = ["--model", EMBEDDED_BUNDLE, "--data", phantoms / "test", "--out", tmp_path]
    done = call(["training", "evaluate", *words], stdout=subprocess.PIPE)

    assert done.returncode == 1
    assert f"{tmp_path}/metrics.json" in error(done.stderr)
    assert "classified as PNEUMONIA at a probability" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
@pytest.mark.parametrize("command", ["handler settings", "infra.cost --ms 20", "training phantom --out {out}"])
def test_output_that_cannot_be_written_is_one_line(command: str, tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = call(command.format(out=tmp_path / "a.png").split(), stdout=full)

    assert done.returncode in (1, 2)
    assert "the output: No space left on device: free space" in error(done.stderr)
    assert done.stderr.count("\n") == 1


def test_metrics_that_are_no_file_are_one_line(tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(EMBEDDED_BUNDLE, tmp_path / "bundle"))
    (tmp_path / "metrics.json").mkdir()

    done = call(["export", "card", bundle, "--evaluation", tmp_path / "metrics.json"])

    assert done.returncode == 1
    assert f"{tmp_path}/metrics.json: Is a directory: name a file" in error(done.stderr)
    assert json.loads((bundle / "model.json").read_text())


def test_an_image_that_is_not_there_is_one_line_of_the_sweep(tmp_path: Path) -> None:
    done = call(["infra.sweep", "--xray", tmp_path / "gone.png", "--out", tmp_path / "out"])

    assert done.returncode == 2
    assert f"{tmp_path}/gone.png: No such file or directory: check the path" in error(done.stderr)


def run_without(package: str, command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `python -m COMMAND` as if a package was not installed."""
    code = (
        f"import runpy, sys; sys.modules[{package!r}] = None; sys.argv = {command.split()}; "
        "runpy.run_module(sys.argv[0], run_name='__main__')"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "missing", "extra"),
    [
        ("training prepare --help", "tqdm", "train"),
        ("export build --model . --calibration . --out x", "keras", "export"),
        ("training.examples --help", "tqdm", "train"),
        ("infra.bulk --stack xray --source s3://a/b/", "boto3", "aws"),
        ("infra.smoke http://localhost:1 --iam", "boto3", "aws"),
        ("infra.sweep --help", "tqdm", "export"),
        ("infra.cold_start --help", "tqdm", "export"),
        ("infra.readme --help", "tqdm", "export"),
    ],
)
def test_what_an_environment_that_only_serves_lacks_is_one_line(
    command: str, missing: str, extra: str, tmp_path: Path
) -> None:
    done = run_without(missing, command, tmp_path)

    assert done.returncode in (1, 2)
    assert done.stderr == f"error: {missing} is not installed: make install, or pip install '.[{extra}]'\n"


@pytest.mark.parametrize("command", ["predict chest.png", "serve --port 0"])
def test_a_python_without_the_packages_of_serving_is_one_line(command: str, tmp_path: Path) -> None:
    done = run_without("PIL", f"handler {command}", tmp_path)

    assert done.returncode == 2
    assert done.stderr == "error: PIL is not installed: make serve, and use .venv/bin/python, or pip install .\n"


@pytest.mark.parametrize(
    ("below", "path", "python"),
    [(".", "", ".venv/bin/python"), ("other", "", "{home}/.venv/bin/python"), (".", "{home}/.venv/bin", "python")],
)
def test_the_next_command_names_this_python_as_it_is_typed(below: str, path: str, python: str, tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(sys.prefix)
    folder = tmp_path / below
    folder.mkdir(exist_ok=True)

    done = subprocess.run(
        [tmp_path / ".venv/bin/python", "-m", "training", "phantom", "--out", "chest.png"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": path.format(home=tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )

    assert done.stdout.startswith(f"next: {python.format(home=tmp_path)} -m handler predict chest.png")
