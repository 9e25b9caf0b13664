"""A table of finished runs, for comparison.

python -m training compare runs/*
"""

from collections.abc import Sequence
from pathlib import Path

from training.errors import RunError
from training.network import widths
from training.pruning import cost
from training.run_folder import RunConfig, RunFolder, RunMetrics, RunState

_COLUMNS = ("run", "px", "G-MACs", "epochs", "seed", "init", "teachers", "minutes", "AUC", "corrupted AUC", "log loss")


def compare(folders: Sequence[Path]) -> tuple[str, list[Path]]:
    """Make a Markdown table of finished runs, sorted by their AUC on the corrupted validation set.

    The log loss is that of the operating point on validation images. The minutes depend on the machine.

    Returns:
        The table, and the folders that are left out because they are not finished runs.

    Raises:
        RunError: no folder is a finished run.
    """
    rows, others = [], []
    for folder in folders:
        run = RunFolder(folder)
        try:
            config, state, metrics = run.read_config(), run.read_state(), run.read_metrics()
        except RunError:
            others.append(folder)
        else:
            rows.append((metrics.corrupted["auc"], _row(run.name, config, state, metrics)))
    if not rows:
        raise RunError(f"none of {', '.join(map(str, folders))} is a finished run: `python -m training fit` makes one")
    rows.sort(key=lambda pair: -pair[0])
    lines = [_COLUMNS, ("---", *("---:" for _ in _COLUMNS[1:])), *(row for _, row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines), others


def _row(name: str, config: RunConfig, state: RunState, metrics: RunMetrics) -> tuple[str, ...]:
    recipe = config.recipe
    return (
        name,
        str(recipe.size),
        f"{cost(widths(recipe), recipe.size)[0] / 1e9:.2f}",
        str(metrics.epochs),
        str(recipe.seed),
        config.init,
        ", ".join(config.teachers) or "-",
        f"{sum(epoch['seconds'] for epoch in state.history) / 60:.0f}",
        f"{metrics.validation['auc']:.4f}",
        f"{metrics.corrupted['auc']:.4f}",
        f"{metrics.validation['log_loss']:.3f}",
    )
