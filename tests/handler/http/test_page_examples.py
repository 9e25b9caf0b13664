"""The examples that come with the page: what the shipped bundle answers to them, and when they are offered."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from handler.classifier import Classifier
from handler.errors import HandlerError
from handler.http.app import create_app
from handler.http.endpoints import PAGE
from handler.http.problems import kind_of
from handler.imaging.decode import decode
from handler.scoring import Predictor
from handler.settings import Settings
from tests.conftest import REPOSITORY
from tests.handler.http.brightness import Brightness
from tests.handler.http.pages import drawn, expect, flaws, scored, serving

FOLDER = PAGE / "examples"
INDEX = json.loads((FOLDER / "index.json").read_text(encoding="utf-8"))
FILES = [entry["file"] for entry in INDEX["examples"]]

OTHERS = {
    "model": Brightness.contract.sha256,
    "credits": {
        "drawn": {
            "text": "Drawing: <b>J. Doe</b>",
            "source": "doi:10.1/2",
            "href": "https://doi.org/10.1/2",
            "license": "CC BY 4.0",
            "license_href": "https://creativecommons.org/licenses/by/4.0/",
            "changes": "resized",
        }
    },
    "examples": [
        {"file": "example-1.jpg", "title": "<i>WELL</i>", "credit": "drawn", "expected": {}},
        {"file": "example-2.jpg", "title": "SICK", "credit": "drawn", "expected": {}},
    ],
}


@pytest.fixture(scope="module")
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Serves the embedded bundle, or another classifier."""
    classifier = getattr(request, "param", Classifier)()
    with serving(create_app(Settings(), Predictor(classifier, decode))) as address:
        yield address


another_bundle = pytest.mark.parametrize("url", [Brightness], indirect=True, ids=["another"])


def offer(page: Any) -> None:
    """Reload the page with drawn examples that belong to the served model."""
    page.route("**/page/examples/index.json", lambda route: route.fulfill(body=json.dumps(OTHERS)))
    page.route("**/page/examples/example-1.jpg", lambda route: route.fulfill(body=drawn(26)))
    page.route("**/page/examples/example-2.jpg", lambda route: route.fulfill(body=drawn(229)))
    page.reload()
    expect(page.get_by_role("heading", name="Examples")).to_be_visible()


def test_the_index_belongs_to_the_shipped_bundle_and_lists_what_is_there() -> None:
    """After a new bundle: `python -m training.examples`."""
    assert INDEX["model"] == Classifier(threads=1).contract.sha256
    assert sorted(FILES) == sorted(path.name for path in FOLDER.iterdir() if path.suffix != ".json")


@pytest.mark.parametrize("entry", INDEX["examples"], ids=FILES)
def test_an_example_is_small_and_bare_and_has_a_credit(entry: dict[str, Any]) -> None:
    data = (FOLDER / entry["file"]).read_bytes()
    assert len(data) <= 60_000
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "JPEG"
        assert max(image.size) <= 512
        assert not image.getexif()
        assert image.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        assert image.mode == ("L" if "label" in entry["expected"] else "RGB")
    credit = INDEX["credits"][entry["credit"]]
    assert credit["license_href"].startswith("https://creativecommons.org/")
    assert credit["license"] in (REPOSITORY / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.parametrize("entry", INDEX["examples"], ids=FILES)
def test_the_shipped_bundle_answers_an_example_as_the_index_says(entry: dict[str, Any]) -> None:
    predictor = Predictor(Classifier(threads=1), decode)
    outcome = predictor.score_or_error((FOLDER / entry["file"]).read_bytes)
    if isinstance(outcome, HandlerError):
        assert {"problem": kind_of(outcome).slug} == entry["expected"]
    else:
        assert {name: outcome[name] for name in ("label", "uncertain")} == entry["expected"]
        assert outcome["warnings"] == []


def test_every_example_can_be_clicked(page: Any) -> None:
    for count, entry in enumerate(INDEX["examples"], 1):
        page.locator("#examples").get_by_role("button", name=entry["title"]).click()
        expect(page.locator("#list li")).to_have_count(count)
        expect(page.locator("#list .waiting")).to_have_count(0)
        expect(page.locator("#name")).to_have_text(entry["file"])
        problem = "problem" in entry["expected"]
        expect(page.locator("#problem" if problem else "#answer")).to_be_visible()
    assert flaws(page) == []


def test_examples_name_their_authors_and_licences(page: Any) -> None:
    for entry in INDEX["examples"]:
        credit = INDEX["credits"][entry["credit"]]
        expect(page.locator("#examples-credits")).to_contain_text(credit["text"])
        expect(page.get_by_role("link", name=credit["source"])).to_have_attribute("href", credit["href"])
        licence = page.get_by_role("link", name=credit["license"], exact=True)
        expect(licence).to_have_attribute("href", credit["license_href"])


@another_bundle
def test_another_bundle_has_no_examples(page: Any) -> None:
    expect(page.locator("header")).to_contain_text("brightness")
    with page.expect_response("**/page/examples/index.json"):
        page.reload()
    page.get_by_role("button", name="Try the synthetic phantom").click()
    scored(page, 1, of=1)
    expect(page.locator("#examples")).to_be_hidden()


@another_bundle
def test_examples_of_another_bundle_are_text_and_files(page: Any) -> None:
    offer(page)
    expect(page.locator("#examples-credits")).to_have_text("Drawing: <b>J. Doe</b>, doi:10.1/2, CC BY 4.0, resized.")
    for title, label in (("<i>WELL</i>", "NORMAL"), ("SICK", "PNEUMONIA")):
        page.get_by_role("button", name=title).click()
        expect(page.locator("#verdict")).to_have_text(label)


@another_bundle
def test_an_example_that_is_missing_is_said(page: Any) -> None:
    offer(page)
    page.route("**/page/examples/example-2.jpg", lambda route: route.fulfill(status=404))
    page.get_by_role("button", name="SICK").click()
    expect(page.locator("#trouble")).to_have_text("The example could not be loaded. Choose an image of your own.")
    expect(page.locator("#visit")).to_be_hidden()


@another_bundle
@pytest.mark.parametrize("body", ["", "{}"])
def test_without_a_readable_index_the_page_works(page: Any, body: str) -> None:
    page.route("**/page/examples/index.json", lambda route: route.fulfill(body=body))
    page.reload()
    page.get_by_role("button", name="Try the synthetic phantom").click()
    scored(page, 1, of=1)
    expect(page.locator("#examples")).to_be_hidden()
