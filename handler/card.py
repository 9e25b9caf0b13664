"""What `GET /v1/model` says of the model."""

from typing import Any

from handler.contract import Contract
from handler.imaging.decode import FORMATS, MAX_PIXELS
from handler.scoring import identity
from handler.settings import Settings

KERMANY = "Kermany et al. 2018, doi 10.17632/rscbjbr9sj"
"""The data set that this project's own models learn from."""

INTENDED_USE = (
    "Research, teaching and engineering: a probability of pneumonia for one frontal chest X-ray such as those that the "
    "network was trained on."
)
_SEEN = {
    KERMANY: "Trained on children aged one to five from a single hospital in Guangzhou. Adults, other views, other "
    "devices and other diseases were not part of it, and the probabilities are not calibrated for them.",
    None: "Trained on images of whoever trained it: ask them about hospitals, ages, views and devices. Others were "
    "not part of it, and the probabilities are not calibrated for them.",
}
_LIMITS = (
    "The image is squeezed to a small square: fine detail is lost.",
    "The activation map shows where the network found evidence, not where the disease is.",
    "The check for images that are no X-ray lets some of them through and refuses some X-rays.",
)

DISCLAIMER = "This is no medical device. Do not use it to diagnose, to treat, or to decide about a person's care."


def data_set(contract: Contract) -> str | None:
    """What the network has learned from: `KERMANY`, or None for something else."""
    match contract.metrics:
        case {"training": {"data_set": str(known)}} if known == KERMANY:
            return KERMANY
    return None


def limits(contract: Contract) -> tuple[str, ...]:
    """What the model is not good for, a sentence or two each."""
    return _SEEN[data_set(contract)], *_LIMITS


def card(contract: Contract, settings: Settings) -> dict[str, Any]:
    """The model card as an answer: identity, contract, measured results, what it is for and what it is not for."""
    return {
        **identity(contract),
        "contract_version": contract.contract_version,
        "labels": list(contract.labels),
        "positive_label": contract.positive,
        "threshold": contract.threshold,
        "uncertain_from": contract.uncertain_from,
        "uncertain_to": contract.uncertain_to,
        "temperature": contract.temperature,
        "ood_threshold": contract.ood_threshold,
        "input": {
            "size": contract.input_size,
            "formats": [*FORMATS, "DICOM"],
            "max_pixels": MAX_PIXELS,
            "max_body_bytes": settings.max_body_bytes,
            "max_items": settings.max_items,
            "uploads": bool(settings.upload_bucket),
        },
        "metrics": dict(contract.metrics),
        "intended_use": INTENDED_USE,
        "limits": list(limits(contract)),
        "disclaimer": DISCLAIMER,
    }
