"""The results of the benchmark as plots."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from handler.files import write_atomically

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

Result = Mapping[str, Any]

_PARTS = ("interpreter", "imports_and_session", "imports", "session", "first_answer")
"""The parts of a cold start, in order."""


def plot_latency(result: Result, folder: Path) -> list[Path]:
    """Draw the result of `export.benchmark.latency`: bars of the median latencies, and latency against AUC, or on one
    line if no AUC was measured. Returns two PNG files in `folder`.
    """
    rows = [row for row in result["runners"] if row["status"] == "measured"]
    return [_bars(rows, folder / "p50.png"), _latency_auc(rows, folder / "latency_auc.png")]


def _bars(rows: Sequence[Result], path: Path) -> Path:
    figure, axes = plt.subplots(figsize=(8, 1 + 0.4 * len(rows)), layout="constrained")
    drawn = axes.barh([row["name"] for row in rows], [row["p50_ms"] for row in rows], color="C0")
    axes.bar_label(drawn, fmt="%.1f", padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set(xlabel="median latency of one image (ms)")
    return _save(figure, path)


def _latency_auc(rows: Sequence[Result], path: Path) -> Path:
    evaluated = [row for row in rows if row["auc"] is not None]
    figure, axes = plt.subplots(figsize=(8, 5 if evaluated else 3), layout="constrained")
    drawn = evaluated or rows
    for number, row in enumerate(drawn):
        y = row["auc"] if evaluated else 0
        marker = "oshDvP^X*<>d"[number % 12]
        axes.plot(row["p50_ms"], y, marker, markersize=9, label=f"{row['name']}, {row['p50_ms']:.1f} ms")
    axes.set_xscale("log")
    axes.set(xlabel="median latency of one image (ms, logarithmic)")
    if evaluated:
        axes.set(ylabel="AUC")
    else:
        axes.set(yticks=[], ylim=(-1, 1))
    if drawn:
        figure.legend(loc="outside right upper", fontsize=8)
    return _save(figure, path)


def plot_cold_start(result: Result, folder: Path) -> list[Path]:
    """Draw the result of `export.benchmark.cold_start`: the medians of the parts as stacked bars. Returns one PNG
    file in `folder`.
    """
    rows = [row for row in result["runners"] if row["status"] == "measured"]
    bars = [(f"{row['name']}, {cache} page cache", found) for row in rows for cache, found in row["page_cache"].items()]
    figure, axes = plt.subplots(figsize=(9, 1.5 + 0.5 * len(bars)), layout="constrained")
    left = np.zeros(len(bars))
    parts = [part for part in _PARTS if any(part in found["parts_ms"] for _, found in bars)]
    for part in parts:
        widths = np.array([found["parts_ms"].get(part, {"p50": 0})["p50"] for _, found in bars])
        axes.barh([name for name, _ in bars], widths, left=left, label=part.replace("_", " "))
        left += widths
    axes.invert_yaxis()
    axes.set(xlabel="from process start to the first answer (ms, medians of the parts)")
    if bars:
        figure.legend(loc="outside lower center", ncols=len(parts), fontsize=8)
    return [_save(figure, folder / "cold_start.png")]


def _save(figure: Figure, path: Path) -> Path:
    write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=120))
    plt.close(figure)
    return path
