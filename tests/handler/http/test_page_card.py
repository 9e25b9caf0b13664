"""The parts of the page around the answers: model card, previews of DICOM, disclaimer, links, and phones."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from handler.classifier import Classifier
from handler.http.app import create_app
from handler.imaging.decode import decode
from handler.scoring import Predictor
from handler.settings import Settings
from tests.handler.http.brightness import SICK, Brightness
from tests.handler.http.pages import PREDICTIONS, choose, drawn, expect, flaws, scored, serving, upload
from tests.handler.images import dicom, encode, phantom
from tests.tiny_bundle import write_tiny_bundle

HOSTILE = ("<img src=x onerror=document.title='taken'>", "2", "Unbroken" * 30)
TOUCH = [{"has_touch": True, "is_mobile": True, "viewport": {"width": 390, "height": 700}}]
WIDTHS = [{"viewport": {"width": width, "height": 640}, "reduced_motion": "reduce"} for width in (320, 768, 1920)]


@pytest.fixture(scope="module")
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serves the stand-in, the embedded bundle, or a tiny one with these labels; below `/stage` as well."""
    wanted = getattr(request, "param", Brightness)
    if isinstance(wanted, tuple):
        classifier = Classifier(write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny", wanted), threads=1)
    else:
        classifier = wanted()
    app = create_app(Settings(), Predictor(classifier, decode))
    with serving(Starlette(routes=[Mount("/stage", app), Mount("/", app)])) as address:
        yield address


def served(*wanted: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("url", wanted, indirect=True, ids=str)


def cells(page: Any, caption: str) -> list[list[str]]:
    table = page.locator("#card table").filter(has_text=caption)
    return [row.locator("th, td").all_inner_texts() for row in table.get_by_role("row").all()]


@served(Classifier)
def test_the_model_card_is_headings_tables_and_lists(page: Any) -> None:
    card = json.loads(page.request.get(f"{page.url}v1/model").body())
    page.get_by_role("contentinfo").get_by_role("link", name="Model card").click()
    expect(page.get_by_role("heading", name="Model card", level=2)).to_be_in_viewport()
    headings = page.locator("#card h3")
    expect(headings).to_have_text(["Intended use", "Limits", "From probability to answer", "Results"])
    expect(page.locator("#card-texts")).to_contain_text(card["disclaimer"])
    expect(page.locator("#card-texts")).to_contain_text(card["intended_use"])
    expect(page.locator("#card li")).to_have_text([limit.replace("`", "") for limit in card["limits"]])
    expect(page.locator("#card dl")).to_contain_text(card["sha256"])
    test = card["metrics"]["test"]
    head, *rows = cells(page, "95 % intervals")
    sizes = [(split, card["metrics"][name]) for split, name in (("Validation", "validation_int8"), ("Test", "test"))]
    expected_head = [f"{split}: {found['n']} images of {found['patients']} patients" for split, found in sizes]
    assert head == ["Measure", *expected_head]
    low, high = test["intervals"]["sensitivity"]
    expected = f"{test['sensitivity']:.1%} ({low:.1%} to {high:.1%})".replace("%", "\N{NO-BREAK SPACE}%")
    assert [row[2] for row in rows if row[0] == "Sensitivity"] == [expected]
    assert [row[2][:5] for row in rows if row[0] == "AUC"] == [f"{test['auc']:.3f}"]
    assert [row[1:] for row in cells(page, "Number of test images")[1:]] == [
        [str(count) for count in row] for row in test["confusion"]
    ]
    expect(page.get_by_role("link", name="The same as JSON")).to_have_attribute("href", "v1/model")
    assert flaws(page) == []


@served(("A", "B"), HOSTILE)
@pytest.mark.parametrize("options", WIDTHS)
def test_the_card_of_any_bundle_fits(page: Any) -> None:
    page.get_by_role("contentinfo").get_by_role("link", name="Model card").click()
    labels = json.loads(page.request.get(f"{page.url}v1/model").body())["labels"]
    assert [row[0] for row in cells(page, "Thresholds")[1:]] == labels
    assert page.title() != "taken"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert flaws(page) == []


def test_without_a_card_the_links_lead_to_its_json(page: Any) -> None:
    page.route("**/v1/model", lambda route: route.fulfill(status=503))
    page.reload()
    expect(page.locator("#card")).to_be_hidden()
    for link in page.get_by_role("link", name="Model card").all():
        expect(link).to_have_attribute("href", "v1/model")


def test_the_documentation_is_linked_behind_a_prefix_too(page: Any, url: str) -> None:
    for base in (url, f"{url}stage/"):
        page.goto(base)
        link = page.get_by_role("link", name="Documentation of the API")
        assert link.evaluate("link => link.href") == f"{base}docs"


@pytest.mark.parametrize("data", [dicom(), encode(phantom(), "TIFF")], ids=["dicom", "tiff"])
def test_a_file_that_browsers_cannot_show_is_shown_as_the_network_saw_it(page: Any, data: bytes) -> None:
    with page.expect_request(PREDICTIONS) as sent:
        choose(page, upload("scan", data, ""))
    assert "preview=true" in sent.value.url
    scored(page, 1, of=1)
    image = page.get_by_alt_text("What the network saw of scan")
    expect(image).to_be_visible()
    size = Brightness.contract.input_size
    assert image.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [size, size]
    expect(page.locator("#seen")).to_contain_text("This is what the network saw")
    expect(page.locator("#no-preview")).to_be_hidden()
    expect(page.locator("#list img")).to_have_attribute("src", image.get_attribute("src"))
    # AND the next image is shown as it is
    choose(page, SICK)
    scored(page, 2, of=2)
    expect(page.get_by_alt_text("Preview of sick.png")).to_be_visible()
    expect(page.locator("#seen")).to_be_hidden()


def test_no_preview_is_asked_for_a_file_that_browsers_show(page: Any) -> None:
    for data in (drawn(200), *(encode(phantom(), kind) for kind in ("JPEG", "WEBP", "BMP", "GIF"))):
        with page.expect_request(PREDICTIONS) as sent:
            choose(page, upload("image", data))
        assert "preview" not in sent.value.url


@pytest.mark.parametrize("options", [*WIDTHS, *TOUCH])
def test_the_disclaimer_stays_in_view(page: Any) -> None:
    choose(page, *[upload(f"{number}.png", drawn(100 + number)) for number in range(12)])
    scored(page, 12, of=12)
    page.locator("#list li").last.scroll_into_view_if_needed()
    expect(page.get_by_text("Not a medical device.", exact=True)).to_be_in_viewport(ratio=1)
    # AND covers no row that has the focus
    page.locator("#list button").first.focus()
    row = page.locator("#list button").first.bounding_box()
    caution = page.locator(".caution").bounding_box()
    assert row["y"] >= caution["y"] + caution["height"]


def test_with_a_mouse_there_is_no_camera_button(page: Any) -> None:
    expect(page.get_by_text("Drop frontal chest X-rays here")).to_be_visible()
    expect(page.get_by_text("Take a photo", exact=True)).to_be_hidden()
    expect(page.get_by_label("Take a photo")).to_be_hidden()


@pytest.mark.parametrize("options", TOUCH, ids=["touch"])
def test_on_a_phone_a_photo_is_taken_or_chosen(page: Any) -> None:
    expect(page.get_by_text("Take or choose a photo of a frontal chest X-ray")).to_be_visible()
    expect(page.get_by_text("Drop frontal chest X-rays here")).to_be_hidden()
    camera = page.get_by_label("Take a photo")
    expect(camera).to_have_attribute("capture", "environment")
    expect(camera).to_have_attribute("accept", "image/*")
    files = page.get_by_label("Choose images")
    assert files.get_attribute("accept") is files.get_attribute("capture") is None  # DICOM and albums too
    camera.set_input_files([upload("photo.png", drawn(229))])
    scored(page, 1, of=1)
    expect(page.locator("#verdict")).to_have_text("PNEUMONIA")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert flaws(page) == []
