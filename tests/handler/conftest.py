"""One loaded model for all tests of the handler, and the service around it."""

import os
from collections.abc import Callable, Iterator

import httpx2
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from handler import startup
from handler.classifier import Classifier
from handler.http.app import create_app
from handler.scoring import Predictor
from handler.settings import Settings
from tests.handler.images import XRAYS


@pytest.fixture(scope="session")
def predictor() -> Predictor:
    """The predictor of the service: the network of this repository behind the isolated decoder."""
    return startup.predictor()


@pytest.fixture(scope="session")
def classifier(predictor: Predictor) -> Classifier:
    return predictor.classifier


@pytest.fixture
def make_client(predictor: Predictor) -> Callable[..., TestClient]:
    """The service with given settings, in this process."""

    def make(**settings: object) -> TestClient:
        return TestClient(create_app(Settings(**settings), predictor))

    return make


@pytest.fixture(scope="session")
def app(predictor: Predictor) -> FastAPI:
    return create_app(Settings(), predictor)


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Iterator[httpx2.Client]:
    """The service in this process, or at the address SERVICE_URL, such as in a container."""
    if url := os.environ.get("SERVICE_URL"):
        with httpx2.Client(base_url=url, timeout=60) as remote:
            yield remote
    else:
        yield TestClient(request.getfixturevalue("app"))


@pytest.fixture(scope="session")
def xray() -> bytes:
    """A real X-ray."""
    found = sorted(XRAYS.glob("*/*.jpeg"))
    if not found:
        pytest.skip("needs the real X-rays, which are not part of the repository")
    return found[0].read_bytes()
