"""The page, opened in a browser. A test module says with its own fixture `url` what serves it."""

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from tests.handler.http.pages import chromium

    with chromium() as browser:
        yield browser


@pytest.fixture
def options() -> dict[str, Any]:
    """What the browser is like; tests override it by parametrization."""
    return {}


@pytest.fixture
def page(browser: Any, url: str, options: dict[str, Any]) -> Iterator[Any]:
    """The opened page; see `tests.handler.http.pages.opened`."""
    from tests.handler.http.pages import opened

    with opened(browser, url, options) as page:
        yield page
