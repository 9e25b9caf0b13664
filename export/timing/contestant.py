"""One contestant of the benchmark in a process of its own, so that libraries do not meet and memory can be told apart.

    echo '{"do": "time", "batch": 1, "untimed": 1, "runs": 5}' | python -m export.timing.contestant bundle handler/model

It answers each line of input with one JSON object, until the input ends:

- `{"do": "describe"}`: `{"precision": what the library chose, or null}`
- `{"do": "time", "batch": B, "untimed": U, "runs": R}`: `U` and then `R` inferences of `B` pictures, of which the
  latter are `{"ms": [R numbers]}`
- `{"do": "memory"}`: see `export.timing.process.memory`
- `{"do": "score", "pixels": FILE.npy}`: uint8 `[N, S, S]` to `{"probabilities": [N numbers]}` of the positive class

`{"missing": MODULE}` and `{"error": TEXT}` are its last words.
"""

import argparse
import functools
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.timing.process import memory, pin

Pixels = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Runner:
    """A loaded network."""

    feed: Callable[[Pixels], Any]
    """From uint8 `[N, S, S]` to what `run` takes; not timed."""
    run: Callable[[Any], Array]
    """To probabilities `[N, 2]`."""
    precision: str | None = None
    """In which numbers it computes what is float in the file, where the library chose that itself."""


@dataclass(frozen=True, slots=True)
class Task:
    """What to load, and how."""

    file: Path
    size: int
    channels: int
    threads: int

    def feed(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """float32 `[N, S, S, channels]` in 0..255, as the Keras networks take it."""
        return np.repeat(pixels[..., np.newaxis].astype(np.float32), self.channels, axis=-1)


def _bundle(task: Task) -> Runner:
    from handler.classifier import Classifier

    classifier = Classifier(task.file, threads=task.threads)
    return Runner(lambda pixels: pixels, lambda pixels: classifier.score(pixels).probabilities)


def _session(task: Task) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = task.threads
    options.inter_op_num_threads = 1
    return ort.InferenceSession(task.file, options, providers=["CPUExecutionProvider"])


def _onnxruntime(task: Task) -> Runner:
    session = _session(task)
    name = session.get_inputs()[0].name
    return Runner(task.feed, lambda x: np.asarray(session.run(None, {name: x})[0]))


def _probe(task: Task) -> Runner:
    session = _session(task)
    (x,) = session.get_inputs()
    values = np.random.default_rng(0).integers(0, 256, x.shape, dtype=np.uint8)
    return Runner(lambda _pixels: values, lambda values: np.asarray(session.run(None, {x.name: values})[0]))


def _keras_model(task: Task) -> Any:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(task.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    import keras

    return keras.models.load_model(task.file, compile=False)


def _keras_predict(task: Task) -> Runner:
    model = _keras_model(task)
    return Runner(task.feed, lambda x: np.asarray(model.predict(x, batch_size=len(x), verbose=0)))


def _tf_function(task: Task) -> Runner:
    model = _keras_model(task)
    import tensorflow as tf

    signature = [tf.TensorSpec([None, task.size, task.size, task.channels], tf.float32)]
    forward = tf.function(lambda x: model(x, training=False), input_signature=signature)
    return Runner(task.feed, lambda x: np.asarray(forward(x)))


def _litert(task: Task) -> Runner:
    from ai_edge_litert.interpreter import Interpreter

    @functools.cache
    def interpreter(batch: int) -> Any:
        found = Interpreter(model_path=str(task.file), num_threads=task.threads)
        shape = [batch, task.size, task.size, task.channels]
        found.resize_tensor_input(found.get_input_details()[0]["index"], shape)
        found.allocate_tensors()
        return found

    def run(x: Array) -> Array:
        found = interpreter(len(x))
        found.set_tensor(found.get_input_details()[0]["index"], x)
        found.invoke()
        return np.asarray(found.get_tensor(found.get_output_details()[0]["index"]))

    interpreter(1)
    return Runner(task.feed, run)


def _openvino(task: Task) -> Runner:
    # Importing OpenVINO sends an event to its makers; without this module it has a stub in its place.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    core = openvino.Core()
    wishes = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": task.threads}

    @functools.cache
    def compiled(batch: int) -> Any:
        model = core.read_model(task.file)
        model.reshape([batch, task.size, task.size, task.channels])
        return core.compile_model(model, "CPU", wishes)

    @functools.cache
    def request(batch: int) -> Any:
        return compiled(batch).create_infer_request()

    chosen = compiled(1).get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return Runner(task.feed, lambda x: np.asarray(request(len(x)).infer([x])[0]), precision=chosen)


RUNNERS: dict[str, Callable[[Task], Runner]] = {
    "bundle": _bundle,
    "onnxruntime": _onnxruntime,
    "keras": _keras_predict,
    "tf-function": _tf_function,
    "litert": _litert,
    "openvino": _openvino,
    "probe": _probe,
}


def answer(task: Task, runner: Runner, request: dict[str, Any]) -> dict[str, Any]:
    """Do what one line of input asks for; the module says what there is."""
    match request:
        case {"do": "time", "batch": batch, "untimed": untimed, "runs": runs}:
            pixels = np.random.default_rng(0).integers(0, 256, (batch, task.size, task.size), dtype=np.uint8)
            feed = runner.feed(pixels)
            times = []
            for _ in range(untimed + runs):
                start = time.perf_counter()
                runner.run(feed)
                times.append((time.perf_counter() - start) * 1e3)
            return {"ms": times[untimed:]}
        case {"do": "score", "pixels": file}:
            pixels = np.load(file)
            # One by one, as it is timed: what was compiled for one picture serves here too.
            scores = [float(runner.run(runner.feed(pixels[i : i + 1]))[0, -1]) for i in range(len(pixels))]
            return {"probabilities": scores}
        case {"do": "describe"}:
            return {"precision": runner.precision}
        case {"do": "memory"}:
            return dict(memory())
    raise ValueError(f"{request} is nothing that a contestant does")


def main() -> int:
    """Serve requests from standard input; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m export.timing.contestant",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runner", choices=RUNNERS)
    parser.add_argument("file", type=Path)
    parser.add_argument("--size", type=int, default=64, help="width and height of a picture (default: %(default)s)")
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    # Libraries greet on standard output, which is for answers here.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    pin(options.threads)
    task = Task(options.file, options.size, options.channels, options.threads)
    try:
        runner = RUNNERS[options.runner](task)
        for line in sys.stdin:
            answers.write(json.dumps(answer(task, runner, json.loads(line))) + "\n")
    except ModuleNotFoundError as exc:
        answers.write(json.dumps({"missing": (exc.name or str(exc)).split(".")[0]}) + "\n")
        return 1
    except Exception as exc:  # whatever a library raises goes into the table
        answers.write(json.dumps({"error": f"{type(exc).__name__}: {exc}"}) + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
