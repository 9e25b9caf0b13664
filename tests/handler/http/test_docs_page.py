"""/docs in a real Chromium: Swagger UI from this server alone, and requests that it sends for the reader."""

from collections.abc import Iterator
from typing import Any

import pytest

from handler.http.app import create_app
from handler.http.endpoints import PAGE
from handler.scoring import Predictor
from handler.settings import Settings
from tests.handler.http.pages import expect, opened, serving


@pytest.fixture(scope="module", params=["", "xray/"], ids=["root", "prefix"])
def url(request: pytest.FixtureRequest, predictor: Predictor) -> Iterator[str]:
    prefix: str = request.param
    with serving(create_app(Settings(base_path=f"/{prefix}"[:-1]), predictor)) as address:
        yield f"{address}{prefix}docs"


@pytest.fixture
def docs(browser: Any, url: str, options: dict[str, Any]) -> Iterator[Any]:
    """The opened page, see `tests.handler.http.pages.opened`."""
    with opened(browser, url, options, root=url.removesuffix("docs")) as page:
        yield page


def operation(docs: Any, tag: str, name: str) -> Any:
    """The opened part of the page about one operation."""
    found = docs.locator(f"#operations-{tag}-{name}")
    found.locator(".opblock-summary-control").click()
    return found


def execute(operation: Any) -> Any:
    """Send the request. Returns the part that shows the answer."""
    operation.get_by_role("button", name="Execute").click()
    return operation.locator(".live-responses-table .response").first


def test_the_page_shows_every_operation(docs: Any) -> None:
    expect(docs.locator(".opblock")).to_have_count(5)
    expect(docs.locator("h1, h2").first).to_contain_text("chest X-rays")


def test_a_request_can_be_sent_from_the_page(docs: Any) -> None:
    answer = execute(operation(docs, "status", "health"))

    expect(answer.locator(".response-col_status")).to_contain_text("200")
    expect(answer).to_contain_text('"status": "ok"')


def test_an_image_can_be_scored_from_the_page(docs: Any) -> None:
    predict = operation(docs, "predictions", "predict")
    predict.locator("input[type=file]").set_input_files(PAGE / "phantom.png")

    answer = execute(predict)

    expect(answer.locator(".response-col_status")).to_contain_text("200")
    expect(answer).to_contain_text('"filename": "phantom.png"')


@pytest.mark.parametrize("options", [{"viewport": {"width": 320, "height": 640}}], ids=["phone"])
def test_a_phone_has_room_for_the_page(docs: Any) -> None:
    expect(operation(docs, "predictions", "predict").locator(".responses-table").first).to_be_visible()

    assert docs.evaluate("document.documentElement.scrollWidth") == 320
