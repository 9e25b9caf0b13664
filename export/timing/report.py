"""The benchmark for people: tables and plots."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from handler.files import write_atomically

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

Result = Mapping[str, Any]

_COLUMNS: tuple[tuple[str, int, Callable[[Result], str | None]], ...] = (
    ("p50 ms", 8, lambda row: f"{row['p50_ms']:.2f}"),
    ("p90 ms", 8, lambda row: f"{row['p90_ms']:.2f}"),
    ("p99 ms", 8, lambda row: f"{row['p99_ms']:.2f}"),
    ("img/s x1", 9, lambda row: f"{row['images_per_second']['1']:.1f}"),
    ("x8", 7, lambda row: f"{row['images_per_second']['8']:.1f}"),
    ("x32", 7, lambda row: f"{row['images_per_second']['32']:.1f}"),
    ("RAM MB", 7, lambda row: f"{row['peak_mb']:.0f}"),
    ("file MB", 8, lambda row: f"{row['model_mb']:.1f}"),
    ("G-MACs", 7, lambda row: None if row["gmacs"] is None else f"{row['gmacs']:.2f}"),
    ("of peak", 8, lambda row: None if row["share_of_peak"] is None else f"{row['share_of_peak']:.0%}"),
    ("accuracy", 9, lambda row: None if row["accuracy"] is None else f"{row['accuracy']:.2%}"),
    ("AUC", 7, lambda row: None if row["auc"] is None else f"{row['auc']:.4f}"),
)

_PARTS = ("interpreter", "imports_and_session", "imports", "session", "first_answer")
"""Of a cold start, as they follow each other."""


def table(result: Result) -> str:
    """The result of `export.timing.benchmark`, fastest first; below it those that could not take part, and why."""
    rows = [row for row in result["contestants"] if row["status"] == "measured"]
    others = [row for row in result["contestants"] if row["status"] != "measured"]
    slowest = max((row["p50_ms"] for row in rows), default=0)
    names = {
        row["name"]: row["name"] + (f" (floats as {row['precision']})" if row.get("precision") else "") for row in rows
    }
    width = max(len(name) for name in [*names.values(), *(row["name"] for row in others)]) + 1
    peak = result["int8_peak_gmacs_per_second"]
    lines = [
        f"{result['machine']['cpu']}, {_instructions(result['machine']['flags'])}, {result['threads']} thread(s), "
        + (f"int8 peak {peak:.0f} G-MACs per second" if peak else "int8 peak not measured"),
        f"network of the runtimes: {result['network']['name']}, {result['network']['size']} px",
    ]
    if result["data"]:
        lines.append(f"accuracy and AUC on {result['data']['pictures']} pictures of {result['data']['name']}")
    lines += ["", " " * width + "".join(f"{title:>{size}}" for title, size, _ in _COLUMNS) + f"{'speed':>8}"]
    for row in rows:
        cells = "".join(f"{text(row) or '-':>{size}}" for _, size, text in _COLUMNS)
        lines.append(f"{names[row['name']]:{width}}{cells}{slowest / row['p50_ms']:7.1f}x")
    lines += [f"{row['name']:{width}}{_failure(row)}" for row in others]
    return "\n".join(lines)


def _failure(row: Result) -> str:
    return str(row["reason"]) if row["status"] == "missing" else f"failed: {row['reason']}"


def _instructions(flags: Mapping[str, bool] | None) -> str:
    found = [name for name, there in (flags or {}).items() if there]
    return ", ".join(found) or "no vector instructions known"


def plot(result: Result, folder: Path) -> list[Path]:
    """Median latencies as bars, and latency against AUC, or along one line where there is no AUC; two PNG files."""
    rows = [row for row in result["contestants"] if row["status"] == "measured"]
    return [_bars(rows, folder / "p50.png"), _latency_auc(rows, folder / "latency_auc.png")]


def _bars(rows: Sequence[Result], path: Path) -> Path:
    figure, axes = plt.subplots(figsize=(8, 1 + 0.4 * len(rows)), layout="constrained")
    drawn = axes.barh([row["name"] for row in rows], [row["p50_ms"] for row in rows], color="C0")
    axes.bar_label(drawn, fmt="%.1f", padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set(xlabel="median latency of one picture (ms)")
    return _save(figure, path)


def _latency_auc(rows: Sequence[Result], path: Path) -> Path:
    judged = [row for row in rows if row["auc"] is not None]
    figure, axes = plt.subplots(figsize=(8, 5 if judged else 3), layout="constrained")
    drawn = judged or rows
    for number, row in enumerate(drawn):
        y = row["auc"] if judged else 0
        marker = "oshDvP^X*<>d"[number % 12]
        axes.plot(row["p50_ms"], y, marker, markersize=9, label=f"{row['name']}, {row['p50_ms']:.1f} ms")
    axes.set_xscale("log")
    axes.set(xlabel="median latency of one picture (ms, logarithmic)")
    if judged:
        axes.set(ylabel="AUC")
    else:
        axes.set(yticks=[], ylim=(-1, 1))
    if drawn:
        figure.legend(loc="outside right upper", fontsize=8)
    return _save(figure, path)


def cold_start_table(result: Result) -> str:
    """The result of `export.timing.cold_start.cold_start`; each ratio is to the fastest of the same page cache."""
    lines = [f"{result['machine']['cpu']}, {result['threads']} thread(s), {result['rounds']} rounds, ms", ""]
    width = max(len(row["name"]) for row in result["contestants"]) + 1
    lines.append(
        f"{'':{width}}{'cache':>8}{'p50':>8}{'p90':>8}{'ratio':>7}{'RSS MB':>8}{'peak MB':>8}  median of each part"
    )
    for row in result["contestants"]:
        if row["status"] != "measured":
            lines.append(f"{row['name']:{width}}{_failure(row)}")
            continue
        for cache, found in row["page_cache"].items():
            parts = ", ".join(f"{part.replace('_', ' ')} {ms['p50']:.0f}" for part, ms in found["parts_ms"].items())
            lines.append(
                f"{row['name']:{width}}{cache:>8}{found['total_ms']['p50']:8.0f}{found['total_ms']['p90']:8.0f}"
                f"{found['ratio']:6.1f}x{row['resident_mb']:8.0f}{row['peak_mb']:8.0f}  {parts}"
            )
    return "\n".join([*lines, *result["notes"]])


def plot_cold_start(result: Result, folder: Path) -> list[Path]:
    """The medians of the parts as stacked bars; one PNG file."""
    rows = [row for row in result["contestants"] if row["status"] == "measured"]
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


def warm_path_table(result: Result) -> str:
    """The result of `export.timing.warm_path.warm_path`."""
    picture = result["picture"]
    lines = [f"{result['machine']['cpu']}, {result['threads']} thread(s), {result['rounds']} rounds", ""]
    lines.append(f"{'':22}{'p50 ms':>9}{'p99 ms':>9}")
    lines += [f"{part:22}{row['p50_ms']:9.2f}{row['p99_ms']:9.2f}" for part, row in result["parts"].items()]
    lines += [
        "",
        f"Decoding a JPEG of {picture['width']} x {picture['height']} pixels takes {result['decode_ratio']:.2f}",
    ]
    return "\n".join(lines) + " of the time of Pillow's plain decoding and one resize."


def _save(figure: Figure, path: Path) -> Path:
    write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=120))
    plt.close(figure)
    return path
