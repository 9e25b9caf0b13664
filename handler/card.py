"""The answer of `GET /v1/model`: the model card."""

from typing import Any

from handler.contract import Contract
from handler.imaging.decode import FORMATS, MAX_PIXELS
from handler.prevalence import predictive_values
from handler.scoring import Predictor, identity
from handler.settings import Settings

_LIMITS = (
    "The image is reduced to a small square, so fine detail is lost.",
    "The occlusion map shows which regions the network used, not where a disease is. An empty map does not mean that the image is normal.",
    "The OOD detector accepts some images that are not X-rays, and refuses some X-rays.",
)

DISCLAIMER = "This is not a medical device. Do not use it to diagnose, to treat, or to decide about a person's care."


def limits(contract: Contract) -> tuple[str, ...]:
    """Return the limits of the model, one or two sentences each."""
    return *contract.about.limits, *_LIMITS


def card(predictor: Predictor, settings: Settings) -> dict[str, Any]:
    """Return the model card: identity, contract, measured results, intended use and limits."""
    contract, local = predictor.contract, predictor.classifier.calibration
    return {
        **identity(contract),
        "title": contract.about.title,
        "contract_version": contract.contract_version,
        "labels": list(contract.labels),
        "positive_label": contract.positive,
        "threshold": contract.threshold,
        "set_thresholds": dict(zip(contract.labels, contract.set_thresholds, strict=True)),
        "set_coverage": contract.set_coverage,
        "prevalence": dict(zip(contract.labels, predictor.prevalence.tolist(), strict=True)),
        "predictive_values": predictive_values(contract, local),
        "calibration": {"images": dict(local.images), "measured": dict(local.measured)} if local else None,
        "temperature": contract.temperature,
        "ood_threshold": contract.ood_threshold,
        "unlike_threshold": contract.unlike_threshold,
        "input": {
            "size": contract.input_size,
            "formats": [*FORMATS, "DICOM"],
            "max_pixels": MAX_PIXELS,
            "max_body_bytes": settings.max_body_bytes,
            "max_items": settings.max_items,
            "uploads": bool(settings.upload_bucket),
        },
        "metrics": dict(contract.metrics),
        "intended_use": contract.about.intended_use,
        "limits": list(limits(contract)),
        "source": contract.about.source,
        "license": contract.about.license,
        "disclaimer": DISCLAIMER,
    }
