"""A bundle is served as it was built, or not at all."""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from handler import startup
from handler.card import card
from handler.classifier import Classifier
from handler.contract import CONTRACT_FILE, MODEL_FILE, Contract, load_bundle
from handler.errors import BundleError, BundleMissing, BundleTampered, ContractError
from handler.imaging.decode import decode
from handler.settings import Settings, granted_threads
from tests.handler.images import jpeg, phantom, png


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
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
    "a band beside the threshold": {"uncertain_from": 0.0, "uncertain_to": 0.01},
    "one label twice": {"labels": ["A", "A"]},
    "a label of nothing": {"labels": ["", "A"]},
    "three labels": {"labels": ["A", "B", "C"]},
    "no distance": {"ood_threshold": 0},
    "an endless distance": {"ood_threshold": float("inf")},
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


@pytest.mark.parametrize("training", [None, [], {"data_set": 3}])
def test_what_the_network_learned_from_need_not_be_known(bundle: Path, training: object) -> None:
    rewrite(bundle, metrics={"training": training})

    assert "whoever trained it" in " ".join(card(Classifier(bundle).contract, Settings())["limits"])


def test_a_bundle_that_cannot_be_read_is_named(bundle: Path) -> None:
    (bundle / "model.onnx").unlink()
    (bundle / "model.onnx").mkdir()

    with pytest.raises(BundleMissing, match=r"model\.onnx cannot be read"):
        Classifier(bundle)


def test_weights_that_are_no_graph_are_refused_whatever_their_hash_says(bundle: Path) -> None:
    (bundle / MODEL_FILE).write_bytes(b"no graph")
    rewrite(bundle, sha256=hashlib.sha256(b"no graph").hexdigest())

    with pytest.raises(BundleError, match="rebuild the bundle"):
        Classifier(bundle)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[]", "null", '"x"', "\udcff"])
def test_a_contract_that_is_no_json_object_is_refused(bundle: Path, text: str) -> None:
    (bundle / CONTRACT_FILE).write_bytes(text.encode("utf-8", "surrogateescape"))

    with pytest.raises(BundleError):
        Classifier(bundle)


def test_a_score_does_not_depend_on_company(classifier: Classifier) -> None:
    size = classifier.contract.input_size
    pixels = np.stack([decode(png(phantom(seed=seed)), size) for seed in range(3)])

    together = classifier.score(pixels, explain=True)

    for i in range(3):
        alone = classifier.score(pixels[i : i + 1])
        np.testing.assert_allclose(alone.probabilities[0], together.probabilities[i], atol=1e-5)
        np.testing.assert_allclose(alone.distances[0], together.distances[i], rtol=1e-4)
        assert alone.maps is None
    assert together.maps is not None
    assert together.probabilities.shape == (3, 2)
    assert (together.maps.min(), together.maps.max()) >= (0, 0)
    assert together.maps.max() <= 1


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
