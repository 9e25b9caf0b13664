"""Fit the detectors for warnings on the features of a finished graph, and add them to the graph.

See `training.probes` for the orientation of an image, and `training.unlike` for its distance from the training images.
"""

from typing import Any

import numpy as np
import onnx

from export.refit import add_block_features, add_probes, add_unlike, compute, pooled_features
from export.run_images import Images
from handler.contract import ORIENTATION_NAME, PHOTOGRAPHED, UNLIKE_NAME
from training import ood, probes, unlike

TRAINING_IMAGES, VALIDATION_IMAGES = 2000, 1000
"""Maximum number of images. More images change little, and each is scored in every orientation."""


def add_detectors(graph: onnx.ModelProto, train: Images, validation: Images, size: int, seed: int) -> dict[str, Any]:
    """Fit the detectors, add their outputs to the graph, and select their thresholds.

    Args:
        graph: int8 graph of `export.bundle`.
        train, validation: images at the size at which they are corrupted, at least `size`.
        size: image size in pixels at which the graph is served.
        seed: random seed of the corruptions.

    Returns:
        The fields of `handler.contract.Contract` that belong to the detectors.
    """
    features = pooled_features(graph)
    turned = probes.oriented(train.pixels, size, seed)
    fitted = probes.fit_probes({name: compute(graph, images, features) for name, images in turned.items()})
    block = add_block_features(graph)
    both = np.concatenate(
        [probes.corrupted(train.pixels, size, 0, seed), probes.corrupted(train.pixels, size, ood.STRENGTH, seed)]
    )
    add_unlike(graph, unlike.fit_classes(compute(graph, both, block), np.tile(train.labels, 2)))
    add_probes(graph, fitted)

    plain = probes.corrupted(validation.pixels, size, 0, seed)
    lightly = probes.corrupted(validation.pixels, size, unlike.STRENGTH, seed)
    strongly = probes.corrupted(validation.pixels, size, probes.STRENGTH, seed)
    orientations = [compute(graph, images, ORIENTATION_NAME) for images in (plain, strongly)]
    names = tuple(probes.ORIENTATIONS)
    photographed = names.index(PHOTOGRAPHED)
    distances = [compute(graph, images, UNLIKE_NAME) for images in (plain, lightly)]
    return {
        "orientations": names,
        "least_upright": probes.select_least_upright(*(each[:, 0] + each[:, photographed] for each in orientations)),
        "most_photographed": probes.select_most_photographed(*(each[:, photographed] for each in orientations)),
        "unlike_threshold": unlike.select_limit(*distances),
    }
