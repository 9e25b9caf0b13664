"""What the benchmark compares: a network in every runtime that can run it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from export.benchmark.baseline_network import Network, prepare
from export.benchmark.float_graph import float_graph
from export.benchmark.macs import macs
from export.benchmark.model_formats import DYNAMIC_ONNX, FLOAT_LITERT, FLOAT_ONNX, INT8_LITERT, KERAS, STATIC_ONNX
from export.benchmark.runner_pool import Runner
from export.benchmark.signature import read_inputs
from export.errors import ConversionError, NotInstalled, RunnerError
from handler.contract import MODEL_FILE, Contract, load_bundle
from handler.files import write_atomically
from training.dataset import DataSet
from training.prepare import Prepared

ORT_FLOAT = "ONNX Runtime float32"
AS_SERVED = "ONNX Runtime int8, as served"
INT8_LITERT_NAME = "LiteRT int8"

RUNNERS = (
    ("Keras predict", "keras", KERAS),
    ("tf.function", "tf-function", KERAS),
    ("LiteRT float32", "litert", FLOAT_LITERT),
    (INT8_LITERT_NAME, "litert", INT8_LITERT),
    ("OpenVINO float32", "openvino", FLOAT_ONNX),
    ("OpenVINO int8", "openvino", STATIC_ONNX),
    (ORT_FLOAT, "onnxruntime", FLOAT_ONNX),
    ("ONNX Runtime dynamic int8", "onnxruntime", DYNAMIC_ONNX),
    ("ONNX Runtime static int8", "onnxruntime", STATIC_ONNX),
)
"""Name of the runner, runtime of `export.benchmark.runtimes`, and model format, of a Keras network."""

_REBUILT = tuple(row for row in RUNNERS if row[2] in (KERAS, FLOAT_LITERT, INT8_LITERT))
"""Those that run a bundle's network once it is rebuilt in Keras."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The runners of one network."""

    network: str
    runners: tuple[Runner, ...]
    failures: dict[str, RunnerError]
    """Why others cannot run, by name."""
    calibrated_on: str | None = None
    """The data whose images calibrated its int8 model formats; None for noise, or as the bundle was calibrated."""

    def about(self) -> dict[str, Any]:
        """`name`, `model`, `version`, `size` of its images (None if it takes none), `trained`, `int8_calibrated_on`,
        and `float32`: the name of the runner whose accuracy counts as that of float32, or None.
        """
        first = self.runners[0] if self.runners else None
        return {
            "name": self.network,
            "model": first.model if first else self.network,
            "version": first.version if first else None,
            "size": first.size if first and not first.inputs else None,
            "trained": bool(first and first.trained),
            "int8_calibrated_on": self.calibrated_on,
            "float32": ORT_FLOAT if any(runner.name == ORT_FLOAT for runner in self.runners) else None,
        }


def served(folder: Path, network: str) -> Runner:
    """A bundle as the service runs it.

    Raises:
        BundleError: see `handler.errors`.
    """
    contract, weights = load_bundle(folder)
    fetched = (contract.output_name, contract.distance_name, contract.unlike_name, contract.orientation_name)
    return Runner(
        name=AS_SERVED,
        network=network,
        model=contract.name,
        version=contract.version,
        runtime="bundle",
        file=folder,
        size=contract.input_size,
        macs=macs(onnx.load_from_string(weights), fetched),
        trained=True,
        labels=contract.labels,
        threshold=contract.threshold,
    )


