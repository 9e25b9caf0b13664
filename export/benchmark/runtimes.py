"""How each runtime of the benchmark loads a model and runs it. Libraries are imported only when they are used."""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that a runtime has loaded."""

    feed: Callable[[Images], Any]
    """From images, uint8 `[N, S, S]`, to what `run` takes; not timed."""
    run: Callable[[Any], Array]
    """To probabilities `[N, K]`."""
    precision: str | None = None
    """The type in which it computes what is float in the file, if the runtime chose that itself."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """What to load, and how."""

    file: Path
    size: int
    """Width and height of its images, in pixels."""
    channels: int
    threads: int

    def feed(self, images: Images) -> npt.NDArray[np.float32]:
        """From uint8 `[N, S, S]` to float32 `[N, S, S, channels]` in 0..255, which the Keras networks take."""
        return np.repeat(images[..., np.newaxis].astype(np.float32), self.channels, axis=-1)


def _bundle(model: ModelFile) -> LoadedModel:
    from handler.classifier import Classifier

    classifier = Classifier(model.file, threads=model.threads)
    return LoadedModel(lambda images: images, lambda images: classifier.score(images).probabilities)


def _session(model: ModelFile) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = model.threads
    options.inter_op_num_threads = 1
    return ort.InferenceSession(model.file, options, providers=["CPUExecutionProvider"])


def _onnxruntime(model: ModelFile) -> LoadedModel:
    session = _session(model)
    name = session.get_inputs()[0].name
    return LoadedModel(model.feed, lambda x: np.asarray(session.run(None, {name: x})[0]))


def _roofline(model: ModelFile) -> LoadedModel:
    session = _session(model)
    (x,) = session.get_inputs()
    values = np.random.default_rng(0).integers(0, 256, x.shape, dtype=np.uint8)
    return LoadedModel(lambda _images: values, lambda values: np.asarray(session.run(None, {x.name: values})[0]))


def _keras_model(model: ModelFile) -> Any:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(model.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    import keras

    return keras.models.load_model(model.file, compile=False)


def _keras_predict(model: ModelFile) -> LoadedModel:
    network = _keras_model(model)
    return LoadedModel(model.feed, lambda x: np.asarray(network.predict(x, batch_size=len(x), verbose=0)))


def _tf_function(model: ModelFile) -> LoadedModel:
    network = _keras_model(model)
    import tensorflow as tf

    signature = [tf.TensorSpec([None, model.size, model.size, model.channels], tf.float32)]
    forward = tf.function(lambda x: network(x, training=False), input_signature=signature)
    return LoadedModel(model.feed, lambda x: np.asarray(forward(x)))


def _litert(model: ModelFile) -> LoadedModel:
    from ai_edge_litert.interpreter import Interpreter

    @functools.cache
    def interpreter(batch: int) -> Any:
        found = Interpreter(model_path=str(model.file), num_threads=model.threads)
        shape = [batch, model.size, model.size, model.channels]
        found.resize_tensor_input(found.get_input_details()[0]["index"], shape)
        found.allocate_tensors()
        return found

    def run(x: Array) -> Array:
        found = interpreter(len(x))
        found.set_tensor(found.get_input_details()[0]["index"], x)
        found.invoke()
        return np.asarray(found.get_tensor(found.get_output_details()[0]["index"]))

    interpreter(1)
    return LoadedModel(model.feed, run)


def _openvino(model: ModelFile) -> LoadedModel:
    # Importing OpenVINO sends telemetry; without this module it uses a stub instead.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    core = openvino.Core()
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": model.threads}

    @functools.cache
    def compiled(batch: int) -> Any:
        network = core.read_model(model.file)
        network.reshape([batch, model.size, model.size, model.channels])
        return core.compile_model(network, "CPU", hints)

    @functools.cache
    def request(batch: int) -> Any:
        return compiled(batch).create_infer_request()

    chosen = compiled(1).get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return LoadedModel(model.feed, lambda x: np.asarray(request(len(x)).infer([x])[0]), precision=chosen)


RUNTIMES: dict[str, Callable[[ModelFile], LoadedModel]] = {
    "bundle": _bundle,
    "onnxruntime": _onnxruntime,
    "keras": _keras_predict,
    "tf-function": _tf_function,
    "litert": _litert,
    "openvino": _openvino,
    "roofline": _roofline,
}
"""How to load a model, by the name of the runtime. A runtime raises whatever its library raises."""
