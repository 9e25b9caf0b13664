"""Latency of all runners, through the command line."""

import importlib.util
import json
import shutil
from pathlib import Path

import onnx
import pytest

from export.__main__ import main
from export.benchmark.macs import macs
from export.benchmark.samples import Samples
from tests.export.benchmark.command import TRIAL, arguments, measured, run

OTHER_RUNTIMES = {
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
INSTALLED = {name for name, module in OTHER_RUNTIMES.items() if importlib.util.find_spec(module)}


@pytest.mark.slow
def test_everything_that_is_installed_is_measured(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(folder, capsys, *TRIAL, "--no-baseline", "--data", str(folder / "data"))

    rows = measured(result)
    assert set(rows) == {"tiny 0.0.1", *INSTALLED}
    for row in rows.values():
        samples = Samples.from_json(row["samples"]["latency"])
        assert samples.n == 8
        assert row["latency"] == samples.summary(), "the samples are enough to compute it again"
        assert 0 < row["latency"]["p50"]["low"] <= row["latency"]["p50"]["ms"] <= row["latency"]["p50"]["high"]
        assert row["latency"]["p90"] is None, "8 samples do not support it"
        assert 0 < row["preprocess"]["p50"]["ms"] < row["end_to_end"]["p50"]["ms"]
        assert row["ratio"]["low"] <= row["ratio"]["value"] <= row["ratio"]["high"]
        assert row["images_per_second"] == pytest.approx(1e3 / row["latency"]["p50"]["ms"])
        assert 10 < row["peak_mb"] < 10_000
        assert row["model_mb"] > 0
        assert 0 <= row["accuracy"] <= 1
    assert rows["tiny 0.0.1"]["ratio"] == {"value": 1, "low": 1, "high": 1}
    medians = [row["latency"]["p50"]["ms"] for row in rows.values()]
    assert medians == sorted(medians)
    assert rows["tiny 0.0.1"]["gmacs"] is None, "it multiplies nothing"
    products = 64 * 64 * 9 * 8 + 32 * 32 * 9 * 8 * 16 + 16 * 16 * 9 * 16 * 16 + 16 * 2
    assert rows["Keras predict"]["gmacs"] == products / 1e9
    graphs = list((folder / "out").glob("network-*/*.onnx"))
    assert [macs(onnx.load(path)) for path in graphs] == [products] * 3, "float, dynamic and static int8"
    assert 0 < rows["Keras predict"]["share_of_roofline"] <= 1
    assert result["rules"]["met"] is False
    assert "8 queries instead of 1024" in result["rules"]["broken"]
    exact = rows["ONNX Runtime float32"]["accuracy"]
    for name, row in rows.items():
        kept = None if name == "tiny 0.0.1" else row["accuracy"] >= 0.99 * exact
        assert row["float32_accuracy_kept"] is kept, name
    assert result["data"] == {"name": f"{folder.name}/data", "images": 32}
    assert result["machine"]["libraries"]["onnxruntime"]
    saved = folder / "out"
    assert json.loads((saved / "benchmark.json").read_text()) == result
    assert all((saved / name).read_bytes().startswith(b"\x89PNG") for name in ("p50.png", "latency_auc.png"))
    assert not list(saved.rglob(".*")), "nothing temporary is left"

    expected = rows["Keras predict"]["auc"]
    assert 0.6 < expected < 1
    for name in INSTALLED:
        exact = name in ("tf.function", "LiteRT float32", "ONNX Runtime float32")
        assert rows[name]["auc"] == pytest.approx(expected, abs=1e-6 if exact else 0.05), name


@pytest.mark.slow
def test_the_table_lists_the_fastest_first_and_names_what_is_absent_or_broken(
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

    run_folder = tmp_path / "run"
    run_folder.mkdir()
    shutil.copy(folder / "network.keras", run_folder / "model.keras")

    assert main(arguments(folder, *TRIAL, "--no-baseline", "--network", str(run_folder))) == 0

    lines = capsys.readouterr().out.splitlines()
    assert any("NOT MET" in line for line in lines)
    start = next(i for i, line in enumerate(lines) if "p50 ms" in line) + 1
    names = ["tiny 0.0.1", *OTHER_RUNTIMES]
    rows = {name: line for name in names for line in lines[start:] if line.startswith(f"{name} ")}
    assert set(rows) == set(names)
    out = {name for name in OTHER_RUNTIMES if name.startswith(("LiteRT", "OpenVINO"))}
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
    assert "AUC" not in lines[start - 1], "accuracy and AUC were not asked for"
    assert lines[-1] == f"benchmark.json, p50.png are in {folder / 'out'}"
