"""One runner of the benchmark in a separate process, so that libraries do not affect each other, and the memory of each
can be measured.

    echo '{"do": "time", "batch": 1, "warm_up": 1, "queries": 5, "seconds": 0}' | \\
        python -m export.benchmark.runner_process bundle handler/model

It answers each line of input with one JSON object, until the input ends:

- `{"do": "describe"}`: `{"precision": what the runtime chose, or null}`
- `{"do": "time", "batch": B, "warm_up": W, "queries": Q, "seconds": S}`: does `W` inferences of `B` images, and then
  timed ones until there are `Q` and they have taken `S` seconds: `{"ms": [numbers]}`
- `{"do": "end_to_end", "batch": B, "warm_up": W, "queries": Q, "image": FILE}`: decodes the image `B` times and does an
  inference: `{"preprocess_ms": [Q numbers], "total_ms": [Q numbers]}`
- `{"do": "memory"}`: `{"peak_mb": the most resident memory of this process so far, in MB}`
- `{"do": "score", "images": FILE.npy}`: uint8 `[N, S, S]` to `{"probabilities": [N rows of K numbers]}`

After `{"missing": MODULE}` or `{"error": TEXT}` the process ends.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from export.benchmark.answer_stream import answer_stream
from export.benchmark.peak_memory import peak_mb
from export.benchmark.runtimes import RUNTIMES, LoadedModel, ModelFile
from export.benchmark.signature import Input
from handler.imaging.decode import decode


def answer(file: ModelFile, model: LoadedModel, request: dict[str, Any]) -> dict[str, Any]:
    """Do what one line of input asks for; see the module.

    Raises:
        ValueError: there is no such request.
    """
    match request:
        case {"do": "time", "batch": batch, "warm_up": warm_up, "queries": queries, "seconds": seconds}:
            return {"ms": _time(model, batch, warm_up, queries, seconds)}
        case {"do": "end_to_end", "batch": batch, "warm_up": warm_up, "queries": queries, "image": path}:
            data = Path(path).read_bytes()
            found = [_end_to_end(model, data, file.size, batch) for _ in range(warm_up + queries)][warm_up:]
            return {"preprocess_ms": [one[0] for one in found], "total_ms": [one[1] for one in found]}
        case {"do": "score", "images": path}:
            images = np.load(path)
            # One by one, as latency is measured: what was compiled for one image serves here too.
            answers = (model.run(model.feed(images[i : i + 1])) for i in range(len(images)))
            return {"probabilities": [model.probabilities(found)[0].tolist() for found in answers]}
        case {"do": "describe"}:
            return {"precision": model.precision}
        case {"do": "memory"}:
            return {"peak_mb": peak_mb()}
    raise ValueError(f"unknown request: {request}")


def _time(model: LoadedModel, batch: int, warm_up: int, queries: int, seconds: float) -> list[float]:
    feed = model.example(batch)
    for _ in range(warm_up):
        model.run(feed)
    times: list[float] = []
    total = 0.0
    while len(times) < queries or total < seconds * 1e3:
        start = time.perf_counter_ns()
        model.run(feed)
        # In microseconds, which are what `export.benchmark.samples.Samples` keeps.
        times.append(round((time.perf_counter_ns() - start) / 1e3) / 1e3)
        total += times[-1]
    return times


def _end_to_end(model: LoadedModel, data: bytes, size: int, batch: int) -> tuple[float, float]:
    """Milliseconds from the bytes of an image to the model's input, and to its answer."""
    start = time.perf_counter()
    feed = model.feed(np.stack([decode(data, size) for _ in range(batch)]))
    ready = time.perf_counter()
    model.run(feed)
    return (ready - start) * 1e3, (time.perf_counter() - start) * 1e3


def main() -> int:
    """Serve requests from standard input; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m export.benchmark.runner_process",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runtime", choices=RUNTIMES)
    parser.add_argument("file", type=Path)
    parser.add_argument("--size", type=int, default=64, help="width and height of an image (default: %(default)s)")
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bundle", action="store_true", help="an ONNX graph that takes images as a bundle does")
    parser.add_argument("--output", type=int, default=0, help="index of the probabilities (default: %(default)s)")
    parser.add_argument("--inputs", default="[]", help="JSON: name, type and shape of each input that is no image")
    options = parser.parse_args()
    answers = answer_stream()
    inputs = tuple(Input(name, dtype, tuple(shape)) for name, dtype, shape in json.loads(options.inputs))
    file = ModelFile(
        options.file, options.size, options.channels, options.threads, options.bundle, options.output, inputs
    )
    try:
        model = RUNTIMES[options.runtime](file)
        for line in sys.stdin:
            answers.write(json.dumps(answer(file, model, json.loads(line))) + "\n")
    except ModuleNotFoundError as exc:
        answers.write(json.dumps({"missing": (exc.name or str(exc)).split(".")[0]}) + "\n")
        return 1
    except Exception as exc:  # whatever a library raises goes into the table
        answers.write(json.dumps({"error": f"{type(exc).__name__}: {exc}"}) + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
