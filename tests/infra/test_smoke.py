"""The smoke test itself: it must fail where something is wrong, and sign as API Gateway wants it."""

import threading
import urllib.request
from collections.abc import Iterator

import pytest
import uvicorn

from infra.smoke import _signed_by_iam, main
from tests.infra.engine import free_port, wait_until_up


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    from handler.http.app import app

    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until_up(f"http://127.0.0.1:{port}/healthz")
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


def test_a_sound_service_passes(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([url + "/"]) == 0
    assert "FAIL" not in capsys.readouterr().out


def test_anything_else_fails(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"{url}/v1"]) == 1
    assert main([f"http://127.0.0.1:{free_port()}"]) == 1
    assert "FAIL  healthy" in capsys.readouterr().out


def test_requests_are_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    url = "https://abc.execute-api.eu-central-1.amazonaws.com/prod/v1/predictions?force=true"
    request = urllib.request.Request(url, b"bytes", {"Content-Type": "image/png"})
    _signed_by_iam(request)
    signature = str(request.get_header("Authorization"))
    assert signature.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-central-1/execute-api/aws4_request" in signature
    assert "content-type;host;x-amz-date" in signature
