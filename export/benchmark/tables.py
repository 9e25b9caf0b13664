"""The results of the benchmark as text tables."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Result = Mapping[str, Any]

_Column = tuple[str, int, Callable[[Result], str | None]]

_COLUMNS: tuple[_Column, ...] = (
    ("p50 ms (95 %)", 24, lambda row: _estimate(row["latency"]["p50"])),
    ("p90 ms (95 %)", 24, lambda row: _estimate(row["latency"]["p90"])),
    ("p99 ms (95 %)", 24, lambda row: _estimate(row["latency"]["p99"])),
    ("ratio (95 %)", 21, lambda row: interval(row["ratio"], "value", 2)),
    ("prep ms", 9, lambda row: row["preprocess"] and f"{row['preprocess']['p50']['ms']:.2f}"),
    ("end to end", 11, lambda row: row["end_to_end"] and f"{row['end_to_end']['p50']['ms']:.2f}"),
    ("n", 7, lambda row: str(row["latency"]["n"])),
    ("img/s", 8, lambda row: f"{row['images_per_second']:.1f}"),
    ("RAM MB", 7, lambda row: f"{row['peak_mb']:.0f}"),
    ("file MB", 8, lambda row: f"{row['model_mb']:.1f}"),
    ("G-MACs", 7, lambda row: None if row["gmacs"] is None else f"{row['gmacs']:.2f}"),
    ("of roof", 8, lambda row: None if row["share_of_roofline"] is None else f"{row['share_of_roofline']:.0%}"),
    ("accuracy", 9, lambda row: None if row["accuracy"] is None else f"{row['accuracy']:.2%}"),
    ("99 %", 5, lambda row: {True: "yes", False: "no", None: None}[row["float32_accuracy_kept"]]),
    ("AUC", 7, lambda row: None if row["auc"] is None else f"{row['auc']:.4f}"),
)
"""Title, width, and text of a row. Columns without any text are left out."""


def latency_tables(result: Result) -> str:
    """The result of `export.benchmark.latency`: a table for each network, fastest first; below it the runners that did
    not run, and why.
    """
    rules, roofline = result["rules"], result["int8_roofline_gmacs_per_second"]
    lines = [
        f"{result['machine']['cpu']}, {_instructions(result['machine']['flags'])}, {result['threads']} thread(s), "
        f"{result['date'][:10]}",
        f"int8 roofline {roofline:.0f} G-MACs per second: {result['int8_roofline_runner']}"
        if roofline
        else "int8 roofline not measured",
        f"rules: single stream, batch {rules['batch']}, {rules['turns']} turn(s); "
        + ("met" if rules["met"] else f"NOT MET: {', '.join(rules['broken'])}"),
        f"ratio: median latency over that of {result['reference']}" if result["reference"] else "no ratios",
    ]
    if result["data"]:
        lines.append(
            f"accuracy and AUC on {result['data']['images']} images of {result['data']['name']}; "
            "99 %: at least this part of the accuracy in float32"
        )
    measured = [row for row in result["runners"] if row["status"] == "measured"]
    columns = [column for column in _COLUMNS if any(column[2](row) for row in measured)]
    names = {(row["network"], row["name"]): _name(row) for row in result["runners"]}
    width = max(map(len, names.values()), default=0) + 1
    for network in result["networks"]:
        size = f", {network['size']} px" if network["size"] else ""
        lines += ["", f"{network['name']}{size}"]
        lines.append(" " * width + "".join(f"{title:>{room}}" for title, room, _ in columns))
        for row in result["runners"]:
            if row["network"] == network["name"]:
                name = names[row["network"], row["name"]]
                lines.append(f"{name:{width}}" + (_cells(row, columns) if row in measured else _failure(row)))
    return "\n".join(lines)


def _name(row: Result) -> str:
    name, precision = str(row["name"]), row.get("precision")
    return name + (f" (floats as {precision})" if precision and precision != "f32" else "")


def _cells(row: Result, columns: Sequence[_Column]) -> str:
    return "".join(f"{text(row) or '-':>{room}}" for _, room, text in columns)


def _estimate(found: Result | None) -> str | None:
    return interval(found, "ms", 2)


def interval(found: Result | None, value: str, digits: int) -> str | None:
    """A figure and its interval, such as `2.84 (2.61-3.86)`; None without figure."""
    if found is None:
        return None
    text = f"{found[value]:.{digits}f}"
    if found["low"] is None:
        return text
    return f"{text} ({found['low']:.{digits}f}-{found['high']:.{digits}f})"


def _failure(row: Result) -> str:
    return str(row["reason"]) if row["status"] == "missing" else f"failed: {row['reason']}"


def _instructions(flags: Mapping[str, bool] | None) -> str:
    found = [name for name, there in (flags or {}).items() if there]
    return ", ".join(found) or "no vector instructions known"


def cold_start_table(result: Result) -> str:
    """The result of `export.benchmark.cold_start.cold_start`; each ratio is to the fastest with the same page cache."""
    lines = [f"{result['machine']['cpu']}, {result['threads']} thread(s), {result['rounds']} rounds, ms", ""]
    width = max(len(row["name"]) for row in result["runners"]) + 1
    lines.append(
        f"{'':{width}}{'cache':>8}{'p50 (95 %)':>19}{'p90':>8}{'ratio (95 %)':>18}{'CPU':>8}{'of it children':>16}"
        "  median of each part"
    )
    for row in result["runners"]:
        if row["status"] != "measured":
            lines.append(f"{row['name']:{width}}{_failure(row)}")
            continue
        for cache, found in row["page_cache"].items():
            parts = ", ".join(
                f"{part.replace('_', ' ')} {one['p50']['ms']:.0f}" for part, one in found["parts"].items()
            )
            p90 = found["total"]["p90"]
            lines.append(
                f"{row['name']:{width}}{cache:>8}{interval(found['total']['p50'], 'ms', 0):>19}"
                f"{interval(p90 and p90 | {'low': None}, 'ms', 0) or '-':>8}"
                f"{interval(found['ratio'], 'value', 1):>18}{found['cpu_ms']['p50']:8.0f}"
                f"{found['children_cpu_ms']['p50']:16.1f}  {parts}"
            )
    return "\n".join([*lines, "", *_memory_lines(result["runners"], width), "", *result["notes"]])


def _memory_lines(rows: Sequence[Result], width: int) -> list[str]:
    """The memory columns of cold starts, which the state of the page cache does not change."""
    columns = {
        "processes": "processes",
        "tree PSS MB": "tree_pss_mb",
        "of children": "children_uss_mb",
        "RSS MB": "resident_mb",
        "peak MB": "peak_mb",
    }
    lines = [" " * width + "".join(f"{title:>12}" for title in columns)]
    for row in rows:
        if row["status"] == "measured":
            cells = (row[field] for field in columns.values())
            texts = ("-" if value is None else f"{value:.0f}" for value in cells)
            lines.append(f"{row['name']:{width}}" + "".join(f"{text:>12}" for text in texts))
    return lines


def warm_path_table(result: Result) -> str:
    """The result of `export.benchmark.warm_path.warm_path`."""
    image = result["image"]
    lines = [f"{result['machine']['cpu']}, {result['threads']} thread(s), {result['rounds']} rounds", ""]
    lines.append(f"{'':22}" + "".join(f"{f'p{q} ms (95 %)':>24}" for q in (50, 90, 99)))
    for part, row in result["parts"].items():
        lines.append(f"{part:22}" + "".join(f"{_estimate(row[f'p{q}']) or '-':>24}" for q in (50, 90, 99)))
    decode, isolated = (interval(result[name], "value", 2) for name in ("decode_ratio", "isolated_decode_ratio"))
    lines += [
        "",
        f"Decoding a JPEG of {image['width']} x {image['height']} pixels takes {decode} of the time of Pillow's plain "
        "decoding and one resize,",
        f"and {isolated} of it in the worker process in which the service decodes.",
    ]
    return "\n".join(lines)
