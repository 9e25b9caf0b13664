"""The blocks of figures in the READMEs, each written from the JSON files of one measurement."""

import statistics
from collections.abc import Callable

from infra import cold_start, cost, http_cost, readme_benchmark, sweep_report
from infra.cold_start import ENTRY
from infra.cost import PRICES
from infra.http_cost import million
from infra.markdown import table
from infra.readme_files import contract, figures, machine, percent
from infra.sweep_report import Sweep

LAMBDA_IMAGE = "xray:lambda"


def results() -> str:
    """Metrics of the shipped model."""
    metrics = contract()["metrics"]
    validation, test = metrics["validation_int8"], metrics["test"]
    shares = {"accuracy": "accuracy", "sensitivity": "sensitivity", "specificity": "specificity"}
    numbers = {"auc": "AUC", **shares, "ece": "calibration error (ECE)"}
    rows = []
    for name, title in numbers.items():
        low, high = test["intervals"][name]
        values = [validation[name], test[name], low, high]
        cells = [f"{100 * value:.1f}" if name in shares else f"{value:.3f}" for value in values]
        unit = " %" if name in shares else ""
        rows.append([title, f"{cells[0]}{unit}", f"{cells[1]}{unit}", f"{cells[2]} to {cells[3]}"])
    heads = ["", f"validation, {validation['n']} images", f"test, {test['n']} images", "95 % interval on test"]
    return table(heads, rows)


def limits() -> str:
    """How often warnings are right and wrong."""
    changes, answers, adults = (figures(name) for name in ("robustness", "answers", "adults"))
    mirrored, screen, same = (changes["changes"][name] for name in ("mirrored", "photographed from a screen", "none"))
    known, other = answers["figures"], adults["figures"]
    return (
        f"- Of {other['n']:,} X-rays of [NIH ChestX-ray14](https://arxiv.org/abs/1705.02315), 64 pixels wide and "
        f"mostly of adults, {percent(other['refused'])}\n  are refused, and {percent(other['unlike'])} of the "
        f"others get the warning `unlike_training`. {percent(known['unlike'])} of the validation images get it.\n"
        f"- {percent(mirrored['warned'])} of mirrored validation images, {percent(screen['warned'])} of simulated "
        f"photographs of a screen and {percent(same['warned'])} of unchanged images get a\n  warning or are refused. "
        f"{percent(mirrored['unwarned'])} of the mirrored images and {percent(screen['unwarned'])} of the photographs "
        f"get another label without a warning."
    )


def explanations() -> str:
    """What blurring the marked part of an image does."""
    found = figures("explanations")
    lowered = {name: fall["mean"] for name, fall in found["lowered"].items()}
    return (
        f"On {found['images']['positive']} validation images of {contract()['labels'][-1]}, blurring the quarter that "
        f"the map marks lowers the log odds by\n{lowered['marked']:.2f}. Blurring a random quarter lowers them by "
        f"{lowered['random']:.2f}, and blurring the quarter that the map of another image\nmarks by "
        f"{lowered['other']:.2f}."
    )


def robustness() -> str:
    """How decisions depend on changes of the images."""
    found = figures("robustness")["changes"]
    heads = ["change", "sensitivity", "specificity", "decisions changed", "warned or refused", "changed, not warned"]
    columns = ("sensitivity", "specificity", "changed", "warned", "unwarned")
    return table(heads, [[name, *(percent(row[column]) for column in columns)] for name, row in found.items()])


def alarms() -> str:
    """What the alarms on the answers are set against."""
    known = figures("answers")["figures"]
    rows = (
        ("UnlikeAlarm", "share of scored images with `unlike_training`", "unlike", "above `MostUnlike`, 0.15"),
        ("RefusalAlarm", "share of images that are refused as no X-rays", "refused", "above `MostRefused`, 0.05"),
        ("UncertainAlarm", "share of scored images that are uncertain", "uncertain", "above `MostUncertain`, 0.15"),
        ("ScoreAlarm", "mean score", "score", "below `LeastMeanScore`, 0.02, or above `MostMeanScore`, 0.97"),
    )
    heads = ["alarm", "figure", "fires", f"validation, n = {known['n']}"]
    cells = [[f"`{alarm}`", title, fires, f"{known[name]:.3f}"] for alarm, title, name, fires in rows]
    scores = ", ".join(f"{known[f'score {label}']:.2f} for {label}" for label in contract()["labels"])
    return f"{table(heads, cells, left=3)}\n\nThe mean score by class: {scores}."


def billed_ms() -> tuple[float, int]:
    """The mean billed milliseconds of a warm prediction, and the MB of memory, of the recommended size."""
    found = figures("sweep")
    (size,) = (size for size in found["sizes"] if size["memory_mb"] == found["recommended_mb"])
    return round(size["billed_ms"], 1), size["memory_mb"]


def init_ms() -> float:
    """CPU milliseconds of an initialization on Lambda."""
    times: list[float] = figures("images")["images"][LAMBDA_IMAGE]["cpu_ms"][ENTRY]
    return round(statistics.median(times))


def costs() -> str:
    """A million predictions, in one line."""
    ms, memory = billed_ms()
    dollars = [
        sum(million(door, "x86_64", ms=ms, init_ms=init_ms(), cold=0.01, memory=memory).values())
        for door in ("REST_API", "FUNCTION_URL")
    ]
    bulk = cost.estimate(1_000_000, ms, memory=memory).total
    heads = ["REST API, 1 % cold starts", "function URL, 1 % cold starts", "bulk"]
    return table(heads, [[f"${value:.2f}" for value in (*dollars, bulk)]], left=0)


def http_costs() -> str:
    """A million predictions over HTTPS, by what they are paid for."""
    ms, memory = billed_ms()
    return (
        f"`python -m infra.http_cost --ms {ms:g} --init-ms {init_ms():g}`, for {memory} MB:\n\n"
        f"{http_cost.table(ms=ms, init_ms=init_ms(), memory=memory)}"
    )


def bulk_costs() -> str:
    """Bulk runs."""
    ms, memory = billed_ms()
    return f"`python -m infra.cost --ms {ms:g}`, for {memory} MB ({PRICES}):\n\n{cost.table(ms, memory=memory)}"


def snapstart() -> str:
    """What SnapStart costs."""
    return http_cost.snapstart(init_ms=init_ms(), memory=billed_ms()[1])


def images() -> str:
    """CPU time of a cold start in the images."""
    found = figures("images")
    rounds = len(next(iter(found["images"].values()))["cpu_ms"][ENTRY])
    return f"{machine(found)}, medians of {rounds} rounds:\n\n{cold_start.table(found)}"


def sweep() -> str:
    """The memory sizes of Lambda."""
    return sweep_report.table(Sweep.from_json(figures("sweep")))


BLOCKS: dict[str, Callable[[], str]] = {
    "results": results,
    "limits": limits,
    "costs": costs,
    "explanations": explanations,
    "robustness": robustness,
    "alarms": alarms,
    "http-costs": http_costs,
    "bulk-costs": bulk_costs,
    "snapstart": snapstart,
    "image-cold-starts": images,
    "sweep": sweep,
    **readme_benchmark.BLOCKS,
}
"""By the name in the marker: what writes the block."""
