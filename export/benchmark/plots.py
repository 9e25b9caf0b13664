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

_NOTHING = {"p50": {"ms": 0}}

_NEAR: Mapping[str, Any] = {"textcoords": "offset points", "fontsize": 8}


def plot_latency(result: Result, folder: Path) -> list[Path]:
    """Draw the result of `export.benchmark.latency`: the median latencies, and latency against AUC if that was
    measured. Error bars are 95 % intervals. Returns PNG files in `folder`.
    """
    rows = [row for row in result["runners"] if row["status"] == "measured"]
    paths = [_medians(result, rows, folder / "p50.png")]
    evaluated = [row for row in rows if row["auc"] is not None]
    return [*paths, _latency_auc(result, evaluated, folder / "latency_auc.png")] if evaluated else paths


def _medians(result: Result, rows: Sequence[Result], path: Path) -> Path:
    figure, axes = plt.subplots(figsize=(9, 1.6 + 0.36 * len(rows)), layout="constrained")
    medians = [row["latency"]["p50"]["ms"] for row in rows]
    for number, network in enumerate(result["networks"]):
        own = [i for i, row in enumerate(rows) if row["network"] == network["name"]]
        errors = _errors([rows[i]["latency"]["p50"] for i in own])
        values = [medians[i] for i in own]
        size = f", {network['size']} px" if network["size"] else ""
        # Points and not bars, which would have no beginning on a logarithmic axis.
        axes.errorbar(values, own, fmt=f"C{number}o", xerr=errors, capsize=3, label=f"{network['name']}{size}")
    for i, row in enumerate(rows):
        axes.annotate(
            _short(medians[i]), (row["latency"]["p50"]["high"] or medians[i], i), (5, 0), va="center", **_NEAR
        )
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes.set_xscale("log")
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.grid(alpha=0.3)
    axes.set(xlabel=f"median latency of {_query(result)} (ms, logarithmic; error bars: 95 %)")
    axes.set_title(_title(result, rows), fontsize=9)
    if rows:
        figure.legend(loc="outside lower center", fontsize=8)
    return save(figure, path)


def _latency_auc(result: Result, rows: Sequence[Result], path: Path) -> Path:
    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    for number, row in enumerate(rows):
        median = row["latency"]["p50"]
        marker = "oshDvP^X*<>d"[number % 12]
        label = f"{row['name']}, {_short(median['ms'])} ms"
        axes.errorbar(
            median["ms"], row["auc"], xerr=_errors([median]), fmt=marker, markersize=8, capsize=3, label=label
        )
    axes.set_xscale("log")
    axes.set(xlabel=f"median latency of {_query(result)} (ms, logarithmic; error bars: 95 %)", ylabel="AUC")
    axes.set_title(_title(result, rows) + f", AUC of {result['data']['images']} images", fontsize=9)
    figure.legend(loc="outside right upper", fontsize=8)
    return save(figure, path)


def _errors(estimates: Sequence[Result]) -> list[list[float]]:
    """From each median to the limits of its interval; nothing where it has none."""
    return [
        [one["ms"] - one["low"] if one["low"] is not None else 0 for one in estimates],
        [one["high"] - one["ms"] if one["high"] is not None else 0 for one in estimates],
    ]


def _short(milliseconds: float) -> str:
    """Three digits, or all before the decimal point."""
    return f"{milliseconds:.3g}" if milliseconds < 100 else f"{milliseconds:.0f}"


def _query(result: Result) -> str:
    batch = result["rules"]["batch"]
    return "one query" if batch == 1 else f"a batch of {batch}"


def _title(result: Result, rows: Sequence[Result]) -> str:
    """CPU, date and the numbers of samples."""
    counts = [row["latency"]["n"] for row in rows]
    n = f"n = {min(counts)}" + (f" to {max(counts)}" if min(counts) != max(counts) else "") if counts else "n = 0"
    title = f"{result['machine']['cpu']}, {result['threads']} thread(s), {result['date'][:10]}, {n}"
    return title if result["rules"]["met"] else f"{title} (a trial: rules not met)"


def plot_cold_start(result: Result, folder: Path) -> list[Path]:
    """Draw the result of `export.benchmark.cold_start`: the medians of the parts as stacked bars. Returns one PNG
    file in `folder`.
    """
    rows = [row for row in result["runners"] if row["status"] == "measured"]
    bars = [(f"{row['name']}, {cache} page cache", found) for row in rows for cache, found in row["page_cache"].items()]
    figure, axes = plt.subplots(figsize=(9, 1.5 + 0.5 * len(bars)), layout="constrained")
    left = np.zeros(len(bars))
    parts = [part for part in _PARTS if any(part in found["parts"] for _, found in bars)]
    for part in parts:
        widths = np.array([found["parts"].get(part, _NOTHING)["p50"]["ms"] for _, found in bars])
        axes.barh([name for name, _ in bars], widths, left=left, label=part.replace("_", " "))
        left += widths
    totals = [found["total"]["p50"] for _, found in bars]
    if bars:
        # The medians of the parts do not add up to the median of the total, which has the interval.
        axes.errorbar(
            [one["ms"] for one in totals], range(len(bars)), xerr=_errors(totals), fmt="k|", capsize=3, label="total"
        )
    axes.invert_yaxis()
    axes.set_title(
        f"{result['machine']['cpu']}, {result['threads']} thread(s), {result['date'][:10]}, n = {result['rounds']}",
        fontsize=9,
    )
    axes.set(xlabel="from process start to the first answer (ms, medians of the parts)")
    if bars:
        figure.legend(loc="outside lower center", ncols=len(parts) + 1, fontsize=8)
    return [save(figure, folder / "cold_start.png")]


def save(figure: Figure, path: Path) -> Path:
    """Write a plot, atomically, and close it."""
    write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=120))
    plt.close(figure)
    return path
