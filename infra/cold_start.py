"""Measure the CPU time of a cold start in built images, and compare it with the minimum that can score an image.

docker build --target lambda -t xray:lambda .
docker build --target server -t xray:server .
python -m infra.cold_start xray:lambda xray:server

Each part of a cold start runs in a new process, and its child processes count too. Images and parts alternate. CPU time
depends less on other load of the machine than wall-clock time.
"""

import argparse
import json
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from handler.command_help import parser_of
from handler.commands import needing_packages, program, run, suggest
from handler.files import write_json
from infra import markdown
from infra.engine import LOCKED_DOWN, EngineError, machine, model_in

with needing_packages("export", failed=2):
    from tqdm import tqdm

LEAST = "NumPy, ONNX Runtime, Pillow, session, one image"
"""The minimum that can score an image. The other parts are compared with it."""

ENTRY = "runtime client and entry"

PARTS = {
    "interpreter": "pass",
    LEAST: """
import os
os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np, onnxruntime as ort
from PIL import Image
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession("handler/model/model.onnx", options, providers=["CPUExecutionProvider"])
pixels = session.get_inputs()[0]
grey = Image.open("handler/page/phantom.png").convert("L").resize(pixels.shape[2:])
session.run([session.get_outputs()[0].name], {pixels.name: np.asarray(grey)[np.newaxis, np.newaxis]})
""",
    ENTRY: """
import awslambdaric.__main__
import handler.lambda_entry
""",
    "server": """
from handler import startup
import uvicorn
uvicorn.run = lambda *_, **__: None
from handler.__main__ import main
main(["serve"])
""",
}
"""Python code of each part."""

MEASURE = """
import ctypes, json, os, resource, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: grandchildren count too
found = {}
for name, code in json.load(sys.stdin).items():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)
    try:
        while True:
            os.wait()
    except ChildProcessError:
        pass
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found[name] = 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
print(json.dumps(found))
"""


def measure(images: list[str], rounds: int) -> dict[str, Any]:
    """Measure the images in turns.

    Returns:
        `date`, `machine`, and `images`: by name the `model` and `cpu_ms`, the CPU time of each part in each round.

    Raises:
        EngineError: an image is missing, or a part fails in it.
    """
    found: dict[str, dict[str, list[float]]] = {image: {part: [] for part in PARTS} for image in images}
    about = {"date": datetime.now(UTC).date().isoformat(), "machine": machine()}
    models = {image: model_in(image) for image in images}
    with tqdm([image for _ in range(rounds) for image in images], desc="rounds", leave=False) as bar:
        for image in bar:
            for part, ms in _once(image).items():
                found[image][part].append(round(ms, 2))
    return about | {"images": {image: {"model": models[image], "cpu_ms": found[image]} for image in images}}


def _once(image: str) -> dict[str, float]:
    command = ("docker", "run", "--rm", "--interactive", "--network", "none", *LOCKED_DOWN)
    script = ("--entrypoint", "python", image, "-c", MEASURE)
    done = subprocess.run(  # noqa: S603
        [*command, *script], input=json.dumps(PARTS), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise EngineError(f"{image} cannot be measured: {done.stderr.strip()[-2000:]}")
    return dict(json.loads(done.stdout))


def table(result: dict[str, Any]) -> str:
    """A Markdown table: median CPU ms, and how many times the least of the same image that is."""
    images = result["images"]
    medians = [{part: statistics.median(ms) for part, ms in found["cpu_ms"].items()} for found in images.values()]
    rows = [[part, *(f"{parts[part]:.0f} ({parts[part] / parts[LEAST]:.2f})" for parts in medians)] for part in PARTS]
    return markdown.table(["CPU ms", *images], rows)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = parser_of(__doc__)
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    parser.add_argument("--rounds", type=int, default=15, help="default: %(default)s")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="also write the figures there")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be above 0")
    return run(lambda: _print(options), refused=(EngineError,), failed=2)


def _print(options: argparse.Namespace) -> None:
    result = measure(options.images, options.rounds)
    sys.stdout.write(table(result) + "\n")
    if options.out:
        write_json(options.out, result)
        sys.stdout.write(f"the figures are in {options.out}\n")
    suggest(f"{program('infra.layers')} IMAGE for what an image holds")


if __name__ == "__main__":
    sys.exit(main())
