"""Write the reference for the deployment's pre-traffic hook: an image, and the embedded bundle's answer.

python -m infra.golden

Run it after a change of the bundle in `handler/model`. Until then, a test fails.
"""

import base64
import sys
from pathlib import Path
from typing import Any

from handler.classifier import Classifier
from handler.command_help import parser_of
from handler.commands import run
from handler.files import write_json
from handler.imaging.decode import decode
from handler.scoring import Predictor

GOLDEN_FILE = Path(__file__).with_name("hook") / "golden.json"


IMAGE = Path(__file__).parents[1] / "handler" / "page" / "phantom.png"
"""The synthetic chest X-ray of the page. It does not show a person."""


def request_event(data: bytes, media_type: str = "application/octet-stream") -> dict[str, Any]:
    """Make the event with which API Gateway sends an image.

    It contains `force=true`, so that the image is scored even if the OOD detector would refuse it.
    """
    return {
        "resource": "/{proxy+}",
        "path": "/v1/predictions",
        "httpMethod": "POST",
        "headers": {"Content-Type": media_type, "Host": "golden.image"},
        "multiValueHeaders": {"Content-Type": [media_type], "Host": ["golden.image"]},
        "queryStringParameters": {"force": "true"},
        "multiValueQueryStringParameters": {"force": ["true"]},
        "pathParameters": {"proxy": "v1/predictions"},
        "requestContext": {
            "resourcePath": "/{proxy+}",
            "httpMethod": "POST",
            "path": "/v1/predictions",
            "stage": "",
        },
        "body": base64.b64encode(data).decode(),
        "isBase64Encoded": True,
    }


def golden(classifier: Classifier) -> dict[str, Any]:
    """Return the request that the hook sends, and the answer that it expects."""
    data = IMAGE.read_bytes()
    return {
        "event": request_event(data, "image/png"),
        "expected": {
            "sha256": classifier.contract.sha256,
            "probabilities": Predictor(classifier, decode).predict(data, force=True)["probabilities"],
        },
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser_of(__doc__).parse_args(arguments)
    return run(_write)


def _write() -> None:
    write_json(GOLDEN_FILE, golden(Classifier()))
    sys.stdout.write(f"written to {GOLDEN_FILE}; commit it together with the bundle\n")


if __name__ == "__main__":
    sys.exit(main())
