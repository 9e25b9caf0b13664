"""The smoke test: it fails if an answer is wrong, and signs requests as API Gateway requires."""

import contextlib
import threading
import urllib.request
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from infra.smoke import _signed_by_iam, main
from tests.infra.engine import free_port, wait_until_up


@contextlib.contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_until_up(f"http://127.0.0.1:{port}/healthz")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    from handler.http.app import app

    with served(app) as address:
        yield address


@pytest.fixture(scope="module")
def guarded_url() -> Iterator[str]:
    """The service behind a proxy that requires an API key or a token, like API Gateway."""
    from handler.http.app import app

    async def door(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        known = headers.get(b"x-api-key") == b"key-1" or headers.get(b"authorization") == b"token-1"
        answer = app if known or scope["type"] == "lifespan" else JSONResponse({"message": "Forbidden"}, 403)
        await answer(scope, receive, send)

    with served(door) as address:
        yield address


def test_a_sound_service_passes(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([url + "/"]) == 0
    assert "FAIL" not in capsys.readouterr().out


def test_anything_else_fails(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"{url}/v1"]) == 1
    assert main([f"http://127.0.0.1:{free_port()}"]) == 1
    assert "FAIL  healthy" in capsys.readouterr().out


@pytest.mark.parametrize("proof", [("--api-key", "key-1"), ("--token", "token-1")])
def test_a_key_or_a_token_opens_the_door(
    proof: tuple[str, str], guarded_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([guarded_url, *proof]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("proof", [(), ("--api-key", "key-2"), ("--token", "token-2"), ("--api-key", "token-1")])
def test_without_the_right_one_every_check_fails(
    proof: tuple[str, ...], guarded_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([guarded_url, *proof]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("FAIL") and "403" in line for line in lines)


@pytest.mark.parametrize(
    ("address", "service"),
    [
        ("https://abc.execute-api.eu-central-1.amazonaws.com/prod", "execute-api"),
        ("https://abc.lambda-url.eu-central-1.on.aws", "lambda"),
    ],
)
def test_requests_are_signed(address: str, service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    request = urllib.request.Request(f"{address}/v1/predictions?force=true", b"bytes", {"Content-Type": "image/png"})
    _signed_by_iam(request)
    signature = str(request.get_header("Authorization"))
    assert signature.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert f"/eu-central-1/{service}/aws4_request" in signature
    assert "content-type;host;x-amz-date" in signature
