"""The benchmark through its command line, with a network so small that all its peers are quick. No test looks at how
fast anything was."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from export.__main__ import main
from export.timing.macs import macs
from handler.imaging.decode import decode
from tests.phantoms import write
from tests.tiny_bundle import write_tiny_bundle

SIZE = 64
CHANNELS = (8, 16, 16)
PEERS = {
    "Keras predict": "tensorflow",
    "tf.function": "tensorflow",
    "LiteRT float32": "ai_edge_litert",
    "LiteRT int8": "ai_edge_litert",
    "OpenVINO float32": "openvino",
    "OpenVINO int8": "openvino",
    "ONNX Runtime float32": "onnxruntime",
    "ONNX Runtime dynamic int8": "onnxruntime",
    "ONNX Runtime static int8": "onnxruntime",
}
INSTALLED = {name for name, module in PEERS.items() if importlib.util.find_spec(module)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained network, labelled pictures that it has not seen, a bundle, and what the benchmark keeps."""
    import keras
    from keras import layers

    folder = tmp_path_factory.mktemp("benchmark")
    write_tiny_bundle(folder / "bundle")
    write(folder / "train", patients=12, opacity=0.2)
    write(folder / "data", patients=8, first=100, opacity=0.2)
    files = sorted((folder / "train").glob("*/*.jpeg"))
    pixels = np.stack([decode(path.read_bytes(), SIZE) for path in files])[..., np.newaxis]
    labels = np.array([path.parent.name == "PNEUMONIA" for path in files], np.int64)
    keras.utils.set_random_seed(0)
    x = pictures = keras.Input((None, None, 1))
    x = layers.Rescaling(1 / 255)(x)
    for channels in CHANNELS:
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x))
        x = layers.MaxPooling2D()(x)
    x = layers.Dense(2, activation="softmax")(layers.GlobalMaxPooling2D()(x))
    network = keras.Model(pictures, x)
    network.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    network.fit(pixels, labels, batch_size=8, epochs=12, verbose=0)
    network.save(folder / "network.keras")
    return folder


def arguments(folder: Path, *more: str) -> list[str]:
    network = ["--network", str(folder / "network.keras"), "--network-size", str(SIZE)]
    bundle = ["--bundle", str(folder / "bundle")]
    return ["benchmark", *network, *bundle, "--out", str(folder / "out"), "--rounds", "2", *more]


