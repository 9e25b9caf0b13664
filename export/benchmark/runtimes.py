"""How each runtime of the benchmark loads a model and runs it. Libraries are imported only when they are used."""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.benchmark.signature import Input

Images = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that a runtime has loaded."""

    example: Callable[[int], Any]
    """From a batch size to what `run` takes, with random values; not timed."""
    feed: Callable[[Images], Any]
    """From images, uint8 `[N, S, S]`, to what `run` takes."""
    run: Callable[[Any], Any]
    """All outputs."""
    probabilities: Callable[[Any], Array]
    """From what `run` returns, `[N, K]`."""
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
    bundle: bool = False
    """Whether it takes uint8 `[N, 1, S, S]` as a bundle does, and not float32 `[N, S, S, channels]` as Keras does."""
    output: int = 0
    """Index of the probabilities among its outputs."""
    inputs: tuple[Input, ...] = ()
    """Of a model that does not take images."""

    def feed(self, images: Images) -> list[Array]:
        """From uint8 `[N, S, S]` to the model's only input."""
        if self.bundle:
            return [images[:, np.newaxis]]
        return [np.repeat(images[..., np.newaxis].astype(np.float32), self.channels, axis=-1)]

    def example(self, batch: int) -> list[Array]:
        """Random values for all inputs."""
        return [one.noise() for one in self.inputs] or self.feed(self.noise(batch))

    def noise(self, batch: int) -> Images:
        """Random images, uint8 `[batch, S, S]`."""
        return np.random.default_rng(0).integers(0, 256, (batch, self.size, self.size), dtype=np.uint8)

    def loaded(self, run: Callable[[list[Array]], Any], precision: str | None = None) -> LoadedModel:
        """This model with a function from its inputs to all its outputs."""
        return LoadedModel(self.example, self.feed, run, lambda found: np.asarray(found[self.output]), precision)


def _bundle(model: ModelFile) -> LoadedModel:
    from handler.classifier import Classifier

    classifier = Classifier(model.file, threads=model.threads)
    return LoadedModel(model.noise, lambda images: images, classifier.score, lambda scores: scores.probabilities)


def _onnxruntime(model: ModelFile) -> LoadedModel:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = model.threads
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(model.file, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    return model.loaded(lambda arrays: session.run(None, dict(zip(names, arrays, strict=True))))


def _keras_model(model: ModelFile) -> Any:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(model.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    import keras

    return keras.models.load_model(model.file, compile=False)


def _keras_predict(model: ModelFile) -> LoadedModel:
    network = _keras_model(model)
    return model.loaded(lambda arrays: [network.predict(arrays[0], batch_size=len(arrays[0]), verbose=0)])


def _tf_function(model: ModelFile) -> LoadedModel:
    network = _keras_model(model)
    import tensorflow as tf

    signature = [tf.TensorSpec([None, model.size, model.size, model.channels], tf.float32)]
    forward = tf.function(lambda x: network(x, training=False), input_signature=signature)
    return model.loaded(lambda arrays: [np.asarray(forward(arrays[0]))])


def _litert(model: ModelFile) -> LoadedModel:
    from ai_edge_litert.interpreter import Interpreter

    @functools.cache
    def interpreter(batch: int) -> Any:
        found = Interpreter(model_path=str(model.file), num_threads=model.threads)
        shape = [batch, model.size, model.size, model.channels]
        found.resize_tensor_input(found.get_input_details()[0]["index"], shape)
        found.allocate_tensors()
        return found

    def run(arrays: list[Array]) -> list[Array]:
        found = interpreter(len(arrays[0]))
        found.set_tensor(found.get_input_details()[0]["index"], arrays[0])
        found.invoke()
        return [found.get_tensor(found.get_output_details()[0]["index"])]

    interpreter(1)
    return model.loaded(run)


def _openvino(model: ModelFile) -> LoadedModel:
    # Importing OpenVINO sends telemetry; without this module it uses a stub instead.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    core = openvino.Core()
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": model.threads}

    @functools.cache
    def request(*shapes: tuple[int, ...]) -> Any:
        network = core.read_model(model.file)
        network.reshape(dict(enumerate(shapes)))
        return core.compile_model(network, "CPU", hints).create_infer_request()

    def run(arrays: list[Array]) -> list[Array]:
        return list(request(*(array.shape for array in arrays)).infer(arrays).to_tuple())

    first = request(*(array.shape for array in model.example(1)))
    chosen = first.get_compiled_model().get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return model.loaded(run, precision=chosen)


RUNTIMES: dict[str, Callable[[ModelFile], LoadedModel]] = {
    "bundle": _bundle,
    "onnxruntime": _onnxruntime,
    "keras": _keras_predict,
    "tf-function": _tf_function,
    "litert": _litert,
    "openvino": _openvino,
}
"""How to load a model, by the name of the runtime. A runtime raises whatever its library raises."""