def compare_bundle(
    folder: Path, cache: Path, network: str, calibration: Prepared | DataSet | None, calibrated_on: str | None
) -> Comparison:
    """A bundle's graph: as served, in OpenVINO, in float32 in both, and rebuilt in Keras where that is possible.

    Args:
        cache: the other forms of the graph are kept here.
        network: names the comparison.
        calibration: data whose images calibrate LiteRT's int8; by default noise, and its accuracy is not measured.

    Raises:
        BundleError: see `handler.errors`.
    """
    first = served(folder, network)
    contract, weights = load_bundle(folder)
    graph = onnx.load_from_string(weights)
    index = [value.name for value in graph.graph.output].index(contract.output_name)
    other = replace(
        first, name="OpenVINO int8", runtime="openvino", file=folder / MODEL_FILE, bundle=True, output=index
    )
    runners, failures = [first, other], {}
    digest = hashlib.sha256(weights).hexdigest()[:12]
    try:
        floats = float_graph(graph)
    except ConversionError as exc:
        names = (ORT_FLOAT, "OpenVINO float32", *(name for name, _, _ in _REBUILT))
        return Comparison(network, tuple(runners), dict.fromkeys(names, RunnerError(str(exc))))
    path = cache / f"bundle-{digest}" / FLOAT_ONNX
    write_atomically(path, lambda temporary: onnx.save(floats, temporary))
    runners += [
        replace(other, name="OpenVINO float32", file=path),
        replace(other, name=ORT_FLOAT, runtime="onnxruntime", file=path),
    ]
    try:
        keras_file = _rebuilt(floats, contract, path.with_name(KERAS))
    except (ConversionError, NotInstalled) as exc:
        reason = exc if isinstance(exc, RunnerError) else RunnerError(str(exc))
        return Comparison(network, tuple(runners), {name: reason for name, _, _ in _REBUILT})
    rebuilt = prepare(cache, keras_file, contract.input_size, calibration, dict.fromkeys(row[2] for row in _REBUILT))
    arithmetic = macs(floats, [contract.output_name])
    for name, runtime, model_format in _REBUILT:
        if model_format in rebuilt.failures:
            failures[name] = rebuilt.failures[model_format]
            continue
        file = rebuilt.file(model_format)
        known = bool(calibration) or name != INT8_LITERT_NAME
        runners.append(replace(first, name=name, runtime=runtime, file=file, macs=arithmetic, trained=known))
    return Comparison(network, tuple(runners), failures, calibrated_on)


def _rebuilt(floats: onnx.ModelProto, contract: Contract, path: Path) -> Path:
    """The file of the Keras network, which is made once.

    Raises:
        ConversionError: see `export.benchmark.keras_network`.
        NotInstalled: Keras is not installed.
    """
    if not path.is_file():
        try:
            from export.benchmark.keras_network import keras_network
        except ModuleNotFoundError as exc:
            raise NotInstalled(exc.name or str(exc)) from exc
        write_atomically(path, keras_network(floats, contract.output_name, contract.input_size).save)
    return path


def compare_network(prepared: Network, network: str, calibrated_on: str | None) -> Comparison:
    """A Keras network in every runtime, each with the model format that its own converter makes."""
    arithmetic = None if FLOAT_ONNX in prepared.failures else macs(onnx.load(prepared.file(FLOAT_ONNX)))
    runners = tuple(
        Runner(
            name=name,
            network=network,
            model=prepared.name,
            runtime=runtime,
            file=prepared.file(model_format),
            size=prepared.size,
            channels=prepared.channels,
            macs=arithmetic,
            trained=prepared.trained,
            labels=prepared.labels,
            threshold=prepared.threshold,
        )
        for name, runtime, model_format in RUNNERS
        if model_format not in prepared.failures
    )
    failures = {name: prepared.failures[found] for name, _, found in RUNNERS if found in prepared.failures}
    return Comparison(network, runners, failures, calibrated_on)


def compare_onnx(file: Path, batch: int, size: int | None) -> Comparison:
    """Any ONNX model in the runtimes for ONNX.

    Raises:
        BenchmarkError: see `export.benchmark.signature.read_inputs`.
    """
    inputs = read_inputs(file, batch, size)
    try:
        arithmetic = (
            macs(onnx.load(file, load_external_data=False), inputs={one.name: one.shape for one in inputs}) or None
        )
    except (ValueError, onnx.shape_inference.InferenceError):
        arithmetic = None
    shared = Runner(
        name="ONNX Runtime",
        network=file.name,
        model=file.name,
        runtime="onnxruntime",
        file=file,
        inputs=inputs,
        macs=arithmetic,
    )
    return Comparison(file.name, (shared, replace(shared, name="OpenVINO", runtime="openvino")), {})


def add_served(comparison: Comparison, folders: Sequence[Path]) -> Comparison:
    """The comparison with bundles beside it, which may hold other networks.

    Raises:
        BundleError: see `handler.errors`.
    """
    found = [served(folder, comparison.network) for folder in folders]
    many = len(found) > 1
    named = (
        replace(one, name=f"{one.model} {one.version}" + (f" ({folder})" if many else ""))
        for one, folder in zip(found, folders, strict=True)
    )
    return replace(comparison, runners=(*comparison.runners, *named))
