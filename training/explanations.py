"""Explanation evaluation: check that the occlusion maps of a bundle show what its network uses.

    python -m training explanations --model handler/model --data data/prepared

A plausible map may be wrong: maps of Grad-CAM can look right and stay the same for other images or other weights
(Adebayo et al. 2018, "Sanity checks for saliency maps", arXiv 1810.03292). This evaluation blurs what a map marks and
scores the image again, and compares with random regions, with the maps of other images, and with the maps of networks
that have randomized weights. Deletion and insertion curves are those of Petsiuk et al. 2018 ("RISE", arXiv 1806.07421).
Only validation images are used.
"""

import dataclasses
import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from handler.classifier import Classifier
from handler.contract import CONTRACT_FILE, MODEL_FILE, load_bundle
from handler.files import write_json
from handler.imaging.decode import Pixels
from handler.occlusion import Score, blur, log_odds, occlusion_map
from handler.scoring import identity
from training.augment import resize
from training.errors import DataError
from training.prepare import Prepared
from training.progress import progress

POSITIVES, NEGATIVES = 150, 60
"""Maximum number of validation images of each class to explain. They are sampled at random."""

MARKED = 0.25
"""Share of an image's pixels that its map marks: those with the highest values."""

BLUR = 0.2
"""Standard deviation of the blur that removes marked pixels, as a share of the image's width: twice that of the maps.
Half of it raises the log odds in random regions too, because a slightly blurred image gets a higher score."""

DRAWS = 3
"""Random regions for each image; networks with randomized weights."""

SHARES = np.arange(11) / 10
"""Shares of the pixels at which deletion and insertion curves are measured."""

_BATCH = 32

P = ParamSpec("P")
Result = TypeVar("Result")

Maps = npt.NDArray[np.float32]
"""`[N, GRID, GRID]`, see `handler.occlusion.occlusion_map`."""


