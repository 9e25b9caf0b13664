"""A fresh process that answers once and tells where the time went.

    python -m export.timing.first_answer lambda EVENT.json
    python -m export.timing.first_answer session handler/model/model.onnx
    python -m export.timing.first_answer seed network.keras 128 handler/page/phantom.png

The last line of output is one JSON object: `parts_ms`, which follow each other without gaps from the moment in
`STARTED_NS` (of the monotonic clock, which all processes of a machine share), and the memory at the end.
"""

import os
import sys
import time
from collections.abc import Callable

_marks: list[tuple[str, int]] = []
_started = int(os.environ.get("STARTED_NS", time.monotonic_ns()))


def _mark(part: str) -> None:
    """The named part ends here."""
    _marks.append((part, time.monotonic_ns()))


def lambda_entry(event_file: str) -> None:
    """This project: the entry point that Lambda imports and calls, with a stored event."""
    from handler.lambda_entry import lambda_handler

    # The session is built in a thread while the web framework is imported, so the two have but one duration.
    _mark("imports_and_session")
    import json
    from pathlib import Path

    event = json.loads(Path(event_file).read_bytes())
    answer = lambda_handler(event, Context())
    _mark("first_answer")
    if answer["statusCode"] != 200:
        raise RuntimeError(f"the handler answered {answer['statusCode']}: {answer['body']}")


class Context:
    """What Lambda hands over beside the event."""

    aws_request_id = "00000000-0000-0000-0000-000000000000"
    function_name = "benchmark"
    memory_limit_in_mb = 1769
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:benchmark"


def bare_session(model_file: str) -> None:
    """The least that can answer: NumPy, ONNX Runtime, one picture of zeros, no service."""
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


def seed_service(network_file: str, size: str, picture_file: str) -> None:
    """The seed's way: Flask, TensorFlow and Pillow; one upload through Flask's own test client."""
    import io

    import flask
    import keras
    import numpy as np
    from PIL import Image

    _mark("imports")
    network = keras.models.load_model(network_file, compile=False)
    _mark("session")
    app = flask.Flask("seed")
    channels = network.input_shape[-1]

    @app.post("/predict")
    def predict() -> flask.Response:
        picture = Image.open(flask.request.files["file"].stream).convert("RGB" if channels == 3 else "L")
        pixels = np.asarray(picture.resize((int(size), int(size))), np.float32)
        found = network.predict(pixels.reshape(1, int(size), int(size), channels), verbose=0)
        return flask.jsonify(probabilities=found[0].tolist())

    with open(picture_file, "rb") as picture:  # noqa: PTH123 - pathlib is one more import
        data = {"file": (io.BytesIO(picture.read()), "picture.png")}
    answer = app.test_client().post("/predict", data=data)
    _mark("first_answer")
    if answer.status_code != 200:
        raise RuntimeError(f"the service answered {answer.status_code}: {answer.text}")


WAYS: dict[str, Callable[..., None]] = {"lambda": lambda_entry, "session": bare_session, "seed": seed_service}


def main() -> int:
    """Returns the exit status; a module that is not installed is named in the JSON object."""
    _mark("interpreter")
    missing = None
    try:
        WAYS[sys.argv[1]](*sys.argv[2:])
    except ModuleNotFoundError as exc:
        missing = exc.name
    import json

    from export.timing.process import memory

    ends = [_started, *(moment for _, moment in _marks)]
    parts = {part: (end - start) / 1e6 for (part, end), start in zip(_marks, ends, strict=False)}
    result = {"missing": missing} if missing else {"parts_ms": parts} | memory()
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
