"""What the alarms on the answers are set against: how often each kind of answer occurs for known images.

python -m infra.watch data/prepared
python -m infra.watch FOLDER

The first form takes the validation images of a prepared data set, the second a folder as for
`python -m handler calibrate`. The settings are those of a deployment, such as MODEL_BUNDLE and CALIBRATION.
"""

import io
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from handler.calibrate import labelled_files
from handler.command_help import parser_of
from handler.commands import run, suggest
from handler.contract import Contract
from handler.errors import FolderError, NotAnXray
from handler.files import read
from handler.imaging.decode import decode
from handler.loading import load
from handler.scoring import Predictor
from handler.settings import Settings
from handler.telemetry import score_of


def expected(predictor: Predictor, images: Iterator[tuple[Callable[[], bytes], int]]) -> dict[str, float]:
    """Shares and mean scores, each as the alarm of the same figure computes it.

    Args:
        images: each with the index of its label.

    Returns:
        Number of images `n`; shares `refused`, and, of the images that are scored, `unlike`, `uncertain` and `warned`;
        and `score`, with `score LABEL` for the images of each label. Images that cannot be read are left out.
    """
    labels = predictor.contract.labels
    refused, unlike, uncertain, warned = 0, [], [], []
    scores: list[list[float]] = [[] for _ in labels]
    for source, label in images:
        outcome = predictor.score_or_error(source)
        if isinstance(outcome, NotAnXray):
            refused += 1
        elif isinstance(outcome, dict):
            codes = {warning["code"] for warning in outcome["warnings"]}
            unlike.append("unlike_training" in codes)
            warned.append(bool(codes))
            uncertain.append(outcome["uncertain"])
            scores[label].append(score_of(predictor.contract, outcome))
    count = refused + len(warned)
    return {
        "n": count,
        "refused": refused / max(count, 1),
        "unlike": _mean(unlike),
        "uncertain": _mean(uncertain),
        "warned": _mean(warned),
        "score": _mean([score for found in scores for score in found]),
        **{f"score {label}": _mean(found) for label, found in zip(labels, scores, strict=True)},
    }


def images_of(folder: Path, contract: Contract) -> Iterator[tuple[Callable[[], bytes], int]]:
    """The images of a folder in either form, each with the index of its label.

    Raises:
        FolderError: it has neither form, or its labels are not those of the contract.
    """
    pixels = folder / "validation.npy"
    if not pixels.is_file():
        return iter([(partial(read, path), label) for path, label in labelled_files(folder, contract)])
    about = json.loads((folder / "split.json").read_text(encoding="utf-8"))
    if tuple(about["names"]) != contract.labels:
        raise FolderError(f"{folder} has the labels {about['names']}, the model has {list(contract.labels)}", folder)
    rows = zip(np.load(pixels, mmap_mode="r"), about["validation"], strict=True)
    return ((partial(_png, image), row["label"]) for image, row in rows)


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _mean(values: list[bool] | list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = parser_of(__doc__)
    parser.add_argument("folder", type=Path, help="prepared data set, or one folder of images for each label")
    options = parser.parse_args(arguments)
    return run(lambda: _print(options.folder))


def _print(folder: Path) -> None:
    settings = Settings.from_environment()
    predictor = Predictor(load(settings), decode, settings.prevalence)
    found = expected(predictor, images_of(folder, predictor.contract))
    width = max(map(len, found))
    sys.stdout.write("".join(f"{name:<{width}}  {value:.4g}\n" for name, value in found.items()))
    suggest("make deploy, with alarms in template.yaml that are set by these figures")


if __name__ == "__main__":
    sys.exit(main())
