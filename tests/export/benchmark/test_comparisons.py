"""The shipped bundle in every runtime."""

from pathlib import Path

import numpy as np
import pytest

from export.benchmark.comparisons import AS_SERVED, INT8_LITERT_NAME, compare_bundle
from export.benchmark.runner_pool import RunnerPool
from export.benchmark.sample_request import IMAGE
from handler.contract import EMBEDDED_BUNDLE
from handler.imaging.decode import decode


@pytest.mark.slow
def test_every_runtime_runs_the_network_of_the_bundle(tmp_path: Path) -> None:
    comparison = compare_bundle(EMBEDDED_BUNDLE, tmp_path, "bundle", None, None)
    size = comparison.runners[0].size
    np.save(tmp_path / "images.npy", decode(IMAGE.read_bytes(), size)[np.newaxis])

    with RunnerPool(comparison.runners, 1) as pool:
        answers = pool.ask_each(do="score", images=str(tmp_path / "images.npy"))

    found = {key.removeprefix("bundle: "): answer["probabilities"][0] for key, answer in answers.items()}
    assert comparison.failures.keys() | found.keys() >= {AS_SERVED, "ONNX Runtime float32", "Keras predict"}
    for name, probabilities in found.items():
        if name != INT8_LITERT_NAME:  # calibrated with noise
            assert probabilities == pytest.approx(found[AS_SERVED], abs=0.02), name
    trained = {runner.name: runner.trained for runner in comparison.runners}
    assert trained.pop(INT8_LITERT_NAME, False) is False
    assert all(trained.values())
