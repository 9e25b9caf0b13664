"""Send each kind of request to a running service once: `make smoke URL=https://...`.

python -m infra.smoke http://localhost:8000
python -m infra.smoke https://ID.execute-api.REGION.amazonaws.com/prod --iam
python -m infra.smoke https://ID.execute-api.REGION.amazonaws.com/prod --api-key KEY
python -m infra.smoke https://ID.lambda-url.REGION.on.aws --iam
"""

import base64
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from urllib.parse import urlsplit

from handler.command_help import parser_of
from handler.commands import needing_packages, run, suggest
from infra.golden import IMAGE

TIMEOUT_S = 60
"""Time limit in seconds, longer than a cold start."""

BOUNDARY = "b7f0smoke"

Signer = Callable[[urllib.request.Request], None]
"""Adds credentials to a request."""


def smoke(url: str, sign: Signer) -> list[tuple[str, bool, str]]:
    """Send all requests.

    Returns:
        The name of each request, whether its answer was correct, and the answer.
    """
    data = IMAGE.read_bytes()
    multipart = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'.encode()
        + data
        + f"\r\n--{BOUNDARY}--\r\n".encode()
    )
    encoded = json.dumps({"image": base64.b64encode(data).decode()}).encode()
    scored = "/v1/predictions?force=true"
    checks: list[tuple[str, str, bytes | None, str, int, str]] = [
        ("healthy", "/healthz", None, "", 200, "status"),
        ("ready", "/readyz", None, "", 200, "status"),
        ("model card", "/v1/model", None, "", 200, "labels"),
        ("multipart image", scored, multipart, f"multipart/form-data; boundary={BOUNDARY}", 200, "predictions"),
        ("raw image", scored, data, "image/png", 200, "predictions"),
        ("base64 image", scored, encoded, "application/json", 200, "predictions"),
        ("explained image", scored + "&explain=true", data, "image/png", 200, "explanation"),
        ("text is refused", scored, b"no image", "image/png", 415, "title"),
        ("empty file is refused", scored, b"", "image/png", 400, "title"),
        ("unknown path", "/v1/nothing", None, "", 404, "title"),
    ]
    results = []
    for name, path, body, kind, status, key in checks:
        request = urllib.request.Request(url + path, body, {"Content-Type": kind} if kind else {})  # noqa: S310
        results.append((name, *_ask(request, sign, status, key)))
    return results


def _ask(request: urllib.request.Request, sign: Signer, status: int, key: str) -> tuple[bool, str]:
    sign(request)
    start = time.perf_counter()
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            found, text = answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        found, text = exc.code, exc.read().decode(errors="replace")
    except OSError as exc:
        return False, str(exc)
    elapsed = (time.perf_counter() - start) * 1000
    right = found == status and f'"{key}"' in text
    return right, f"{found}, {elapsed:.0f} ms" + ("" if right else f", expected {status} with {key!r}: {text[:200]}")


def _signed_by_iam(request: urllib.request.Request) -> None:
    """Sign with AWS Signature Version 4 and the credentials of the environment."""
    with needing_packages("aws"):
        import boto3
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

    if (credentials := boto3.Session().get_credentials()) is None:
        raise SystemExit("error: --iam needs AWS credentials: log in, as with `aws configure`")
    # ID.execute-api.REGION.amazonaws.com, or ID.lambda-url.REGION.on.aws
    _, door, region = str(urlsplit(request.full_url).hostname).split(".")[:3]
    service = "lambda" if door == "lambda-url" else "execute-api"
    unsigned = AWSRequest(request.get_method(), request.full_url, dict(request.headers), request.data)
    SigV4Auth(credentials, service, region).add_auth(unsigned)
    for name, value in unsigned.headers.items():
        request.add_header(name, value)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status: 1 if an answer was wrong."""
    parser = parser_of(__doc__)
    parser.add_argument("url", help="address of the service without a slash at the end")
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--iam", action="store_true", help="sign with the AWS credentials of the environment")
    who.add_argument("--api-key", help="send this key")
    who.add_argument("--token", help="send this token of the user pool")
    options = parser.parse_args(arguments)

    def sign(request: urllib.request.Request) -> None:
        if options.iam:
            _signed_by_iam(request)
        elif options.api_key:
            request.add_header("x-api-key", options.api_key)
        elif options.token:
            request.add_header("Authorization", options.token)

    return run(lambda: _smoke(options.url.rstrip("/"), sign))


def _smoke(url: str, sign: Signer) -> int:
    results = smoke(url, sign)
    for name, right, found in results:
        sys.stdout.write(f"{'ok  ' if right else 'FAIL'}  {name:22}  {found}\n")
    if not all(right for _, right, _ in results):
        return 1
    suggest(f"curl -F file=@chest.jpg {url}/v1/predictions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
