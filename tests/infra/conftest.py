"""Container images, which are built once for all tests."""

from collections.abc import Callable

import pytest

from handler.classifier import Classifier
from infra.engine import ROOT, docker
from tests.infra.engine import require_engine


@pytest.fixture(scope="session")
def image() -> Callable[[str], str]:
    """Build a target of the Dockerfile. Existing layers are reused."""
    require_engine()

    def build(target: str) -> str:
        name = f"xray-test:{target}"
        docker("build", "--quiet", "--target", target, "--tag", name, ROOT)
        return name

    return build


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    """The embedded bundle, in this process."""
    return Classifier()
