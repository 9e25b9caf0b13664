"""Time a bundle against float ONNX, side by side in one run.

python -m export benchmark --bundle handler/model --float runs/vgg19/float.onnx
"""

import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
from tqdm import tqdm

from handler.contract import MODEL_FILE, load_bundle

WARM_UP = 10

Runner = Callable[[], object]


def benchmark(bundle: Path, float_graph: Path, *, threads: int = 1, rounds: int = 100) -> dict[str, dict[str, float]]:
    """Latency of one picture in each graph, in rounds that take turns, so that a drifting clock hits both alike.

    Returns:
        By contestant: p50, p90, p99 in milliseconds, and the size of the file in MB.
    """
    contract, weights = load_bundle(bundle)
    size = contract.input_size
    pixels = np.random.default_rng(0).integers(0, 256, (1, 1, size, size), dtype=np.uint8)
    contestants = {
        f"{contract.name} {contract.version} int8": _runner(weights, pixels, contract.output_name, threads),
        "ONNX Runtime float32": _runner(float_graph.read_bytes(), pixels, contract.output_name, threads),
    }
    megabytes = [path.stat().st_size / 1e6 for path in (bundle / MODEL_FILE, float_graph)]
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in tqdm(range(WARM_UP + rounds), desc="rounds", leave=False):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            if turn >= WARM_UP:
                times[name].append((time.perf_counter() - start) * 1e3)
    return {
        name: dict(zip(("p50", "p90", "p99"), np.percentile(times[name], (50, 90, 99)).tolist(), strict=True))
        | {"mb": mb}
        for name, mb in zip(contestants, megabytes, strict=True)
    }


def _runner(graph: bytes, pixels: np.ndarray, output: str, threads: int) -> Runner:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    only_fetched = ort.RunOptions()
    only_fetched.only_execute_path_to_fetches = True
    feed = {session.get_inputs()[0].name: pixels}
    return lambda: session.run([output], feed, only_fetched)


def table(result: dict[str, dict[str, float]], threads: int) -> str:
    """The result for people, fastest first."""
    slowest = max(row["p50"] for row in result.values())
    lines = [f"{platform.processor() or platform.machine()}, {threads} thread(s), one picture at a time"]
    lines.append(f"{'':40}{'p50 ms':>9}{'p90 ms':>9}{'p99 ms':>9}{'MB':>8}{'speed':>8}")
    for name, row in sorted(result.items(), key=lambda item: item[1]["p50"]):
        figures = "".join(f"{row[key]:9.2f}" for key in ("p50", "p90", "p99"))
        lines.append(f"{name:40}{figures}{row['mb']:8.1f}{slowest / row['p50']:7.1f}x")
    return "\n".join(lines)
