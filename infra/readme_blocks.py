"""The blocks of figures in the READMEs, each written from the JSON files of one measurement."""

import json
import statistics
from collections.abc import Callable, Mapping
from typing import Any

from infra import cold_start, cost, http_cost, sweep_report
from infra.cost import PRICES
from infra.engine import ROOT
from infra.http_cost import million
from infra.markdown import table
from infra.sweep_report import Sweep

MODEL = ROOT / "handler" / "model" / "model.json"

FILES = {
    "answers": ROOT / "infra" / "figures" / "validation_answers.json",
    "adults": ROOT / "infra" / "figures" / "adults.json",
    "images": ROOT / "infra" / "figures" / "cold_start.json",
    "sweep": ROOT / "infra" / "figures" / "sweep.json",
    "robustness": ROOT / "training" / "figures" / "robustness.json",
}
"""What the measurements wrote."""

LAMBDA_IMAGE, SERVER_IMAGE = "xray:lambda", "xray:server"
ENTRY = "runtime client and entry"


class FigureError(RuntimeError):
    """A JSON file is missing, or has the figures of another model; the message names the remedy."""


def contract() -> dict[str, Any]:
    """What the shipped bundle says about itself."""
    return dict(json.loads(MODEL.read_text(encoding="utf-8")))


def figures(name: str) -> dict[str, Any]:
    """The content of one of `FILES`.

    Raises:
        FigureError: it is missing, or was measured with another model than the shipped one.
    """
    path = FILES[name]
    if not path.is_file():
        raise FigureError(f"{path.relative_to(ROOT)} does not exist: measure with make figures")
    found = dict(json.loads(path.read_text(encoding="utf-8")))
    shipped = contract()
    for model in models(found):
        if model["version"] != shipped["version"]:
            raise FigureError(
                f"{path.relative_to(ROOT)} has figures of model {model['version']}, but {shipped['version']} is "
                "shipped: measure again with make figures"
            )
    return found


def models(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The models whose figures are in a file.

    Raises:
        FigureError: the file names none.
    """
    of_images = [image["model"] for image in found.get("images", {}).values()]
    named = [found["model"]] if "model" in found else of_images
    if not named:
        raise FigureError("a file of figures does not say of which model they are: measure again with make figures")
    return named


def results() -> str:
    """Metrics of the shipped model."""
    metrics = contract()["metrics"]
    validation, test = metrics["validation_int8"], metrics["test"]
    shares = {"accuracy": "accuracy", "sensitivity": "sensitivity", "specificity": "specificity"}
    numbers = {"auc": "AUC", **shares, "ece": "calibration error (ECE)", "log_loss": "log loss"}
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
    mirrored, same = changes["changes"]["mirrored"], changes["changes"]["none"]
    known, other = answers["figures"], adults["figures"]
    return (
        f"- `unlike_training` warns of {_percent(other['unlike'])} of the {other['n']} X-rays of adults from "
        f"[NIH ChestX-ray14](https://arxiv.org/abs/1705.02315)\n  that are not refused ({_percent(other['refused'])} "
        f"are), and of {_percent(known['unlike'])} of the validation images.\n"
        f"- {_percent(mirrored['warned'])} of mirrored validation images get a warning or are refused, and "
        f"{_percent(same['warned'])} of unchanged ones.\n  {_percent(mirrored['changed'])} of the decisions change "
        f"when the image is mirrored, {_percent(mirrored['unwarned'])} without a warning."
    )


def robustness() -> str:
    """How decisions depend on changes of the images."""
    found = figures("robustness")["changes"]
    heads = ["change", "sensitivity", "specificity", "decisions changed", "warned or refused", "changed, not warned"]
    columns = ("sensitivity", "specificity", "changed", "warned", "unwarned")
    return table(heads, [[name, *(_percent(row[column]) for column in columns)] for name, row in found.items()])


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
    return table(heads, cells, left=3)


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
    return f"{_machine(found)}, medians of {rounds} rounds:\n\n{cold_start.table(found)}"


def sweep() -> str:
    """The memory sizes of Lambda."""
    return sweep_report.table(Sweep.from_json(figures("sweep")))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _machine(found: Mapping[str, Any]) -> str:
    return f"{found['machine']['cpu']}, {found['machine']['cores']} cores, {found['date'][:10]}"


BLOCKS: dict[str, Callable[[], str]] = {
    "results": results,
    "limits": limits,
    "costs": costs,
    "robustness": robustness,
    "alarms": alarms,
    "http-costs": http_costs,
    "bulk-costs": bulk_costs,
    "snapstart": snapstart,
    "image-cold-starts": images,
    "sweep": sweep,
}
"""By the name in the marker: what writes the block."""
