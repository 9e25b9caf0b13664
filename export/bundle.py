"""Build the bundle for serving.

    python -m export build --model runs/vgg19 --data chest_xray --out handler/model

fold -> convert -> check parity with Keras -> quantize -> verify against float -> model.onnx, model.json, README.md
"""

import dataclasses
import hashlib
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import onnx
import onnx.utils

from export.about import about
from export.card import write_card
from export.convert import assert_parity, convert, run
from export.detectors import TRAINING_IMAGES, VALIDATION_IMAGES, add_detectors
from export.errors import UselessModel
from export.fold import folded_weights, plain_vgg19
from export.quantize import PRESETS, Agreement, quantize_and_verify
from export.run_images import RunImages, sample
from handler.calibration import select_ood_threshold
from handler.contract import (
    CONTRACT_FILE,
    DISTANCE_NAME,
    MODEL_FILE,
    OUTPUT_NAME,
    Contract,
    load_bundle,
)
from handler.files import replace_folder, require_replaceable, write_atomically
from handler.imaging.decode import Pixels
from training.dataset import AS_IT_IS, Reading
from training.prepare import Prepared
from training.run_folder import RunConfig, RunFolder, RunMetrics

log = logging.getLogger(__name__)

CALIBRATION_IMAGES = 256


def build(
    model: Path,
    data: Path,
    out: Path,
    *,
    name: str,
    version: str,
    preset: str = "any-cpu",
    seed: int = 0,
    keep_float: Path | None = None,
    texts: Mapping[str, Any] | None = None,
    reading: Reading = AS_IT_IS,
    force: bool = False,
) -> tuple[Contract, Agreement]:
    """Export a finished run.

    Args:
        model: run folder of `python -m training fit`.
        data: the data set that the run was trained on, its training folder, or the prepared folder.
        out: bundle folder; it is replaced as a whole, at the end.
        texts: fields of `handler.contract.About` that replace the defaults of `export.about`.
        reading: how to read the data set.
        force: export a network that is no better than chance.

    Raises:
        ExportError: see `export.errors`.
        UselessModel: the network is no better than chance, and `force` is false.
        RunError: `model` is not a finished run.
        FileExistsError: `out` contains files that do not belong to a bundle.
    """
    require_replaceable(out, CONTRACT_FILE)
    finished = RunFolder(model)
    config, split, metrics = finished.read_config(), finished.read_split(), finished.read_metrics()
    point, statistics, network = finished.read_operating_point(), finished.read_ood(), finished.finished_model()
    if metrics.useless and not force:
        raise UselessModel(
            f"{model} is no better than chance ({metrics.useless}): train with more images or for more epochs; --force "
            "exports it anyway"
        )
    size = point.input_size
    images = RunImages(data, config.labels, reading)
    known = images.read(sample(split.train, CALIBRATION_IMAGES, seed), size)
    validation = images.read(split.validation, size)
    log.info("verifying on all %d validation images", len(validation.labels))

    trained = keras.models.load_model(network, compile=False)
    weights = folded_weights(trained, point.temperature)
    graph = convert(plain_vgg19(weights, size, statistics))
    parity = assert_parity(
        _keras_probabilities(trained, known.pixels[::4], point.temperature),
        run(graph, known.pixels[::4], [OUTPUT_NAME])[0],
    )
    log.info("float graph: differs from Keras by at most %.1e", parity)

    if keep_float is not None:
        write_atomically(keep_float, lambda path: onnx.save(graph, path))

    int8, agreement = quantize_and_verify(
        graph, known.pixels, validation, OUTPUT_NAME, point.threshold, PRESETS[preset]
    )
    log.info(
        "int8 graph: validation AUC %.4f (float %.4f), %.2f %% of decisions changed, further layers in float: %s",
        agreement.auc_int8,
        agreement.auc_float,
        100 * agreement.flipped,
        ", ".join(agreement.excluded) or "none",
    )
    distances = run(int8, validation.pixels, [DISTANCE_NAME])[0]
    detectors = _detectors(int8, images, split.train, split.validation, size, seed)
    contract = Contract(
        name=name,
        version=version,
        sha256="",
        ood_threshold=select_ood_threshold(distances),
        **detectors,
        labels=config.labels,
        about=about(config.labels, **(texts or {})),
        metrics=_metrics(config, metrics, agreement, parity),
        **dataclasses.asdict(point),
    )
    return _save(int8, contract, out), agreement


