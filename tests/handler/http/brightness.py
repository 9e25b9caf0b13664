"""A network that answers with the brightness of the image. So each test of the page can draw the answer it needs."""

import io

import numpy as np
from PIL import Image

from export.about import about
from handler.classifier import Scores
from handler.contract import Contract
from handler.local_calibration import LocalCalibration
from tests.handler.http.pages import drawn, png, upload

LABELS = ("NORMAL", "PNEUMONIA")
SPOT = 4.0
"""A spot multiplies the odds by this."""


class Brightness:
    """A network for which a bright image is a sick one, the more so with a spot. An even grey is no X-ray."""

    calibration: LocalCalibration | None = None

    contract = Contract(
        name="brightness",
        version="1.2.3",
        sha256="5" * 64,
        input_size=32,
        labels=LABELS,
        threshold=0.43,
        set_thresholds=(0.4, 0.3),
        set_coverage=0.98,
        temperature=1.0,
        ood_threshold=10.0,
        unlike_threshold=5.0,
        orientations=("upright", "mirrored"),
        least_upright=0.5,
        most_photographed=1.0,
        about=about(LABELS),
        metrics={"test": {"sensitivity": 0.9, "specificity": 0.8}},
    )

    def score(self, pixels: np.ndarray) -> Scores:
        inner = pixels[:, 4:-4, 4:-4].astype(float)
        median = np.median(inner[:, 8], axis=1)  # of a row that the spot does not touch
        odds = median / (255 - median) * np.where(inner.max(axis=(1, 2)) > median + 40, SPOT, 1)
        positive = odds / (1 + odds)
        distances = np.where(pixels.std(axis=(1, 2)) < 1, 99.0, 0.0)
        upright = (inner[:, :, 0] <= inner[:, :, -1]).all(axis=1)
        orientations = np.stack([upright, ~upright], axis=-1)
        return Scores(np.stack([1 - positive, positive], axis=-1), distances, distances, orientations)


LOCAL = LocalCalibration(
    sha256="5" * 64,
    labels=LABELS,
    temperature=1.0,
    biases=(0.0, 0.0),
    threshold=0.43,
    set_thresholds=(0.4, 0.3),
    set_coverage=0.95,
    ood_threshold=10.0,
    images={"NORMAL": 80, "PNEUMONIA": 120},
    measured={"after": {"correct": {"NORMAL": [0.8, 0.7, 0.9], "PNEUMONIA": [0.9, 0.8, 0.95]}}},
)


class LocalBrightness(Brightness):
    calibration = LOCAL


def spotted(brightness: int) -> bytes:
    """A drawn image with a white spot in its lower left."""
    values = np.asarray(Image.open(io.BytesIO(drawn(brightness)))).copy()
    values[105:120, 24:36] = 255
    return png(values)


def mirrored(brightness: int) -> bytes:
    return png(np.asarray(Image.open(io.BytesIO(drawn(brightness))))[:, ::-1])


SICK = upload("sick.png", drawn(229))
WELL = upload("well.png", drawn(26))
DOUBTFUL = upload("doubtful.png", drawn(128))
SPOTTED = upload("spotted.png", spotted(110))
MIRRORED = upload("mirrored.png", mirrored(229))
BLANK = upload("blank.png", png(np.full((64, 64), 90)))
DICOM = upload("scan.dcm", bytes(128) + b"DICM" + bytes(64), "")
