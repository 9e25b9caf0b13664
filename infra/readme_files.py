"""The JSON files of the measurements whose figures are in the READMEs."""

import json
from collections.abc import Mapping
from typing import Any

from infra.engine import ROOT

MODEL = ROOT / "handler" / "model" / "model.json"

FILES = {
    "benchmark": ROOT / "export" / "benchmark" / "figures" / "benchmark.json",
    "cold_start": ROOT / "export" / "benchmark" / "figures" / "cold_start.json",
    "warm_path": ROOT / "export" / "benchmark" / "figures" / "warm_path.json",
    "server": ROOT / "export" / "benchmark" / "figures" / "server.json",
    "answers": ROOT / "infra" / "figures" / "validation_answers.json",
    "adults": ROOT / "infra" / "figures" / "adults.json",
    "images": ROOT / "infra" / "figures" / "cold_start.json",
    "sweep": ROOT / "infra" / "figures" / "sweep.json",
    "explanations": ROOT / "training" / "figures" / "explanations.json",
    "robustness": ROOT / "training" / "figures" / "robustness.json",
}
"""What the measurements wrote."""


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
        if model["version"] != shipped["version"] or model.get("sha256", shipped["sha256"]) != shipped["sha256"]:
            raise FigureError(
                f"{path.relative_to(ROOT)} has figures of another model than {shipped['name']} {shipped['version']}, "
                "which is shipped: measure again with make figures"
            )
    return found


def models(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The models whose figures are in a file.

    Raises:
        FigureError: the file names none.
    """
    if "model" in found:
        return [found["model"]]
    of_images = [image["model"] for image in found.get("images", {}).values()]
    named = of_images + [network for network in found.get("networks", []) if network["version"]]
    if not named:
        raise FigureError("a file of figures does not say of which model they are: measure again with make figures")
    return named


def machine(found: Mapping[str, Any]) -> str:
    """The model, the CPU and the date of a measurement."""
    flags = [name for name, there in (found["machine"].get("flags") or {}).items() if there]
    instructions = f" ({', '.join(flags)})" if flags else ""
    return (
        f"Model {models(found)[0]['version']}, {found['machine']['cpu']}{instructions}, {found['machine']['cores']} "
        f"cores, {found['date'][:10]}"
    )


def percent(share: float) -> str:
    """A share as a percentage."""
    return f"{100 * share:.1f} %"
