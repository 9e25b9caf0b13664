"""The OpenAPI document of one bundle at one address: the static one with the bundle's title and labels."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from handler.contract import Contract
from handler.prevalence import prevalence_of
from handler.scoring import identity, prediction_of

STATIC = Path(__file__).with_name("openapi.json")
"""The part that is the same for every bundle; `make openapi` writes it. FastAPI could generate it, but
the import of FastAPI takes 0.2 s."""


def describe(contract: Contract, prefix: str = "") -> dict[str, Any]:
    """The document for the bundle with this contract: its title, labels and kind of threshold, and examples as this
    bundle would answer.

    Args:
        prefix: of all paths, such as `/xray`.
    """
    document: dict[str, Any] = json.loads(STATIC.read_bytes())
    document["info"]["title"] = contract.about.title
    document["servers"][0]["url"] = prefix or "/"
    schemas, labels = document["components"]["schemas"], list(contract.labels)
    schemas["Label"]["enum"] = labels
    number = schemas["ByLabel"].pop("additionalProperties")
    schemas["ByLabel"] |= {
        "properties": dict.fromkeys(labels, number),
        "required": labels,
        "additionalProperties": False,
    }
    kind = "null" if contract.threshold is None else "number"
    schemas["Threshold"]["anyOf"] = [option for option in schemas["Threshold"]["anyOf"] if option["type"] == kind]
    _answer_as(contract, document["paths"]["/v1/predictions"]["post"]["responses"]["200"])
    return document


def _answer_as(contract: Contract, response: dict[str, Any]) -> None:
    """Put the model and a decision of this contract into the examples. The last label is the most probable one."""
    others = len(contract.labels) - 1
    share = round(0.03 / others, 4)
    probabilities = np.array([share] * others + [round(1 - others * share, 4)])
    usual = prevalence_of({}, contract)
    for example in response["content"]["application/json"]["examples"].values():
        example["value"]["model"] = identity(contract)
        for prediction in example["value"]["predictions"]:
            if "error" not in prediction:
                prediction |= prediction_of(
                    contract, probabilities, usual, [], prediction["distance"], prediction["timings"]
                )
            if "explanation" in prediction:
                prediction["explanation"]["label"] = contract.explained_label(probabilities)
