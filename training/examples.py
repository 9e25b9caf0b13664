"""Choose the examples that the page offers with a bundle: one X-ray for each class, and one with an uncertain answer.

python -m training.examples --data data/prepared --images chest_xray --credit xrays

The examples belong to one bundle, so choose them again for a new one. Check before that the licence of the data set
allows to distribute its images.
"""

import io
import json
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from handler.classifier import Classifier
from handler.command_help import parser_of
from handler.commands import needing_packages, program, run
from handler.contract import EMBEDDED_BUNDLE, Contract
from handler.errors import InputError
from handler.explain import FULL
from handler.files import write_atomically, write_json
from handler.imaging.decode import decode
from handler.scoring import Prediction, Predictor
from training.errors import DataError, TrainingError

with needing_packages("train"):
    from training.prepare import Prepared, load

FOLDER = Path(__file__).parents[1] / "handler" / "page" / "examples"
INDEX = "index.json"
UNCERTAIN = "Uncertain"

MAX_SIDE = 512
MAX_BYTES = 60_000
"""Limits on one example, in pixels and bytes: it is part of the deployed image, and phones load it."""

MAPS = 20
"""Of the images most like the training images, this many are explained."""

_MARGIN = 0.05
"""Least difference of a probability from each threshold: int8 arithmetic differs a little between CPUs."""

_QUALITY = 85


def choose(prepared: Prepared, images: Path, bundle: Path, credit: str, folder: Path = FOLDER) -> list[str]:
    """Choose and write the examples, and list them in the index. Other entries of the index, such as that of an image
    that is no X-ray, are kept.

    An example is a validation image whose answer is clearly right and has no warning, as it is written: a greyscale
    JPEG without metadata. Of several, the one most like the training images is chosen. If its map is about its label,
    the map should mark a region.

    Args:
        images: the folder that was prepared.
        credit: key of `credits` in the index.
        folder: of the index and the examples.

    Returns:
        The names of the files.

    Raises:
        DataError: the index does not have the credit, or no validation image fits a place.
        OSError: a file cannot be read or written.
    """
    index: dict[str, Any] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    if credit not in index["credits"]:
        raise DataError(f"{folder / INDEX} has no credit `{credit}`: write whose images they are under `credits`")
    predictor = Predictor(Classifier(bundle, threads=1), decode)
    fitting: dict[str, list[tuple[float, bytes]]] = {}
    for data, label in _candidates(prepared, images):
        try:
            found = predictor.predict(data)
        except InputError:
            continue
        right = found["label"] == label and not found["warnings"]
        if not right or len(data) > MAX_BYTES or _margin(found, predictor.contract) < _MARGIN:
            continue
        title = UNCERTAIN if found["uncertain"] else label
        fitting.setdefault(title, []).append((found["distance"], data))
    titles = (*predictor.contract.labels, UNCERTAIN)
    if missing := [title for title in titles if title not in fitting]:
        raise DataError(f"no validation image has a right answer without a warning for: {', '.join(missing)}")
    entries: list[dict[str, Any]] = []
    files = []
    for number, title in enumerate(titles, 1):
        data, found = _best(predictor, [data for _, data in sorted(fitting[title])])
        file = f"example-{number}.jpg"
        write_atomically(folder / file, partial(_write, data))
        expected = {"label": found["label"], "uncertain": found["uncertain"]}
        files.append(file)
        entries.append({"file": file, "title": title, "credit": credit, "expected": expected})
    for path in folder.glob("example-*.jpg"):
        if path.name not in files:
            path.unlink()
    others = [entry for entry in index["examples"] if "label" not in entry["expected"]]
    write_json(folder / INDEX, index | {"model": predictor.contract.sha256, "examples": entries + others})
    return files


def _best(predictor: Predictor, images: list[bytes]) -> tuple[bytes, Prediction]:
    """The first image, or the first of `MAPS` whose map is about its label and marks a region."""
    found = [(data, predictor.predict(data, explain=True)) for data in images[:MAPS]]
    marked = [pair for pair in found if _marks_its_label(pair[1])]
    return (marked or found)[0]


def _marks_its_label(found: Prediction) -> bool:
    explanation = found["explanation"]
    return explanation["label"] == found["label"] and bool(np.max(explanation["map"]) >= FULL)


def _write(data: bytes, path: Path) -> None:
    path.write_bytes(data)


def _margin(found: Prediction, contract: Contract) -> float:
    """How far the probabilities are from giving another label or another prediction set."""
    probabilities = [found["probabilities"][label] for label in contract.labels]
    to_sets = [abs(p - least) for p, least in zip(probabilities, contract.set_thresholds, strict=True)]
    if contract.threshold is None:
        second, first = sorted(probabilities)[-2:]
        return min(first - second, *to_sets)
    return min(abs(probabilities[1] - contract.threshold), *to_sets)


def _candidates(prepared: Prepared, images: Path) -> Iterator[tuple[bytes, str]]:
    """The validation images as examples are written, each with its label."""
    for file, label in zip(prepared.files["validation"], prepared.labels["validation"], strict=True):
        with Image.open(images / file) as image:
            grey = image.convert("L")
        grey.thumbnail((MAX_SIDE, MAX_SIDE))
        grey.info.clear()
        written = io.BytesIO()
        grey.save(written, "JPEG", quality=_QUALITY, optimize=True)
        yield written.getvalue(), prepared.names[label]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = parser_of(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="prepared folder, whose validation images are used")
    parser.add_argument("--images", type=Path, required=True, help="the folder that was prepared")
    parser.add_argument("--credit", required=True, help=f"key of `credits` in {INDEX}")
    parser.add_argument("--model", type=Path, default=EMBEDDED_BUNDLE, help="a bundle folder")
    options = parser.parse_args(arguments)

    def written() -> None:
        files = choose(load(options.data), options.images, options.model, options.credit)
        print(f"{', '.join(files)} are in {FOLDER}; look at them before you publish them")  # noqa: T201

    return run(
        written,
        refused=(TrainingError,),
        prog=program("training.examples"),
        arguments=arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
