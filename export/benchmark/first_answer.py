"""A fresh process that answers one request and reports where the time went.

    python -m export.benchmark.first_answer lambda EVENT.json
    python -m export.benchmark.first_answer session handler/model/model.onnx
    python -m export.benchmark.first_answer baseline network.keras 128 handler/page/phantom.png

It writes one JSON object: `parts_ms`, which follow each other without gaps from the moment in the environment variable
`STARTED_NS` (of the monotonic clock, which all processes of a machine share), and `peak_mb` of memory. Then it waits,
so that its process tree can be measured from outside, until its standard input is closed.
"""

import os
import sys
import time
from collections.abc import Callable

from export.benchmark.answer_stream import answer_stream
from export.benchmark.lambda_context import LambdaContext

_marks: list[tuple[str, int]] = []
_started = int(os.environ.get("STARTED_NS", time.monotonic_ns()))


def _mark(part: str) -> None:
    """The named part ends here."""
    _marks.append((part, time.monotonic_ns()))


def lambda_entry(event_file: str) -> None:
    """This project: the entry point that Lambda imports and calls, with a stored event.

    Raises:
        RuntimeError: the answer is not 200.
    """
    from handler.lambda_entry import lambda_handler

    # The session is built in a thread while the web framework is imported, so they are one part.
    _mark("imports_and_session")
    import json
    from pathlib import Path

    event = json.loads(Path(event_file).read_bytes())
    answer = lambda_handler(event, LambdaContext())
    _mark("first_answer")
    if answer["statusCode"] != 200:
        raise RuntimeError(f"the handler answered {answer['statusCode']}: {answer['body']}")


def bare_session(model_file: str) -> None:
    """The least that can answer: NumPy, ONNX Runtime, one image of zeros, no service."""
    import numpy as np
    import onnxruntime as ort

    _mark("imports")
    options = ort.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    session = ort.InferenceSession(model_file, options, providers=["CPUExecutionProvider"])
    _mark("session")
    (pixels,) = session.get_inputs()
    session.run([session.get_outputs()[0].name], {pixels.name: np.zeros((1, *pixels.shape[1:]), np.uint8)})
    _mark("first_answer")


def baseline_service(network_file: str, size: str, image_file: str) -> None:
    """The usual way: Flask, TensorFlow and Pillow; one upload through Flask's own test client.

    Raises:
        RuntimeError: the answer is not 200.
    """
    import io

    import flask
    import keras
    import numpy as np
    from PIL import Image

    _mark("imports")
    network = keras.models.load_model(network_file, compile=False)
    _mark("session")
    app = flask.Flask("baseline")
    channels = network.input_shape[-1]

    @app.post("/predict")
    def predict() -> flask.Response:
        image = Image.open(flask.request.files["file"].stream).convert("RGB" if channels == 3 else "L")
        pixels = np.asarray(image.resize((int(size), int(size))), np.float32)
        found = network.predict(pixels.reshape(1, int(size), int(size), channels), verbose=0)
        return flask.jsonify(probabilities=found[0].tolist())

    with open(image_file, "rb") as image:  # noqa: PTH123 - pathlib is one more import
        data = {"file": (io.BytesIO(image.read()), "image.png")}
    answer = app.test_client().post("/predict", data=data)
    _mark("first_answer")
    if answer.status_code != 200:
        raise RuntimeError(f"the service answered {answer.status_code}: {answer.text}")


SERVICES: dict[str, Callable[..., None]] = {
    "lambda": lambda_entry,
    "session": bare_session,
    "baseline": baseline_service,
}


def main() -> int:
    """Returns the exit status. A module that is not installed is named in the JSON object."""
    _mark("interpreter")
    answers = answer_stream()
    missing = None
    try:
        SERVICES[sys.argv[1]](*sys.argv[2:])
    except ModuleNotFoundError as exc:
        missing = exc.name
    import json

    from export.benchmark.peak_memory import peak_mb

    ends = [_started, *(moment for _, moment in _marks)]
    parts = {part: (end - start) / 1e6 for (part, end), start in zip(_marks, ends, strict=False)}
    answers.write(json.dumps({"missing": missing} if missing else {"parts_ms": parts, "peak_mb": peak_mb()}) + "\n")
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
