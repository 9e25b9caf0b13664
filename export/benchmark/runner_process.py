"""One runner of the benchmark in a process of its own: libraries do not meet, and each one's memory can be measured.

    echo '{"do": "time", "batch": 1, "warm_up": 1, "runs": 5}' | \\
        python -m export.benchmark.runner_process bundle handler/model

It answers each line of input with one JSON object, until the input ends:

- `{"do": "describe"}`: `{"precision": what the runtime chose, or null}`
- `{"do": "time", "batch": B, "warm_up": W, "runs": R}`: does `W` inferences of `B` images, and then `R` that are
  timed: `{"ms": [R numbers]}`
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


def answer(file: ModelFile, model: LoadedModel, request: dict[str, Any]) -> dict[str, Any]:
    """Do what one line of input asks for; see the module.

    Raises:
        ValueError: there is no such request.
    """
    match request:
        case {"do": "time", "batch": batch, "warm_up": warm_up, "runs": runs}:
            images = np.random.default_rng(0).integers(0, 256, (batch, file.size, file.size), dtype=np.uint8)
            feed = model.feed(images)
            times = []
            for _ in range(warm_up + runs):
                start = time.perf_counter()
                model.run(feed)
                times.append((time.perf_counter() - start) * 1e3)
            return {"ms": times[warm_up:]}
        case {"do": "score", "images": path}:
            images = np.load(path)
            # One by one, as latency is measured: what was compiled for one image serves here too.
            scores = [model.run(model.feed(images[i : i + 1]))[0].tolist() for i in range(len(images))]
            return {"probabilities": scores}
        case {"do": "describe"}:
            return {"precision": model.precision}
        case {"do": "memory"}:
            return {"peak_mb": peak_mb()}
    raise ValueError(f"unknown request: {request}")


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
    options = parser.parse_args()
    answers = answer_stream()
    file = ModelFile(options.file, options.size, options.channels, options.threads)
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
