"""The blocks of the READMEs with the results of `python -m export benchmark`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from infra.markdown import table
from infra.readme_files import figures, machine, percent

SERVED = "ONNX Runtime int8, as served"
RUNTIMES = {SERVED: "ONNX Runtime int8", "ONNX Runtime static int8": "ONNX Runtime int8"}
"""Runners of different networks that are the same runtime."""

Row = Mapping[str, Any]


SHORT = ("ONNX Runtime int8", "OpenVINO int8", "LiteRT int8", "ONNX Runtime float32", "Keras predict")


def short() -> str:
    """The median latencies of some runtimes."""
    found = figures("benchmark")
    rows = []
    for network in found["networks"]:
        own = [row for row in _measured(found) if row["network"] == network["name"]]
        medians = {RUNTIMES.get(row["name"], row["name"]): row["latency"]["p50"]["ms"] for row in own}
        rows.append([_title(network), *(f"{medians[name]:.2f}" if name in medians else "" for name in SHORT)])
    return f"{machine(found)}, one thread, median ms:\n\n{table(['', *SHORT], rows)}"


def latency() -> str:
    """All figures of the latency benchmark, a table for each network."""
    found = figures("benchmark")
    rules = found["rules"]
    lines = [
        f"{machine(found)}, {found['threads']} thread, batch {rules['batch']}; the rules are "
        f"{'met' if rules['met'] else 'NOT met: ' + ', '.join(rules['broken'])}. The int8 roofline is "
        f"{found['int8_roofline_gmacs_per_second']:.0f} G-MACs per second ({found['int8_roofline_runner']})."
    ]
    if data := found["data"]:
        lines[0] += f" Accuracy is measured on {data['images']} validation images."
    columns: dict[str, Callable[[Row], str]] = {
        "p50 ms (95 %)": lambda row: _estimate(row["latency"]["p50"]),
        "p90 ms (95 %)": lambda row: _estimate(row["latency"]["p90"]),
        "p99 ms (95 %)": lambda row: _estimate(row["latency"]["p99"]),
        "ratio (95 %)": lambda row: _estimate(row["ratio"], "value"),
        "preprocessing ms": lambda row: _estimate(row["preprocess"] and row["preprocess"]["p50"], limits=False),
        "end to end ms": lambda row: _estimate(row["end_to_end"] and row["end_to_end"]["p50"], limits=False),
        "n": lambda row: f"{row['latency']['n']}",
        "RAM MB": lambda row: f"{row['peak_mb']:.0f}",
        "file MB": lambda row: f"{row['model_mb']:.1f}",
        "G-MACs": lambda row: f"{row['gmacs']:.2f}" if row["gmacs"] else "",
        "of roofline": lambda row: f"{100 * row['share_of_roofline']:.0f} %" if row["share_of_roofline"] else "",
        "accuracy": lambda row: percent(row["accuracy"]) if row["accuracy"] is not None else "",
        "99 % of float": lambda row: {True: "yes", False: "no", None: ""}[row["float32_accuracy_kept"]],
    }
    for network in found["networks"]:
        rows = [row for row in _measured(found) if row["network"] == network["name"]]
        shown = [title for title, cell in columns.items() if any(cell(row) for row in rows)]
        cells = [[_bold(row["name"]), *(columns[title](row) for title in shown)] for row in rows]
        lines.append(f"**{_title(network)}**\n\n{table(['', *shown], cells)}")
    return "\n\n".join(lines)


def server() -> str:
    """The highest rates of the server."""
    found = figures("server")
    rows = []
    for load in found["loads"]:
        held = [rate for rate in load["rates"] if rate["rate"] == load["highest_rate"]]
        latencies = held[-1]["latency"] if held else {}
        rows.append(
            [
                f"{load['name']}, {load['image']['bytes'] / 1000:.0f} kB",
                f"{load['highest_rate']:.1f}" if held else "none",
                *(_estimate(latencies.get(name)) for name in ("p50", "p90", "p99")),
                f"{held[-1]['queries']}" if held else "",
                load["limited_by"],
            ]
        )
    heads = ["image", "queries/s", "p50 ms (95 %)", "p90 ms (95 %)", "p99 ms (95 %)", "n", "above this rate"]
    return f"{machine(found)}; the server has {found['threads']} core.\n\n{table(heads, rows)}"


def cold_starts() -> str:
    """Fresh processes."""
    found = figures("cold_start")
    rows = []
    for row in found["runners"]:
        if row["status"] != "measured":
            continue
        for cache, times in row["page_cache"].items():
            parts = ", ".join(
                f"{name.replace('_', ' ')} {part['p50']['ms']:.0f}" for name, part in times["parts"].items()
            )
            rows.append(
                [
                    row["name"],
                    cache,
                    _estimate(times["total"]["p50"], digits=0),
                    _estimate(times["ratio"], "value", digits=1),
                    f"{times['cpu_ms']['p50']:.0f}",
                    f"{row['tree_pss_mb']:.0f}",
                    parts,
                ]
            )
    heads = ["", "page cache", "median ms (95 %)", "ratio (95 %)", "CPU ms", "PSS MB", "parts, ms"]
    return f"{machine(found)}, {found['rounds']} rounds:\n\n{table(heads, rows, left=2)}"


def warm_path() -> str:
    """A warm request, and decoding alone."""
    found = figures("warm_path")
    rows = [[part, *(_estimate(row[name]) for name in ("p50", "p90", "p99"))] for part, row in found["parts"].items()]
    ratio = found["isolated_decode_ratio"]
    return (
        f"{machine(found)}, {found['rounds']} rounds:\n\n"
        f"{table(['', 'p50 ms (95 %)', 'p90 ms (95 %)', 'p99 ms (95 %)'], rows)}\n\n"
        f"In the worker process, decoding takes {ratio['value']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f}) times "
        "as long as\nPillow's plain decoding and one resize."
    )


def _measured(found: Row) -> Sequence[Row]:
    return [row for row in found["runners"] if row["status"] == "measured"]


def _title(network: Row) -> str:
    name = f"{network['model']} {network['version']}" if network.get("version") else network["name"]
    return f"{name}, {network['size']} px"


def _bold(name: str) -> str:
    return f"**{name}**" if name == SERVED else name


def _estimate(found: Row | None, value: str = "ms", *, digits: int = 2, limits: bool = True) -> str:
    if not found:
        return ""
    text = f"{found[value]:.{digits}f}"
    if not limits or found["low"] is None:
        return text
    return f"{text} ({found['low']:.{digits}f} to {found['high']:.{digits}f})"


BLOCKS: dict[str, Callable[[], str]] = {
    "benchmark-short": short,
    "latency": latency,
    "server": server,
    "process-cold-starts": cold_starts,
    "warm-path": warm_path,
}
"""By the name in the marker: what writes the block."""
