"""CPU time of cold starts in the built images."""

import json
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

from handler.contract import EMBEDDED_BUNDLE, load_bundle
from infra.cold_start import LEAST, PARTS, main


@pytest.mark.slow
def test_both_images_are_measured_in_turns(
    image: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [image("lambda"), image("server")]
    out = tmp_path / "cold_start.json"

    assert main([*names, "--rounds", "1", "--out", str(out)]) == 0

    result = json.loads(out.read_text(encoding="utf-8"))
    assert list(result["images"]) == names
    for found in result["images"].values():
        assert found["model"]["version"] == load_bundle(EMBEDDED_BUNDLE)[0].version
        assert list(found["cpu_ms"]) == list(PARTS)
        assert 0 < statistics.median(found["cpu_ms"]["interpreter"]) < statistics.median(found["cpu_ms"][LEAST])
    assert capsys.readouterr().out.splitlines()[-1] == f"the figures are in {out}"


def test_a_missing_image_is_one_line(image: Callable[[str], str], capsys: pytest.CaptureFixture[str]) -> None:
    image("lambda")  # skips without an engine
    assert main(["xray-test:none"]) == 2
    assert "there is no image xray-test:none: build it first" in capsys.readouterr().err
