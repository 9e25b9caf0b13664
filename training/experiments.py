"""What was tried, side by side: one row for each run folder.

python -m training compare runs/*
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.config import Recipe
from training.errors import RunError
from training.network import widths
from training.slim import cost

_COLUMNS = ("run", "px", "G-MACs", "epochs", "seed", "start", "taught by", "minutes", "AUC", "stressed AUC", "log loss")

_FILES = ("config", "state", "metrics")


def compare(folders: Sequence[Path]) -> tuple[str, list[Path]]:
    """A Markdown table of finished runs, best ranking of stressed validation pictures first.

    Log loss is at the chosen temperature, on validation pictures as they are; minutes are those of the machine that
    trained, where they were written down.

    Returns:
        The table, and the folders that are not in it because they are no finished runs.

    Raises:
        RunError: none is.
    """
    runs = [folder for folder in folders if all((folder / f"{name}.json").is_file() for name in _FILES)]
    if not runs:
        raise RunError(f"no finished run among {', '.join(map(str, folders))}: `python -m training fit` makes one")
    found = sorted(((_stressed(run), _row(run)) for run in runs), key=lambda pair: -pair[0])
    lines = [_COLUMNS, ("---", *("---:" for _ in _COLUMNS[1:])), *(row for _, row in found)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return table, [folder for folder in folders if folder not in runs]


def _row(run: Path) -> tuple[str, ...]:
    config, state, metrics = (_read(run, name) for name in _FILES)
    recipe = Recipe.from_dict(config["recipe"])
    seconds = [epoch.get("seconds") for epoch in state["history"]]
    return (
        run.name,
        str(recipe.size),
        f"{cost(widths(recipe), recipe.size)[0] / 1e9:.2f}",
        str(metrics["epochs"]),
        str(recipe.seed),
        config["init"],
        ", ".join(config.get("teachers", [])) or "labels",
        f"{sum(seconds) / 60:.0f}" if seconds and None not in seconds else "-",
        f"{metrics['validation']['auc']:.4f}",
        f"{metrics['stress']['auc']:.4f}",
        f"{metrics['validation']['log_loss']:.3f}",
    )


def _stressed(run: Path) -> float:
    return float(_read(run, "metrics")["stress"]["auc"])


def _read(run: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((run / f"{name}.json").read_text(encoding="utf-8")))
