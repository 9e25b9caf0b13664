"""The results of the benchmark as text tables."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

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
    ("of roof", 8, lambda row: None if row["share_of_roofline"] is None else f"{row['share_of_roofline']:.0%}"),
    ("accuracy", 9, lambda row: None if row["accuracy"] is None else f"{row['accuracy']:.2%}"),
    ("AUC", 7, lambda row: None if row["auc"] is None else f"{row['auc']:.4f}"),
)


def latency_table(result: Result) -> str:
    """The result of `export.benchmark.latency`, fastest first; below it the runners that did not run, and why."""
    rows = [row for row in result["runners"] if row["status"] == "measured"]
    others = [row for row in result["runners"] if row["status"] != "measured"]
    slowest = max((row["p50_ms"] for row in rows), default=0)
    names = {
        row["name"]: row["name"] + (f" (floats as {row['precision']})" if row.get("precision") else "") for row in rows
    }
    width = max(len(name) for name in [*names.values(), *(row["name"] for row in others)]) + 1
    roofline = result["int8_roofline_gmacs_per_second"]
    lines = [
        f"{result['machine']['cpu']}, {_instructions(result['machine']['flags'])}, {result['threads']} thread(s), "
        + (f"int8 roofline {roofline:.0f} G-MACs per second" if roofline else "int8 roofline not measured"),
        f"network of the other runtimes: {result['network']['name']}, {result['network']['size']} px",
    ]
    if result["data"]:
        lines.append(f"accuracy and AUC on {result['data']['images']} images of {result['data']['name']}")
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


def cold_start_table(result: Result) -> str:
    """The result of `export.benchmark.cold_start.cold_start`; each ratio is to the fastest with the same page cache."""
    lines = [f"{result['machine']['cpu']}, {result['threads']} thread(s), {result['rounds']} rounds, ms", ""]
    width = max(len(row["name"]) for row in result["runners"]) + 1
    lines.append(
        f"{'':{width}}{'cache':>8}{'p50':>8}{'p90':>8}{'ratio':>7}{'CPU':>8}{'of it children':>16}  median of each part"
    )
    for row in result["runners"]:
        if row["status"] != "measured":
            lines.append(f"{row['name']:{width}}{_failure(row)}")
            continue
        for cache, found in row["page_cache"].items():
            parts = ", ".join(f"{part.replace('_', ' ')} {ms['p50']:.0f}" for part, ms in found["parts_ms"].items())
            lines.append(
                f"{row['name']:{width}}{cache:>8}{found['total_ms']['p50']:8.0f}{found['total_ms']['p90']:8.0f}"
                f"{found['ratio']:6.1f}x{found['cpu_ms']['p50']:8.0f}{found['children_cpu_ms']['p50']:16.1f}  {parts}"
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
    lines.append(f"{'':22}{'p50 ms':>9}{'p99 ms':>9}")
    lines += [f"{part:22}{row['p50_ms']:9.2f}{row['p99_ms']:9.2f}" for part, row in result["parts"].items()]
    lines += [
        "",
        f"Decoding a JPEG of {image['width']} x {image['height']} pixels takes {result['decode_ratio']:.2f} of the "
        "time of Pillow's plain decoding and one resize,",
        f"and {result['isolated_decode_ratio']:.2f} of it in the worker process in which the service decodes.",
    ]
    return "\n".join(lines)
