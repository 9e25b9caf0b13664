"""Cold starts, through the command line."""

from pathlib import Path

import pytest

from tests.export.benchmark.command import measured, run


@pytest.mark.slow
def test_the_parts_sum_to_the_whole_and_the_decoder_counts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(folder, capsys, "--cold-start", "--rounds", "1")

    rows = measured(result)
    parts = {name: [*row["page_cache"]["warm"]["parts"]] for name, row in rows.items()}
    assert parts == {
        "this project's Lambda entry": ["interpreter", "imports_and_session", "first_answer"],
        "NumPy and ONNX Runtime alone": ["interpreter", "imports", "session", "first_answer"],
        "Flask and TensorFlow": ["interpreter", "imports", "session", "first_answer"],
    }
    processes = {name: row["processes"] for name, row in rows.items()}
    assert processes == {
        "this project's Lambda entry": 3,
        "NumPy and ONNX Runtime alone": 1,
        "Flask and TensorFlow": 1,
    }, "the Lambda entry, the parent of its decoders, and one decoder"
    for row in rows.values():
        assert 10 < row["resident_mb"] <= row["peak_mb"] < 10_000
        assert 5 < row["tree_pss_mb"] < row["resident_mb"] + row["children_uss_mb"]
        assert (row["children_uss_mb"] > 0) == (row["processes"] > 1)
        for found in row["page_cache"].values():
            assert all(part["mean_ms"] > 0 for part in found["parts"].values())
            total = sum(part["mean_ms"] for part in found["parts"].values())
            assert found["total"]["mean_ms"] == pytest.approx(total, abs=0.01)
            assert (found["total"]["p90"], found["total"]["p99"]) == (None, None), "one start does not support them"
            assert found["ratio"]["value"] >= 1
            cpu, children = found["cpu_ms"]["mean"], found["children_cpu_ms"]["mean"]
            assert cpu > 10
            assert 0 < children < cpu if row["processes"] > 1 else children == 0
    assert (folder / "out/cold_start.png").read_bytes().startswith(b"\x89PNG")
