"""Any ONNX model, and options that cannot work, through the command line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.__main__ import main
from export.benchmark.signature import Input
from handler.contract import EMBEDDED_BUNDLE

Shape = list[int | str]


def write_model(folder: Path, image: Shape, tokens: Shape) -> Path:
    """Two inputs: a float tensor that goes through a dense layer, and indices into a table of two rows."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["image", "weights"], ["dense"]),
            helper.make_node("Gather", ["table", "tokens"], ["embedded"]),
        ],
        "two inputs",
        [value("image", TensorProto.FLOAT, image), value("tokens", TensorProto.INT64, tokens)],
        [value("dense", TensorProto.FLOAT, None), value("embedded", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.ones((8, 3), np.float32), "weights"),
            numpy_helper.from_array(np.ones((2, 5), np.float32), "table"),
        ],
    )
    path = folder / "two.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def command(path: Path, out: Path, *more: str) -> list[str]:
    return ["benchmark", "--onnx", str(path), "--out", str(out), "--queries", "8", "--seconds", "0", *more]


def test_any_onnx_model_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_model(tmp_path, ["N", "C", 8], ["N", 7])

    assert main(command(path, tmp_path / "out", "--json", "--size", "4", "--batch", "2")) == 0

    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in result["runners"]}
    assert set(rows) == {"ONNX Runtime", "OpenVINO"}
    assert result["reference"] == "two.onnx: ONNX Runtime"
    assert [network["size"] for network in result["networks"]] == [None]
    for row in rows.values():
        assert row["status"] in ("measured", "missing")
    first = rows["ONNX Runtime"]
    assert first["latency"]["n"] == 8
    assert first["gmacs"] == 2 * 4 * 8 * 3 / 1e9
    assert 0 < first["share_of_roofline"] <= 1
    assert (first["preprocess"], first["end_to_end"], first["accuracy"]) == (None, None, None)


@pytest.mark.parametrize(
    ("image", "tokens", "more", "remedy"),
    [
        (["N", "C", 8], ["N", 7], [], "give --size"),
        ([4, 2, 8], [4, 7], [], "give --batch 4"),
        ([4, 2, 8], [4, 7], ["--batch", "2"], "give --batch 4"),
        (["N", 2, 8], ["N", 7], ["--data", "."], "leave it out"),
    ],
)
def test_a_model_that_cannot_be_run_so_is_refused(
    image: Shape, tokens: Shape, more: list[str], remedy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_model(tmp_path, image, tokens)

    assert main(command(path, tmp_path / "out", *more)) == 1

    assert remedy in capsys.readouterr().err


def test_a_file_that_is_no_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "no.onnx").write_text("no model")

    assert main(command(tmp_path / "no.onnx", tmp_path / "out")) == 1
    assert "cannot be read as an ONNX model" in capsys.readouterr().err
    assert main(command(tmp_path / "absent.onnx", tmp_path / "out")) == 1
    assert "give an ONNX file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ("--threads 4097", "give 1 to"),
        ("--threads 0", "give 1 to"),
        ("--batch 0", "give 1 to"),
        ("--batch 100000", "give 1 to"),
        ("--size 31", "give 32 or more"),
        ("--size 96", "leave --size out"),
        ("--queries 0", "give 1 or more"),
        ("--seconds nan", "give 0 or more"),
        ("--rounds 3", "give --queries"),
        ("--cold-start --batch 2", "leave it out"),
        ("--warm-path --queries 2", "leave it out"),
        ("--seconds inf", "give 0 or more"),
        ("--server --network runs/mine", "--network is not for --server"),
        (f"--warm-path --bundle {EMBEDDED_BUNDLE.parent}", "give --bundle once"),
        (f"--bundle {EMBEDDED_BUNDLE}", "give each bundle once"),
    ],
)
def test_options_that_cannot_work_are_refused_before_long_work(
    options: str, remedy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = ["--bundle", str(EMBEDDED_BUNDLE)]

    assert main(["benchmark", *bundle, "--out", str(tmp_path / "out"), *options.split()]) == 1

    assert remedy in capsys.readouterr().err


@pytest.mark.parametrize("dtype", ["float16", "float64", "uint8", "int8", "int64", "bool"])
def test_noise_has_the_type_and_shape_of_the_input(dtype: str) -> None:
    noise = Input("x", dtype, (3, 40)).noise()

    assert (noise.dtype, noise.shape) == (np.dtype(dtype), (3, 40))
    assert len(np.unique(noise)) > 1
    assert noise.min() >= 0
    assert noise.max() <= (255 if dtype == "uint8" else 1)
