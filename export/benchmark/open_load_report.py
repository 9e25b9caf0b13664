"""The result of `export.benchmark.open_load` as a text table and as a plot."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from export.benchmark.open_load import HOLDS
from export.benchmark.plots import save
from export.benchmark.tables import interval

Result = Mapping[str, Any]

_COLUMNS = (
    f"{'queries/s':>9}{'reached':>9}{'n':>7}{'p50 ms':>24}{'p90 ms':>24}{'p99 ms':>24}{'failed':>8}{'late p99 ms':>13}"
)


def open_load_table(result: Result) -> str:
    """One row for each rate, lowest first, with 95 % intervals in parentheses."""
    server = result["server"]
    cores = "the same cores" if server["shares_cores"] else "other cores"
    lines = [
        f"{result['machine']['cpu']}, {result['date']}",
        f"server of {result['model']['name']} {result['model']['version']}: {result['threads']} CPU core(s), "
        f"{server['workers']} image(s) decoded at once, at most {server['max_in_flight']} requests in flight; "
        f"generator on {cores}",
    ]
    for load in result["loads"]:
        lines += ["", f"{_title(load)}: {_found(load, result)}", _COLUMNS + "  verdict"]
        lines += [_row(found) for found in load["rates"]]
        reasons = {reason for found in load["rates"] for reason in found["failures"]}
        lines += [f"failures: {', '.join(sorted(reasons))}"] if reasons else []
    lines += ["", "In parentheses: 95 % intervals."]
    summaries = [found["latency"] for load in result["loads"] for found in load["rates"]]
    if not all(summary and summary["p99"] for summary in summaries):
        lines += ["A percentile is missing where too few queries were answered for it."]
    return "\n".join(lines)


def _title(load: Result) -> str:
    image = load["image"]
    return f"{load['name']} ({image['type'].removeprefix('image/').upper()}, {image['bytes'] / 1e3:.0f} kB)"


def _found(load: Result, result: Result) -> str:
    rule = f"p99 of at most {result['rules']['limit_ms']:.0f} ms and no failure"
    held = "no rate" if load["highest_rate"] is None else f"{load['highest_rate']:g} queries/s"
    return f"{held} with {rule} (above: {load['limited_by']})"


def _row(found: Result) -> str:
    latency = found["latency"] or {}
    cells = "".join(f"{interval(latency.get(name), 'ms', 1) or '-':>24}" for name in ("p50", "p90", "p99"))
    failed = sum(found["failures"].values())
    return (
        f"{found['rate']:9g}{found['reached']:9.1f}{found['queries']:7d}{cells}{failed:8d}"
        f"{found['lateness_ms']['p99']:13.2f}  {found['verdict']}"
    )


def plot_open_load(result: Result, folder: Path) -> list[Path]:
    """Draw p50 and p99 against the rate, with 95 % intervals. Returns one PNG file in `folder`."""
    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    for number, load in enumerate(result["loads"]):
        for name, line in (("p50", "--"), ("p99", "-")):
            _draw(axes, load, name, line, f"C{number}")
    axes.axhline(
        result["rules"]["limit_ms"], color="black", linewidth=1, label=f"limit, {result['rules']['limit_ms']:.0f} ms"
    )
    axes.plot([], [], "x", color="black", label="rate does not hold")
    axes.set_yscale("log")
    least = min(found["queries"] for load in result["loads"] for found in load["rates"])
    axes.set(xlabel="queries per second (Poisson arrivals)", ylabel="latency (ms, logarithmic)")
    axes.set_title(
        f"{result['machine']['cpu']}, {result['threads']} core(s), {result['date'][:10]}, "
        f"n = {least:,} or more at each rate",
        fontsize=10,
    )
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return [save(figure, folder / "server.png")]


def _draw(axes: Axes, load: Result, name: str, line: str, color: str) -> None:
    points = [(found, found["latency"][name]) for found in load["rates"] if found["latency"] and found["latency"][name]]
    if not points:
        return
    rates = [found["rate"] for found, _ in points]
    values = [point["ms"] for _, point in points]
    axes.plot(rates, values, line, color=color, label=f"{load['name']}, {name}")
    for found, point in points:
        axes.plot(found["rate"], point["ms"], "o" if found["verdict"] == HOLDS else "x", color=color, markersize=5)
        if point["low"] is not None:
            axes.vlines(found["rate"], point["low"], point["high"], color=color)
