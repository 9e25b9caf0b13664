"""Write what the deployment's pre-traffic hook compares with: an image, and how the embedded bundle scores it.

python -m infra.golden

Run it after the bundle in `handler/model` has changed; a test fails until that is done.
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
"""The page's synthetic chest. No person's."""


def request_event(data: bytes, media_type: str = "application/octet-stream") -> dict[str, Any]:
    """An image as API Gateway would pass it on.

    `force`: whether an image passes for an X-ray is not what is asked.
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
    """The request that the hook sends, and the answer that it expects."""
    data = IMAGE.read_bytes()
    return {
        "event": request_event(data, "image/png"),
        "expected": {
            "sha256": classifier.contract.sha256,
            "probabilities": Predictor(classifier, decode).predict(data, force=True)["probabilities"],
        },
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser_of(__doc__).parse_args(arguments)
    return run(_write)


def _write() -> None:
    write_json(GOLDEN_FILE, golden(Classifier()))
    sys.stdout.write(f"written to {GOLDEN_FILE}; commit it together with the bundle\n")


if __name__ == "__main__":
    sys.exit(main())
