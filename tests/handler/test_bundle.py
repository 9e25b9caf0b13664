"""A bundle that was changed or is invalid is not served."""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler import startup
from handler.card import card
from handler.classifier import Classifier
from handler.contract import CONTRACT_FILE, MODEL_FILE, Contract, load_bundle
from handler.errors import BundleError, BundleMissing, BundleTampered, ContractError
from handler.imaging.decode import decode
from handler.scoring import Predictor
from handler.settings import Settings, granted_threads
from tests.handler.images import jpeg, phantom, png
from tests.tiny_bundle import write_tiny_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy that tests may change."""
    return Path(shutil.copytree(startup.settings.bundle, tmp_path / "bundle"))


def rewrite(bundle: Path, **changes: object) -> None:
    path = bundle / CONTRACT_FILE
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in values.items() if value is not ...}))


def test_the_bundle_that_is_served_is_sound(classifier: Classifier) -> None:
    contract, weights = load_bundle(startup.settings.bundle)

    assert contract == classifier.contract
    assert len(weights) > 1000
    assert Contract.from_json(contract.to_json()) == contract


def test_a_changed_byte_is_noticed(bundle: Path) -> None:
    weights = bytearray((bundle / MODEL_FILE).read_bytes())
    weights[len(weights) // 2] ^= 1
    (bundle / MODEL_FILE).write_bytes(weights)

    with pytest.raises(BundleTampered, match="restore both from one release"):
        Classifier(bundle)


@pytest.mark.parametrize("name", [MODEL_FILE, CONTRACT_FILE])
def test_a_missing_file_is_named(bundle: Path, name: str) -> None:
    (bundle / name).unlink()

    with pytest.raises(BundleMissing, match=name):
        Classifier(bundle)


CHANGES = {
    "another version": {"contract_version": 99},
    "an unknown key": {"flavour": "vanilla"},
    "a missing key": {"threshold": ...},
    "a text for a number": {"threshold": "0.5"},
    "a threshold of one": {"threshold": 1.0},
    "no threshold for two labels": {"threshold": None},
    "a set without the label": {"set_thresholds": [0.9, 0.9]},
    "a set threshold for one label only": {"set_thresholds": [0.1]},
    "a set threshold above one": {"set_thresholds": [0.1, 1.1]},
    "a set coverage of one": {"set_coverage": 1.0},
    "labels that differ in case alone": {"labels": ["a", "A"]},
    "a label that is no text": {"labels": ["A", 3]},
    "one label": {"labels": ["A"]},
    "texts of another form": {"about": []},
    "an unknown text": {"about": {"flavour": "vanilla"}},
    "one label twice": {"labels": ["A", "A"]},
    "a label of nothing": {"labels": ["", "A"]},
    "three labels": {"labels": ["A", "B", "C"]},
    "no distance": {"ood_threshold": 0},
    "an endless distance": {"ood_threshold": float("inf")},
    "no orientation but upright and photographed": {"orientations": ["upright", "photographed"]},
    "a photograph above one": {"most_photographed": 1.5},
    "a metric that is no number": {"metrics": {"auc": float("nan")}},
    "a negative temperature": {"temperature": -1.0},
    "another input size": {"input_size": 33},
    "another input name": {"input_name": "images"},
    "another output name": {"distance_name": "length"},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_a_contract_that_does_not_hold_is_refused(bundle: Path, changes: dict[str, object]) -> None:
    rewrite(bundle, **changes)

    with pytest.raises(ContractError):
        Classifier(bundle)


def test_a_contract_of_more_labels_is_read(tmp_path: Path) -> None:
    contract = Classifier(write_tiny_bundle(tmp_path / "tiny", ("CLEAR", "Covid", "TB"))).contract

    assert Contract.from_json(contract.to_json()) == contract
    assert contract.positive is None
    assert contract.label(np.array([0.2, 0.3, 0.5])) == "TB"
    assert contract.prediction_set(np.array([0.3, 0.3, 0.4])) == ["CLEAR", "Covid", "TB"]
    assert contract.prediction_set(np.array([0.1, 0.1, 0.8])) == ["TB"]


@given(st.floats(0, 1), st.floats(0.01, 0.99), st.floats(0, 1), st.floats(0, 1))
def test_of_two_labels_the_one_that_the_threshold_gives_is_in_the_set(
    probability: float, threshold: float, first: float, second: float
) -> None:
    contract = dataclasses.replace(
        load_bundle(startup.settings.bundle)[0],
        threshold=threshold,
        set_thresholds=(first * (1 - threshold), second * threshold),
    )
    probabilities = np.array([1 - probability, probability])

    assert contract.label(probabilities) == contract.labels[int(probability >= threshold)]
    assert contract.label(probabilities) in contract.prediction_set(probabilities)


def test_the_card_contains_the_description_of_the_bundle(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny", ("CLEAR", "Covid", "TB"))

    answer = card(Predictor(Classifier(bundle), decode), Settings())

    assert answer["title"] == "CLEAR, Covid or TB from chest X-rays"
    assert "Only the people who trained the model" in " ".join(answer["limits"])
    assert "pneumonia" not in json.dumps(answer).casefold()


def test_a_bundle_that_cannot_be_read_is_named(bundle: Path) -> None:
    (bundle / "model.onnx").unlink()
    (bundle / "model.onnx").mkdir()

    with pytest.raises(BundleMissing, match=r"model\.onnx cannot be read"):
        Classifier(bundle)


def test_weights_that_are_not_a_graph_are_refused_even_with_the_right_hash(bundle: Path) -> None:
    (bundle / MODEL_FILE).write_bytes(b"no graph")
    rewrite(bundle, sha256=hashlib.sha256(b"no graph").hexdigest())

    with pytest.raises(BundleError, match="rebuild the bundle"):
        Classifier(bundle)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[]", "null", '"x"', "\udcff"])
def test_a_contract_that_is_not_a_json_object_is_refused(bundle: Path, text: str) -> None:
    (bundle / CONTRACT_FILE).write_bytes(text.encode("utf-8", "surrogateescape"))

    with pytest.raises(BundleError):
        Classifier(bundle)


def test_a_score_does_not_depend_on_company(classifier: Classifier) -> None:
    size = classifier.contract.input_size
    pixels = np.stack([decode(png(phantom(seed=seed)), size) for seed in range(3)])

    together = classifier.score(pixels)

    for i in range(3):
        alone = classifier.score(pixels[i : i + 1])
        np.testing.assert_allclose(alone.probabilities[0], together.probabilities[i], atol=1e-5)
        np.testing.assert_allclose(alone.distances[0], together.distances[i], rtol=1e-4)
    assert together.probabilities.shape == (3, 2)


def test_the_same_image_gets_the_same_score(classifier: Classifier) -> None:
    pixels = decode(jpeg(), classifier.contract.input_size)[None]

    assert np.array_equal(classifier.score(pixels).probabilities, classifier.score(pixels).probabilities)


@pytest.mark.parametrize(("memory", "threads"), [("512", 1), ("1769", 1), ("3538", 2), ("1000000", None)])
def test_lambda_gets_the_threads_that_it_is_paid_for(
    monkeypatch: pytest.MonkeyPatch, memory: str, threads: int | None
) -> None:
    available = granted_threads()
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory)

    assert granted_threads() == min(threads or available, available)


def test_a_contract_cannot_be_changed(classifier: Classifier) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        classifier.contract.threshold = 0.1  # type: ignore[misc]