def renew_detectors(bundle: Path, data: Prepared, out: Path, version: str, seed: int = 0) -> Contract:
    """Fit the detectors for warnings again, such as those of a newer release. The network stays as it is.

    Args:
        bundle: bundle folder.
        data: what the network was trained on, with the same split.
        out: bundle folder; it is replaced as a whole, at the end.
        version: version of the new bundle.
        seed: random seed of the images and their corruptions.

    Raises:
        BundleError: see `handler.errors`.
        DataError: the data has other classes.
        FileExistsError: `out` contains files that do not belong to a bundle.
    """
    require_replaceable(out, CONTRACT_FILE)
    contract, _ = load_bundle(bundle)
    whole = onnx.utils.Extractor(onnx.load(bundle / MODEL_FILE))
    graph = whole.extract_model([contract.input_name], [contract.output_name, contract.distance_name])
    images = RunImages(data, contract.labels)
    train, validation = tuple(data.files["train"]), tuple(data.files["validation"])
    detectors = _detectors(graph, images, train, validation, contract.input_size, seed)
    return _save(graph, dataclasses.replace(contract, version=version, **detectors), out)


def _detectors(
    graph: onnx.ModelProto, images: RunImages, train: tuple[str, ...], validation: tuple[str, ...], size: int, seed: int
) -> dict[str, Any]:
    """Fit the detectors for warnings and add them to the graph, see `add_detectors`."""
    log.info("fitting the detectors of unlike, mirrored, turned, inverted and photographed images")
    return add_detectors(
        graph,
        images.read(sample(train, TRAINING_IMAGES, seed), images.largest),
        images.read(sample(validation, VALIDATION_IMAGES, seed), images.largest),
        size,
        seed,
    )


def _keras_probabilities(trained: keras.Model, pixels: Pixels, temperature: float) -> npt.NDArray[np.float64]:
    """Compute probabilities `[N, K]` with the trained network."""
    to_logits = keras.Model(trained.input, trained.get_layer("logits").output)
    logits = np.asarray(to_logits.predict(pixels[..., np.newaxis], batch_size=16, verbose=0), dtype=np.float64)
    scaled = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    return np.asarray(scaled / scaled.sum(axis=1, keepdims=True))


def _metrics(config: RunConfig, metrics: RunMetrics, agreement: Agreement, parity: float) -> dict[str, Any]:
    recorded = dataclasses.asdict(config)
    training = {name: recorded[name] for name in ("recipe", "init", "teachers", "images")}
    training["epochs"] = metrics.epochs
    return {
        "uncalibrated": metrics.uncalibrated,
        "validation": metrics.validation,
        "corrupted": metrics.corrupted,
        "training": training,
        "export": {"parity_with_keras": parity} | dataclasses.asdict(agreement),
    }


def _save(graph: onnx.ModelProto, contract: Contract, out: Path) -> Contract:
    """Write a temporary folder, load it in the same way as serving, then replace `out` by it."""
    staging = out.with_name(f".{out.name}.new")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        onnx.save(graph, staging / MODEL_FILE)
        digest = hashlib.sha256((staging / MODEL_FILE).read_bytes()).hexdigest()
        contract = dataclasses.replace(contract, sha256=digest)
        (staging / CONTRACT_FILE).write_text(contract.to_json(), encoding="utf-8")
        write_card(staging)
        load_bundle(staging)
        replace_folder(staging, out, CONTRACT_FILE)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return contract
