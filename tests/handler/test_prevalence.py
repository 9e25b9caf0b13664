"""Probabilities for the prevalence of a deployment."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.classifier import Classifier
from handler.contract import load_bundle
from handler.errors import SettingsError
from handler.imaging.decode import decode
from handler.prevalence import predictive_values
from handler.scoring import Predictor
from handler.settings import Settings
from tests.handler.images import phantom, png
from tests.tiny_bundle import write_tiny_bundle


def predictor(folder: Path, labels: tuple[str, ...], setting: str) -> Predictor:
    bundle = folder / "bundle"
    if not bundle.exists():
        write_tiny_bundle(bundle, labels)
    settings = Settings.from_environment({"PREVALENCE": setting})
    return Predictor(Classifier(bundle), decode, settings.prevalence)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_the_odds_are_multiplied_by_those_of_the_prevalence(tmp_path: Path, share: float) -> None:
    image = png(phantom())
    usual = predictor(tmp_path, ("A", "B"), "").predict(image)
    shifted = predictor(tmp_path, ("A", "B"), str(share)).predict(image)

    def odds(probabilities: dict[str, float]) -> float:
        return probabilities["B"] / probabilities["A"]

    assert odds(shifted["probabilities"]) == pytest.approx(odds(usual["probabilities"]) * share / (1 - share))
    assert sum(shifted["probabilities"].values()) == pytest.approx(1)
    assert shifted["prevalence"] == pytest.approx({"A": 1 - share, "B": share})
    for name in ("label", "prediction_set", "uncertain"):
        assert shifted[name] == usual[name]  # type: ignore[literal-required]
    assert shifted["threshold"] is not None
    assert (shifted["probabilities"]["B"] >= shifted["threshold"]) == (shifted["label"] == "B")


def test_more_labels_have_a_share_each(tmp_path: Path) -> None:
    image = png(phantom())
    usual = predictor(tmp_path, ("A", "B", "C"), "").predict(image)
    shifted = predictor(tmp_path, ("A", "B", "C"), "C=0.1,A=0.7,B=0.2").predict(image)

    ratio = shifted["probabilities"]["A"] / shifted["probabilities"]["C"]
    assert ratio == pytest.approx(7 * usual["probabilities"]["A"] / usual["probabilities"]["C"])
    assert shifted["label"] == usual["label"]


@pytest.mark.parametrize("setting", ["0.1", "A=0.5,B=0.5", "A=0.5,B=0.4,D=0.1", "A=0.5,B=0.4,C=0.3"])
def test_shares_of_other_labels_are_refused(tmp_path: Path, setting: str) -> None:
    with pytest.raises(SettingsError, match=r"PREVALENCE .* such as A=0\.33,B=0\.33,C=0\.33"):
        predictor(tmp_path, ("A", "B", "C"), setting)


@given(st.floats(0, 1), st.floats(0, 1))
def test_predictive_values_are_those_of_a_counted_table(sensitivity: float, specificity: float) -> None:
    contract, _ = load_bundle(Path(__file__).parents[2] / "handler" / "model")
    contract = dataclasses.replace(contract, metrics={"test": {"sensitivity": sensitivity, "specificity": specificity}})
    for row in predictive_values(contract):
        ill, well = 1e6 * row["prevalence"], 1e6 * (1 - row["prevalence"])
        positive = ill * sensitivity + well * (1 - specificity)
        expected = ill * sensitivity / positive if positive else 0
        assert row["positive_predictive_value"] == pytest.approx(expected)
        assert 0 <= row["negative_predictive_value"] <= 1 + 1e-9


def test_there_are_none_without_results_or_with_more_labels(tmp_path: Path) -> None:
    assert predictive_values(load_bundle(write_tiny_bundle(tmp_path / "two"))[0]) == []
    three, _ = load_bundle(write_tiny_bundle(tmp_path / "three", ("A", "B", "C")))
    assert predictive_values(dataclasses.replace(three, metrics={"test": {"accuracy": np.nan}})) == []
