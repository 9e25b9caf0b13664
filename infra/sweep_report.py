"""Write the results of a sweep over memory sizes as a table, JSON and a plot."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from handler.files import write_atomically, write_json
from infra import markdown
from infra.cost import API_MILLION_REQUESTS, PRICES
from infra.sizing import Percentiles, Size


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """The results of a sweep."""

    date: str
    """UTC, ISO 8601."""

    machine: dict[str, Any]
    """`cpu`, `cores`, `load` (cores in use before the start), `system` and `engine`."""

    model: dict[str, str]
    """`name`, `version` and `sha256`."""

    image: dict[str, str]
    """`name`, `id` and `architecture` (Lambda's name for it)."""

    xray_bytes: int
    within: float
    """Maximum ratio to the best p95 for the recommended size."""

    recommended_mb: int
    sizes: Sequence[Size]

    def to_json(self) -> dict[str, Any]:
        """Return all fields, and the source of the prices."""
        return {**dataclasses.asdict(self), "prices": PRICES}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """From what `to_json` returned."""
        sizes = [
            Size(**{**size, **{name: Percentiles(**size[name]) for name in ("duration_ms", "round_trip_ms")}})
            for size in fields["sizes"]
        ]
        return cls(**{name: value for name, value in fields.items() if name != "prices"} | {"sizes": sizes})


def table(sweep: Sweep) -> str:
    """Make a Markdown table with notes."""
    labels = _price_labels(sweep)
    heads = [
        "MB",
        "vCPU",
        "cold start s",
        "initialization s",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "client's p95 ms",
        "billed ms",
    ]
    heads += [f"$ per million, {label}" for label in labels.values()]
    rows = [
        [
            f"**{size.memory_mb}**" if size.memory_mb == sweep.recommended_mb else f"{size.memory_mb}",
            f"{size.vcpus:.2f}" if size.whole else f"{size.vcpus:.2f} ({size.measured_vcpus:g} here)",
            f"{size.cold_s_p50:.2f}",
            f"{size.init_s_p50:.2f}",
            *(f"{ms:.1f}" for ms in dataclasses.astuple(size.duration_ms)),
            f"{size.round_trip_ms.p95:.1f}",
            f"{size.billed_ms:.1f}",
            *(f"{size.dollars_per_million[name]:.2f}" for name in labels),
        ]
        for size in sweep.sizes
    ]
    return "\n".join([markdown.table(heads, rows, left=0), "", *_notes(sweep)])


def _notes(sweep: Sweep) -> list[str]:
    machine, first = sweep.machine, sweep.sizes[0]
    notes = [
        f"Model {sweep.model['version']}; {machine['cpu']}, {machine['cores']} cores, {sweep.date[:10]}; an X-ray of "
        f"{sweep.xray_bytes / 1000:.0f} kB; of each size, cold starts: {first.cold_starts}, warm predictions: "
        f"{first.predictions}.",
        f"Dollars by {PRICES}; API Gateway adds ${API_MILLION_REQUESTS:.2f} per million.",
    ]
    if machine["load"] > machine["cores"] / 4:
        notes.append(f"The machine was busy: programs used {machine['load']:.1f} cores. Measure again.")
    if not all(size.whole for size in sweep.sizes):
        notes.append(f"Sizes marked '{machine['cores']} here' had less CPU than on Lambda, and are not recommended.")
    rule = f"the cheapest whose warm p95 is within {sweep.within:g} of the best"
    return [*notes, f"Recommended: MemorySize {sweep.recommended_mb}, {rule}."]


def save(sweep: Sweep, folder: Path) -> None:
    """Write `sweep.json`, `sweep.md` and `sweep.png`, each atomically."""
    write_json(folder / "sweep.json", sweep.to_json())
    text = table(sweep) + "\n"
    write_atomically(folder / "sweep.md", lambda temporary: temporary.write_text(text, encoding="utf-8"))
    plot(sweep, folder / "sweep.png")


def plot(sweep: Sweep, path: Path) -> None:
    """Plot time and cost by memory. Sizes that had less CPU than on Lambda have hollow markers."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), layout="constrained")
    warm, cold, money = figure.subplots(1, 3)
    memory = [size.memory_mb for size in sweep.sizes]
    lines = [
        *((warm, name, [getattr(size.duration_ms, name) for size in sweep.sizes]) for name in ("p50", "p95", "p99")),
        (cold, "first answer", [size.cold_s_p50 for size in sweep.sizes]),
        (cold, "initialization", [size.init_s_p50 for size in sweep.sizes]),
        *(
            (money, label, [size.dollars_per_million[name] for size in sweep.sizes])
            for name, label in _price_labels(sweep).items()
        ),
    ]
    for axes, label, values in lines:
        (line,) = axes.plot(memory, values, label=label)
        for size, value in zip(sweep.sizes, values, strict=True):
            face = line.get_color() if size.whole else "white"
            axes.plot(size.memory_mb, value, "o", color=line.get_color(), markerfacecolor=face)
    for axes, label in ((warm, "warm prediction, ms"), (cold, "cold start, s"), (money, "$ per million predictions")):
        axes.axvline(sweep.recommended_mb, color="0.8", linewidth=6, zorder=0)
        axes.set(xlabel="memory, MB", ylabel=label, ylim=(0, None))
        axes.legend()
    write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=120))


def _price_labels(sweep: Sweep) -> dict[str, str]:
    """Return a label for each architecture: the measured one, and the other one as if it had the same speed."""
    mine = sweep.image["architecture"]
    return {mine: mine} | {name: f"{name} at this speed" for name in sweep.sizes[0].dollars_per_million if name != mine}
