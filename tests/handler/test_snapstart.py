"""Properties of instances that Lambda starts from one snapshot of an initialized instance (parameter `SnapStart`).

A fork is a similar copy: it contains all memory of the process after its initialization.
"""

import json
import os
import subprocess
import sys

COPIES = 3

CODE = f"""
import json, os, sys
import handler.lambda_entry as entry
from tests.handler.events import Context, load

assert "boto3" not in sys.modules, "a client could hold credentials and connections of the snapshot"
event = load("function_url", body='{{}}', isBase64Encoded=False, rawPath="/v1/uploads", rawQueryString="")
event["headers"] |= {{"content-type": "application/json"}}
event["requestContext"]["http"] |= {{"path": "/v1/uploads"}}
for number in range({COPIES}):
    if os.fork() == 0:
        os.environ["AWS_ACCESS_KEY_ID"] = f"AKIACOPY{{number}}"  # those of the snapshot have expired
        answer = entry.lambda_handler(event, Context(aws_request_id=f"request-{{number}}"))
        os.write(1, (answer["body"] + "\\n").encode())
        os._exit(answer["statusCode"] != 201)
    assert os.wait()[1] == 0
"""


def started() -> list[dict[str, object]]:
    """The answers of copies of one initialized process to the same request."""
    environment = os.environ | {
        "AWS_ACCESS_KEY_ID": "AKIASNAPSHOT",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "UPLOAD_BUCKET": "uploads",
        "LOG_LEVEL": "ERROR",
    }
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_copies_of_an_initialized_instance_share_neither_names_nor_credentials() -> None:
    answers = started()
    assert len({str(answer["s3_uri"]) for answer in answers}) == COPIES
    for number, answer in enumerate(answers):
        assert f"AKIACOPY{number}/" in json.dumps(answer)
        assert "AKIASNAPSHOT" not in json.dumps(answer)
