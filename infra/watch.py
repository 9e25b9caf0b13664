"""Compute reference values for the alarms on predictions: how often each kind of result occurs for known images.

python -m infra.watch data/prepared
python -m infra.watch FOLDER --out runs/watch.json

The first form takes the validation images of a prepared data set, the second a folder as for
`python -m handler calibrate`, or a folder of images without labels. The settings are those of a deployment, such as
MODEL_BUNDLE and CALIBRATION.
"""

import json
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from handler.calibrate import labelled_files
from handler.command_help import parser_of
from handler.commands import run, suggest
from handler.contract import Contract
from handler.errors import FolderError, NotAnXray
from handler.files import read, write_json
from handler.imaging.decode import decode
from handler.loading import load
from handler.preview import png
from handler.scoring import Predictor, identity
from handler.settings import Settings
from handler.telemetry import score_of


def expected(predictor: Predictor, images: Iterable[tuple[Callable[[], bytes], int | None]]) -> dict[str, float]:
    """Shares and mean scores, each as the alarm of the same figure computes it.

    Args:
        images: each with the index of its label, or None.

    Returns:
        Number of images `n`; shares `refused`, and, of the images that are scored, `unlike`, `uncertain` and `warned`;
        and `score`, with `score LABEL` for the images of each label that occurs. Images that cannot be read are left
        out.
    """
    labels = predictor.contract.labels
    refused, unlike, uncertain, warned = 0, [], [], []
    scores: dict[str, list[float]] = {}
    for source, label in images:
        outcome = predictor.score_or_error(source)
        if isinstance(outcome, NotAnXray):
            refused += 1
        elif isinstance(outcome, dict):
            codes = {warning["code"] for warning in outcome["warnings"]}
            unlike.append("unlike_training" in codes)
            warned.append(bool(codes))
            uncertain.append(outcome["uncertain"])
            name = "score" if label is None else f"score {labels[label]}"
            scores.setdefault(name, []).append(score_of(predictor.contract, outcome))
    count = refused + len(warned)
    return {
        "n": count,
        "refused": refused / max(count, 1),
        "unlike": _mean(unlike),
        "uncertain": _mean(uncertain),
        "warned": _mean(warned),
        "score": _mean([score for found in scores.values() for score in found]),
        **{name: _mean(scores[name]) for name in sorted(scores) if name != "score"},
    }


def images_of(folder: Path, contract: Contract) -> Iterable[tuple[Callable[[], bytes], int | None]]:
    """The images of a folder in any of the forms, each with the index of its label, or None.

    Raises:
        FolderError: it has none of the forms, or its labels are not those of the contract.
    """
    pixels = folder / "validation.npy"
    if not pixels.is_file():
        entries = [path for path in sorted(folder.glob("*")) if not path.name.startswith(".")]
        if not entries:
            problem = "has no images" if folder.is_dir() else "is not a folder"
            forms = f"a prepared data set, images without labels, or the folders {', '.join(contract.labels)}"
            raise FolderError(f"{folder} {problem}: give a folder that holds {forms}", folder)
        if any(path.is_dir() for path in entries):
            return [(partial(read, path), label) for path, label in labelled_files(folder, contract)]
        return [(partial(read, path), None) for path in entries]
    about = json.loads((folder / "split.json").read_text(encoding="utf-8"))
    if tuple(about["names"]) != contract.labels:
        raise FolderError(f"{folder} has the labels {about['names']}, the model has {list(contract.labels)}", folder)
    rows = zip(np.load(pixels, mmap_mode="r"), about["validation"], strict=True)
    return ((partial(png, np.asarray(image)), int(row["label"])) for image, row in rows)


def _mean(values: list[bool] | list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = parser_of(__doc__)
    parser.add_argument("folder", type=Path, help="prepared data set, images, or one folder of images for each label")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="also write the figures there")
    options = parser.parse_args(arguments)
    return run(lambda: _print(options.folder, options.out))


def _print(folder: Path, out: Path | None) -> None:
    settings = Settings.from_environment()
    predictor = Predictor(load(settings), decode, settings.prevalence)
    found = expected(predictor, images_of(folder, predictor.contract))
    if not found["n"]:
        raise FolderError(f"{folder} has no image that can be read: name another folder", folder)
    width = max(map(len, found))
    sys.stdout.write("".join(f"{name:<{width}}  {value:.4g}\n" for name, value in found.items()))
    if out:
        about = {"date": datetime.now(UTC).date().isoformat(), "model": identity(predictor.contract)}
        write_json(out, {**about, "data": folder.resolve().name, "figures": found})
        sys.stdout.write(f"the figures are in {out}\n")
    suggest("make deploy ARGS=--guided, and set the parameters of the alarms by these figures")


if __name__ == "__main__":
    sys.exit(main())
