"""Measure the CPU time of a cold start in built images, beside the least that can score an image.

docker build --target lambda -t xray:lambda .
docker build --target server -t xray:server .
python -m infra.cold_start xray:lambda xray:server

A part of a cold start is a fresh process with all its children. Images and parts take turns. CPU time does not depend
on what else the machine does as much as wall-clock time does.
"""

import argparse
import json
import statistics
import subprocess
import sys

from tqdm import tqdm

from handler.command_help import parser_of
from handler.commands import run, suggest
from infra.engine import LOCKED_DOWN, EngineError, docker

LEAST = "NumPy, ONNX Runtime, Pillow, session, one image"
"""The least that can score an image. The other parts are compared with it."""

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
    "runtime client and entry": """
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


def measure(images: list[str], rounds: int) -> dict[str, dict[str, float]]:
    """Median CPU time in ms of each part in each image.

    Raises:
        EngineError: an image is missing, or a part fails in it.
    """
    found: dict[str, dict[str, list[float]]] = {image: {part: [] for part in PARTS} for image in images}
    with tqdm([image for _ in range(rounds) for image in images], desc="rounds", leave=False) as bar:
        for image in bar:
            for part, ms in _once(image).items():
                found[image][part].append(ms)
    return {image: {part: statistics.median(ms) for part, ms in parts.items()} for image, parts in found.items()}


def _once(image: str) -> dict[str, float]:
    command = ("docker", "run", "--rm", "--interactive", "--network", "none", *LOCKED_DOWN)
    script = ("--entrypoint", "python", image, "-c", MEASURE)
    done = subprocess.run(  # noqa: S603
        [*command, *script], input=json.dumps(PARTS), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise EngineError(f"{image} cannot be measured: {done.stderr.strip()[-2000:]}")
    return dict(json.loads(done.stdout))


def table(found: dict[str, dict[str, float]]) -> str:
    """Markdown: CPU ms, and how many times the least of the same image that is."""
    lines = [f"| CPU ms | {' | '.join(found)} |", f"| --- |{' ---: |' * len(found)}"]
    for part in PARTS:
        cells = [f"{parts[part]:.0f} ({parts[part] / parts[LEAST]:.2f})" for parts in found.values()]
        lines.append(f"| {part} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = parser_of(__doc__)
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    parser.add_argument("--rounds", type=int, default=15, help="default: %(default)s")
    options = parser.parse_args(arguments)
    return run(lambda: _print(options), refused=(EngineError,), failed=2)


def _print(options: argparse.Namespace) -> None:
    for image in options.images:
        docker("image", "inspect", image)
    sys.stdout.write(table(measure(options.images, options.rounds)) + "\n")
    suggest("python -m infra.layers IMAGE for what an image holds")


if __name__ == "__main__":
    sys.exit(main())