def evaluate_explanations(model: Path, data: Prepared, out: Path) -> dict[str, Any]:
    """Evaluate the occlusion maps of a bundle; save `explanations.json` and `explanations.png`.

    Args:
        model: a bundle folder.
        data: uint8 images and labels of the validation split.
        out: folder for the two files.

    Returns:
        Results on positive images; `images` and `highest` also contain results on negative images.

        - `images`: number of images.
        - `lowered`: decrease of the log odds in nats if the share `MARKED` of an image is blurred: the `mean`, and its
          standard error `se`. The region is that of the map (`marked`), a random one (`random`), that of another
          image's map (`other`), or that of the map of a network with randomized weights (`randomized`).
        - `likeness`: mean correlation, -1 to 1, of the maps of two `images`, and of the maps of one image by the
          network and by one with `randomized` weights.
        - `highest`: the highest value of a map in nats, its median.
        - `milliseconds`: CPU time of one `map` and of the score of one `image` with one thread, medians.
        - `curves`: mean log odds after each of `shares` of the pixels was blurred (`deletion`) or, in a blurred image,
          restored (`insertion`), highest values of the map first; and the same in `random` order. A good map has a low
          deletion curve and a high insertion curve. The curves need not fall and rise: a blurred image may be
          scored as positive.

    Raises:
        BundleError: see `handler.errors`.
        DataError: there are fewer than two positive images, or no negative image.
    """
    classifier = Classifier(model, threads=1)
    score, size = _score(classifier), classifier.contract.input_size
    positive, negative = _draw(data, 1, POSITIVES, size), _draw(data, 0, NEGATIVES, size)
    if len(positive) < 2 or len(negative) < 1:
        raise DataError(
            f"{len(positive)} positive and {len(negative)} negative validation images are too few: prepare a data set "
            "with more"
        )
    maps, map_seconds = _maps(score, positive)
    negative_maps, _ = _maps(score, negative)
    randomized = [_maps(_score(randomize(model, seed)), positive)[0] for seed in range(DRAWS)]
    noise = [np.random.default_rng(seed).standard_normal(maps.shape, np.float32) for seed in range(DRAWS)]
    blurred = np.stack([blur(image, BLUR) for image in positive])
    unchanged = score(positive)

    def lowered(*choices: Maps) -> dict[str, float]:
        scores = [score(_replace(positive, blurred, chosen, MARKED)) for chosen in choices]
        falls = unchanged - np.mean(scores, axis=0)
        return {"mean": float(falls.mean()), "se": float(falls.std(ddof=1) / np.sqrt(len(falls)))}

    def curve(start: Pixels, end: Pixels, order: Maps) -> list[float]:
        return [float(score(_replace(start, end, order, share)).mean()) for share in SHARES]

    result: dict[str, Any] = {
        "images": {"positive": len(positive), "negative": len(negative)},
        "lowered": {
            "marked": lowered(maps),
            "random": lowered(*noise),
            "other": lowered(np.roll(maps, len(maps) // 2, axis=0)),
            "randomized": lowered(*randomized),
        },
        "likeness": {
            "images": float(_correlations(maps, maps)[np.triu_indices(len(maps), 1)].mean()),
            "randomized": float(np.mean([_correlations(maps, others).diagonal() for others in randomized])),
        },
        "highest": {
            name: float(np.median(found.max(axis=(1, 2))))
            for name, found in (("positive", maps), ("negative", negative_maps))
        },
        "milliseconds": {
            "map": 1000 * map_seconds,
            "image": 1000 * float(np.median([_timed(score, image[None])[1] for image in positive])),
        },
        "curves": {
            "shares": SHARES.tolist(),
            "deletion": curve(positive, blurred, maps),
            "insertion": curve(blurred, positive, maps),
            "random deletion": curve(positive, blurred, noise[0]),
            "random insertion": curve(blurred, positive, noise[0]),
        },
    }
    write_json(out / "explanations.json", {"model": identity(classifier.contract)} | result)
    from training.plots import plot_explanations

    plot_explanations(result["curves"], out / "explanations.png")
    return result


def table(result: dict[str, Any]) -> str:
    """Return the result of `evaluate_explanations` as a Markdown table, with the mean of each curve."""
    lowered, likeness, highest = result["lowered"], result["likeness"], result["highest"]
    means = {name: np.mean(values) for name, values in result["curves"].items() if name != "shares"}
    rows = {f"log odds lowered, {name}": f"{found['mean']:.2f} ± {found['se']:.2f}" for name, found in lowered.items()}
    rows |= {f"likeness, {name}": f"{found:.2f}" for name, found in likeness.items()}
    rows |= {f"highest value, {name}": f"{found:.2f}" for name, found in highest.items()}
    rows |= {f"mean log odds, {name}": f"{found:.2f}" for name, found in means.items()}
    rows |= {f"CPU ms, {name}": f"{found:.1f}" for name, found in result["milliseconds"].items()}
    return "\n".join(["| | |", "| --- | ---: |", *(f"| {name} | {found} |" for name, found in rows.items())])


def randomize(model: Path, seed: int) -> Classifier:
    """Load a bundle with randomized weights: the elements of each weight matrix and each convolution kernel are
    shuffled, so that their distribution and their quantization do not change.

    Raises:
        BundleError: see `handler.errors`.
    """
    import onnx
    from onnx import numpy_helper

    contract, weights = load_bundle(model)
    network = onnx.load_from_string(weights)
    rng = np.random.default_rng(seed)
    for tensor in network.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.ndim >= 2:
            shuffled = rng.permutation(values.ravel()).reshape(values.shape)
            tensor.CopyFrom(numpy_helper.from_array(shuffled, tensor.name))
    weights = network.SerializeToString()
    contract = dataclasses.replace(contract, sha256=hashlib.sha256(weights).hexdigest())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / MODEL_FILE).write_bytes(weights)
        (folder / CONTRACT_FILE).write_text(contract.to_json(), encoding="utf-8")
        return Classifier(folder, threads=1)


def _score(classifier: Classifier) -> Score:
    """Return a function that computes the log odds of the positive class in batches."""

    def score(pixels: Pixels) -> npt.NDArray[np.float64]:
        batches = (pixels[start : start + _BATCH] for start in range(0, len(pixels), _BATCH))
        return np.concatenate([log_odds(classifier.score(batch).probabilities) for batch in batches])

    return score


def _draw(data: Prepared, label: int, most: int, size: int) -> Pixels:
    """Random validation images of a class, in random order: uint8 `[N, size, size]`."""
    found = np.flatnonzero(data.labels["validation"] == label)
    chosen = np.random.default_rng(0).permutation(found)[:most]
    images = [resize(data.pixels["validation"][index], size) for index in chosen]
    return np.array(images, np.uint8).reshape(-1, size, size)


def _maps(score: Score, pixels: Pixels) -> tuple[Maps, float]:
    """Return the maps of images, and the median CPU time of one map in seconds."""
    found = [_timed(occlusion_map, score, image) for image in progress(pixels, "explaining")]
    maps, seconds = zip(*found, strict=True)
    return np.stack(maps), float(np.median(seconds))


def _timed(run: Callable[P, Result], *arguments: P.args, **options: P.kwargs) -> tuple[Result, float]:
    """Return a result, and the CPU time of all threads that it took, in seconds."""
    start = time.process_time()
    return run(*arguments, **options), time.process_time() - start


def _replace(pixels: Pixels, others: Pixels, maps: Maps, share: float) -> Pixels:
    """Replace a share of each image's pixels, those with the highest values of its map, by those of another image."""
    size = pixels.shape[-1]
    result = pixels.copy()
    for image, other, values in zip(result, others, maps, strict=True):
        smooth = np.asarray(Image.fromarray(values).resize((size, size), Image.Resampling.BICUBIC))
        highest = np.argsort(-smooth, axis=None, kind="stable")[: round(share * smooth.size)]
        image.flat[highest] = other.flat[highest]
    return result


def _correlations(maps: Maps, others: Maps) -> npt.NDArray[np.float64]:
    """Correlations `[N, M]` of `N` maps with `M` others; 0 where a map is constant."""

    def normalized(values: Maps) -> npt.NDArray[np.float64]:
        flat = values.reshape(len(values), -1).astype(np.float64)
        centred: npt.NDArray[np.float64] = flat - flat.mean(axis=1, keepdims=True)
        norm = np.linalg.norm(centred, axis=1, keepdims=True)
        return centred / np.where(norm > 0, norm, 1)

    result: npt.NDArray[np.float64] = normalized(maps) @ normalized(others).T
    return result