def run(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    assert main(arguments(folder, "--json", *more)) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def measured(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in result["contestants"] if row["status"] == "measured"}


@pytest.mark.slow
def test_everything_that_is_installed_is_measured(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(folder, capsys, "--data", str(folder / "data"))

    rows = measured(result)
    assert set(rows) == {"tiny 0.0.1", *INSTALLED}
    for row in rows.values():
        assert 0 < row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"]
        assert set(row["images_per_second"]) == {"1", "8", "32"}
        assert all(speed > 0 for speed in row["images_per_second"].values())
        assert 10 < row["peak_mb"] <= row["peak_mb_all_batches"] < 10_000
        assert row["model_mb"] > 0
        assert 0 <= row["accuracy"] <= 1
    medians = [row["p50_ms"] for row in rows.values()]
    assert medians == sorted(medians)
    assert rows["tiny 0.0.1"]["gmacs"] is None, "it multiplies nothing"
    products = 64 * 64 * 9 * 8 + 32 * 32 * 9 * 8 * 16 + 16 * 16 * 9 * 16 * 16 + 16 * 2
    assert rows["Keras predict"]["gmacs"] == products / 1e9
    graphs = list((folder / "out").glob("network-*/*.onnx"))
    assert [macs(onnx.load(path)) for path in graphs] == [products] * 3, "float, dynamic and static int8"
    assert 0 < rows["Keras predict"]["share_of_peak"] < 1
    assert result["data"] == {"name": f"{folder.name}/data", "pictures": 32}
    assert result["machine"]["libraries"]["onnxruntime"]
    saved = folder / "out"
    assert json.loads((saved / "benchmark.json").read_text()) == result
    assert all((saved / name).read_bytes().startswith(b"\x89PNG") for name in ("p50.png", "latency_auc.png"))
    assert not list(saved.rglob(".*")), "nothing temporary is left"

    expected = rows["Keras predict"]["auc"]
    assert 0.8 < expected < 1
    for name in INSTALLED:
        exact = name in ("tf.function", "LiteRT float32", "ONNX Runtime float32")
        assert rows[name]["auc"] == pytest.approx(expected, abs=1e-6 if exact else 0.05), name


@pytest.mark.slow
def test_the_table_lists_the_fastest_first_and_says_who_is_absent_or_broken(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'ai_edge_litert':\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Blocker())\n"
    )
    (tmp_path / "openvino.py").write_text("raise RuntimeError('its shared library is damaged')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    assert main(arguments(folder)) == 0

    lines = capsys.readouterr().out.splitlines()
    start = next(i for i, line in enumerate(lines) if "p50 ms" in line) + 1
    names = ["tiny 0.0.1", *PEERS]
    rows = {name: line for name in names for line in lines[start:] if line.startswith(f"{name} ")}
    assert set(rows) == set(names)
    out = {name for name in PEERS if name.startswith(("LiteRT", "OpenVINO"))}
    for name in out:
        text = "not installed: pip install ai-edge-litert" if name.startswith("LiteRT") else "failed: RuntimeError: its"
        assert text in rows[name]
    medians = [
        float(line.removeprefix(name).split()[0])
        for line in lines[start:]
        for name in names
        if line.startswith(f"{name} ") and name not in out
    ]
    assert len(medians) == len(names) - len(out)
    assert medians == sorted(medians)
    assert rows["Keras predict"].split()[-3:-1] == ["-", "-"], "nobody asked for accuracy and AUC"
    assert lines[-1] == f"benchmark.json, p50.png, latency_auc.png are in {folder / 'out'}"


@pytest.mark.slow
def test_a_cold_start_is_told_apart_into_parts_that_sum_to_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(folder, capsys, "--cold-start", "--rounds", "1")

    rows = measured(result)
    parts = {name: [*row["page_cache"]["warm"]["parts_ms"]] for name, row in rows.items()}
    assert parts == {
        "this project's Lambda entry": ["interpreter", "imports_and_session", "first_answer"],
        "NumPy and ONNX Runtime alone": ["interpreter", "imports", "session", "first_answer"],
        "Flask and TensorFlow": ["interpreter", "imports", "session", "first_answer"],
    }
    for row in rows.values():
        assert 10 < row["resident_mb"] <= row["peak_mb"] < 10_000
        for found in row["page_cache"].values():
            assert all(part["mean"] > 0 for part in found["parts_ms"].values())
            total = sum(part["mean"] for part in found["parts_ms"].values())
            assert found["total_ms"]["mean"] == pytest.approx(total)
            assert found["ratio"] >= 1
    assert (folder / "out/cold_start.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("network", "more", "remedy"),
    [("absent.keras", [], "leave --network out"), ("network.keras", [], "give --network-size")],
)
def test_a_network_that_cannot_be_run_is_refused(
    folder: Path, network: str, more: list[str], remedy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmark", "--network", str(folder / network), "--out", str(tmp_path / "out"), *more]) == 1

    assert remedy in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_warm_path_adds_up(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "export", "benchmark", "--warm-path", "--rounds", "5", "--json"]
    done = subprocess.run([*command, "--out", str(tmp_path)], check=True, capture_output=True, text=True)

    result = json.loads(done.stdout)
    parts = result["parts"]
    assert all(part["p99_ms"] >= part["p50_ms"] > 0 for part in parts.values())
    assert parts["request"]["p50_ms"] > max(parts["request: decode"]["p50_ms"], parts["request: inference"]["p50_ms"])
    assert result["decode_ratio"] == pytest.approx(parts["decode"]["p50_ms"] / parts["plain decode"]["p50_ms"])
    assert json.loads((tmp_path / "warm_path.json").read_text()) == result
