"""The page in a real Chromium, served by the real app.

Only the network is a stand-in: it answers with the brightness of the image, so that each test can draw the answer it
needs. Where a gateway in front of the service is to fail, the browser's own request is intercepted.
"""

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.routing import Mount

from handler.explain import FLOOR, FULL
from handler.explain import overlay as overlay_of
from handler.http.app import create_app
from handler.imaging.decode import decode
from handler.scoring import Predictor
from handler.settings import Settings
from tests.handler.http.brightness import (
    BLANK,
    DICOM,
    DOUBTFUL,
    MIRRORED,
    SICK,
    SPOTTED,
    WELL,
    Brightness,
    LocalBrightness,
    mirrored,
)
from tests.handler.http.pages import CHECKS, PREDICTIONS, choose, drawn, expect, flaws, scored, serving, upload


def deployed(classifier: type[Brightness] = Brightness, **prevalence: float) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("url", [(classifier, prevalence)], indirect=True, ids=[""])


@pytest.fixture(scope="module")
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    classifier, prevalence = getattr(request, "param", (Brightness, {}))
    app = create_app(Settings(), Predictor(classifier(), decode, prevalence))
    with serving(Starlette(routes=[Mount("/stage", app), Mount("/", app)])) as address:
        yield address


def answers_with(page: Any, status: int, body: str, **headers: str) -> None:
    page.route(PREDICTIONS, lambda route: route.fulfill(status=status, body=body, headers=headers))


def test_upload_gives_label_probability_and_threshold(page: Any) -> None:
    choose(page, SICK)
    expect(page.locator("#verdict")).to_have_text("PNEUMONIA")
    expect(page.get_by_text("89.8 % probability of PNEUMONIA", exact=True)).to_be_visible()
    expect(page.get_by_text("threshold 43 %", exact=True)).to_be_visible()
    expect(page.get_by_text("30 % to 60 %: uncertain, have it read")).to_be_visible()
    meter = page.get_by_role("meter", name="probability of PNEUMONIA")
    expect(meter).to_have_attribute("aria-valuenow", "89.8")
    expect(page.get_by_role("status")).to_have_text("sick.png: PNEUMONIA. 89.8 % probability of PNEUMONIA.")
    expect(page.locator("header")).to_contain_text("brightness 1.2.3")
    expect(page.locator("#warnings")).to_be_hidden()
    expect(page.locator(".row-warnings")).to_be_hidden()


def test_a_healthy_image_is_normal(page: Any) -> None:
    choose(page, WELL)
    expect(page.locator("#verdict")).to_have_text("NORMAL")
    expect(page.locator("#percent")).to_have_text("10.2 %")


def test_between_the_limits_the_answer_is_to_have_it_read(page: Any) -> None:
    choose(page, DOUBTFUL)
    expect(page.locator("#verdict")).to_have_text("Uncertain: have it read")
    expect(page.locator("#rule")).to_contain_text("NORMAL or PNEUMONIA cannot be excluded.")
    expect(page.locator("#rule")).to_contain_text("hatched band, 30 % to 60 %")
    expect(page.locator("#rule")).to_contain_text("would be PNEUMONIA")


def test_details_name_the_model_and_the_request(page: Any) -> None:
    choose(page, SICK)
    page.get_by_text("Details").click()
    for text in ("120 \N{MULTIPLICATION SIGN} 150", "brightness 1.2.3", "5" * 64, "Inference", "Request"):
        expect(page.locator("#facts")).to_contain_text(text)


def test_heat_map_covers_the_image_and_obeys_switch_and_slider(page: Any) -> None:
    choose(page, SPOTTED)
    overlay = page.get_by_alt_text("Heat map of spotted.png: strongest at the lower left")
    preview = page.get_by_alt_text("Preview of spotted.png")
    expect(overlay).to_be_visible()
    expect(page.locator("#stack")).to_have_css("aspect-ratio", "0.8 / 1")
    assert overlay.bounding_box() == preview.bounding_box()
    page.get_by_label("Opacity").fill("20")
    expect(overlay).to_have_css("opacity", "0.2")
    expect(page.locator("#opacity-value")).to_have_text("20 %")
    page.get_by_role("switch", name="Heat map").uncheck()
    expect(overlay).to_be_hidden()
    expect(page.get_by_label("Opacity")).to_be_disabled()


def test_the_heat_map_says_what_it_means_and_has_a_scale(page: Any) -> None:
    choose(page, SPOTTED)
    expect(page.locator("#map-hint")).to_contain_text(
        "lowers the log odds of PNEUMONIA by 1.4: the odds become 4 times smaller."
    )
    expect(page.get_by_text("Fall of the log odds if a region is blurred")).to_be_visible()
    expect(page.locator(".ends span")).to_have_text([f"{FLOOR}, less is not shown", f"{FULL:g} or more"])


def test_the_scale_has_the_colours_of_the_map(page: Any) -> None:
    """At the floor, in the middle, and at the full strength."""
    choose(page, SPOTTED)
    page.get_by_label("Opacity").fill("100")
    page.locator(".ramp").evaluate("ramp => ramp.style.borderRadius = 0")
    ramp = np.asarray(Image.open(io.BytesIO(page.locator(".ramp").screenshot())).convert("RGB")).astype(float)
    for strength in (FLOOR, (FLOOR + FULL) / 2, FULL):
        mark = np.asarray(Image.open(io.BytesIO(overlay_of(np.full((6, 6), strength + 1e-4, np.float32), 8))))[4, 4]
        opacity = mark[3] / 255
        column = round((strength - FLOOR) / (FULL - FLOOR) * (ramp.shape[1] - 3)) + 1
        expected = mark[:3] * opacity + 138 * (1 - opacity)
        np.testing.assert_allclose(ramp[ramp.shape[0] // 2, column], expected, atol=6)


def test_an_empty_heat_map_is_said_to_be_empty(page: Any) -> None:
    choose(page, SICK)
    expect(page.locator("#map-hint")).to_have_text(
        "The map is empty: no single region changes the answer much. Blurring one lowers the log odds of PNEUMONIA by "
        f"less than {FLOOR}. An empty map does not mean that the image is normal."
    )
    expect(page.locator("#overlay")).to_be_hidden()
    expect(page.get_by_role("switch", name="Heat map")).to_be_hidden()
    expect(page.locator(".legend")).to_be_hidden()


def test_a_warning_is_in_the_answer_the_list_and_the_status(page: Any) -> None:
    choose(page, MIRRORED)
    warning = "The image seems to be mirrored: left and right are exchanged."
    expect(page.get_by_role("list", name="Warnings").get_by_role("listitem")).to_have_text([warning])
    expect(page.locator("#verdict")).to_have_text("PNEUMONIA")
    expect(page.get_by_role("button", name="mirrored.png 1 warning")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text(
        f"mirrored.png: PNEUMONIA. 89.8 % probability of PNEUMONIA. Warning: {warning}"
    )


@deployed(PNEUMONIA=0.1, NORMAL=0.9)
def test_another_prevalence_shifts_threshold_and_band_and_is_said(page: Any) -> None:
    choose(page, SICK)
    expect(page.locator("#percent")).to_have_text("49.5 %")
    expect(page.locator("#verdict")).to_have_text("PNEUMONIA")
    expect(page.get_by_text("threshold 7.7 %", exact=True)).to_be_visible()
    expect(page.locator("#band")).to_have_text("Hatched, 4.5 % to 14.3 %: uncertain, have it read.")
    expect(page.locator("#assumed")).to_have_text("The probability is for a share of 10 % PNEUMONIA.")
    choose(page, DOUBTFUL)
    expect(page.locator("#rule")).to_contain_text("hatched band, 4.5 % to 14.3 %")


def test_equally_frequent_classes_are_said_to_be_assumed(page: Any) -> None:
    choose(page, SICK)
    expect(page.locator("#assumed")).to_have_text(
        "The probability is given as if all classes were equally frequent. "
        "Where PNEUMONIA is rarer, the probability is lower."
    )


def test_predictive_values_are_a_table_in_the_details(page: Any) -> None:
    choose(page, SICK)
    page.get_by_text("Details").click()
    table = page.get_by_role("table")
    expect(table.get_by_role("columnheader")).to_have_text(
        ["Share of PNEUMONIA", "PNEUMONIA is right", "NORMAL is right"]
    )
    expect(table.get_by_role("rowheader")).to_have_text(["1 %", "5 %", "10 %", "25 %", "50 %"])
    # Of 1000 images with 100 positive ones: 90 found, 10 missed, 180 false alarms, 720 cleared.
    expect(table.get_by_role("row").nth(3)).to_have_text("10 %33.3 %98.6 %")
    expect(table.get_by_role("caption")).to_have_text(
        "Where 10 % of the images are PNEUMONIA, 33.3 % of the answers PNEUMONIA and 98.6 % of the answers NORMAL are "
        "right. This follows from the sensitivity and specificity in the model card."
    )
    expect(page.locator("#facts")).to_contain_text("Validation images of the model")


@deployed(LocalBrightness)
def test_a_calibration_of_this_place_is_said(page: Any) -> None:
    choose(page, SICK)
    expect(page.locator("#assumed")).to_contain_text("Calibrated with 200 images of this place.")
    page.get_by_text("Details").click()
    expect(page.locator("#facts")).to_contain_text("80 NORMAL and 120 PNEUMONIA, images of this place")
    expect(page.get_by_role("caption")).to_contain_text("measured with images of this place")


def test_several_files_are_answered_in_order_and_two_at_a_time(page: Any) -> None:
    # GIVEN a look at the requests under way
    under_way, most, paths = 0, 0, set()

    def started(request: Any) -> None:
        nonlocal under_way, most
        if "predictions" in request.url:
            under_way += 1
            most = max(most, under_way)
            paths.add(request.url.partition("/v1")[2])

    def finished(request: Any) -> None:
        nonlocal under_way
        under_way -= "predictions" in request.url

    page.on("request", started)
    page.on("requestfinished", finished)
    # WHEN files are sent, one of them bad
    notes, last = upload("notes.txt", b"no image at all", "text/plain"), upload("last.png", drawn(200))
    choose(page, SICK, notes, WELL, DOUBTFUL, last)
    scored(page, 4, of=5)
    # THEN each has its own answer
    rows = page.get_by_role("list").get_by_role("button")
    tags = ["PNEUMONIA", "Not scored", "NORMAL", "Uncertain", "PNEUMONIA"]
    expect(rows.locator(".tag")).to_have_text(tags)
    assert most == 2
    # Of the file that the browser cannot show, it asks for a preview.
    assert paths == {"/predictions?explain=true", "/predictions?explain=true&preview=true"}
    # AND the history leads back to each of them
    rows.nth(2).click()
    expect(page.get_by_role("heading", name="well.png")).to_be_visible()
    expect(rows.nth(2)).to_have_attribute("aria-current", "true")
    # AND what comes later stands on top
    choose(page, upload("later.png", drawn(60)))
    expect(rows.first).to_contain_text("later.png")


def test_an_error_shows_what_the_service_says(page: Any) -> None:
    choose(page, upload("empty.png", b""))
    expect(page.locator("#problem-title")).to_have_text("The file is empty")
    expect(page.locator("#problem-detail")).to_contain_text("Send the bytes of an image.")
    expect(page.locator("#problem-code")).to_contain_text("Status 400")
    expect(page.get_by_role("button", name="Score it anyway")).to_be_hidden()
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()
    expect(page.get_by_role("status")).to_contain_text("empty.png: Not scored. The file is empty.")


def test_no_xray_can_be_scored_all_the_same(page: Any) -> None:
    choose(page, BLANK)
    expect(page.locator("#problem-title")).to_have_text("The image does not look like a chest X-ray")
    expect(page.locator("#problem-detail")).to_contain_text("the limit is")
    expect(page.get_by_role("status")).to_contain_text("the limit is")
    for told in (page.locator("#problem-detail"), page.get_by_role("status")):
        expect(told).not_to_contain_text("force")  # which is for programs
    page.get_by_role("button", name="Score it anyway").click()
    expect(page.locator("#verdict")).to_have_text("Uncertain: have it read")
    expect(page.get_by_role("list", name="Warnings").get_by_role("listitem").first).to_have_text(
        "The image was scored although it does not look like a chest X-ray."
    )
    expect(page.get_by_role("button", name="blank.png Forced 3 warnings")).to_be_visible()
    expect(page.locator("#reading")).to_be_focused()


def test_try_again_after_the_service_was_busy(page: Any) -> None:
    busy = {"type": "about:blank", "title": "The service is busy", "status": 503, "detail": "Too much at once."}
    answers_with(page, 503, json.dumps(busy), **{"content-type": "application/problem+json", "retry-after": "7"})
    choose(page, SICK)
    expect(page.locator("#problem-title")).to_have_text("The service is busy")
    expect(page.get_by_text("asks to wait 7 s")).to_be_visible()
    page.unroute(PREDICTIONS)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#verdict")).to_have_text("PNEUMONIA")


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (413, "<html>Request Entity Too Large</html>", "The file is too large for this service"),
        (403, '{"message":"Missing Authentication Token"}', "The service wants credentials"),
        (504, '{"message":"Endpoint request timed out"}', "The service is not ready"),
        (418, "", "The service answered with status 418"),
        (200, "<html>please log in</html>", "The answer could not be understood"),
    ],
)
def test_what_a_gateway_answers_is_put_into_words(page: Any, status: int, body: str, said: str) -> None:
    answers_with(page, status, body)
    choose(page, SICK)
    expect(page.locator("#problem-title")).to_have_text(said)


def test_a_large_file_that_fails_is_told_of_the_limit(page: Any) -> None:
    answers_with(page, 413, "")
    choose(page, upload("large.png", drawn(200) + bytes(5_000_000)))
    expect(page.get_by_text("The file has 5.0 MB; behind AWS Lambda at most about 4.5 MB get through.")).to_be_visible()


def test_a_lost_connection_can_be_tried_again(page: Any) -> None:
    page.route(PREDICTIONS, lambda route: route.abort())
    choose(page, SICK)
    expect(page.locator("#problem-title")).to_have_text("The service could not be reached")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


def test_dicom_has_a_placeholder_and_then_its_map(page: Any) -> None:
    overlay = Image.new("RGBA", (40, 50), (255, 0, 0, 99))
    file = io.BytesIO()
    overlay.save(file, "PNG")
    prediction = {
        "label": "PNEUMONIA",
        "probabilities": {"NORMAL": 0.1, "PNEUMONIA": 0.9},
        "threshold": 0.43,
        "prediction_set": ["PNEUMONIA"],
        "uncertain": False,
        "prevalence": {"NORMAL": 0.5, "PNEUMONIA": 0.5},
        "warnings": [],
        "explanation": {
            "label": "PNEUMONIA",
            "map": [[1]],
            "floor": 0.3,
            "full": 1,
            "overlay": base64.b64encode(file.getvalue()).decode(),
        },
    }
    answers_with(page, 200, json.dumps({"model": {}, "request_id": "x", "predictions": [prediction]}))
    choose(page, DICOM)
    expect(page.get_by_text("Browsers cannot show DICOM. The map stands alone.")).to_be_visible()
    expect(page.get_by_alt_text("Heat map of scan.dcm: strongest at the middle centre")).to_be_visible()
    expect(page.locator("#stack")).to_have_css("aspect-ratio", "0.8 / 1")
    page.get_by_role("switch", name="Heat map").uncheck()
    expect(page.locator("#no-preview")).to_have_text("Browsers cannot show DICOM.")


def test_dropped_files_are_taken(page: Any) -> None:
    transfer = page.evaluate_handle(
        """bytes => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "dropped.png"));
            return transfer;
        }""",
        list(drawn(229)),
    )
    page.dispatch_event("#drop", "dragover", {"dataTransfer": transfer})
    expect(page.locator("#drop")).to_have_class("drop over")
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    expect(page.get_by_role("heading", name="dropped.png")).to_be_visible()
    expect(page.locator("#drop")).to_have_class("drop")
    scored(page, 1, of=1)


def test_the_synthetic_phantom_is_sent(page: Any) -> None:
    page.get_by_role("button", name="Try the synthetic phantom").click()
    expect(page.get_by_role("heading", name="synthetic-phantom.png")).to_be_visible()
    scored(page, 1, of=1)


def test_a_missing_phantom_is_said(page: Any) -> None:
    page.route("**/phantom.png", lambda route: route.fulfill(status=404))
    page.get_by_role("button", name="Try the synthetic phantom").click()
    expect(page.locator("#trouble")).to_contain_text("could not be loaded")


def test_the_embedded_network_answers_the_phantom(browser: Any) -> None:
    from handler.classifier import Classifier

    with (
        serving(create_app(Settings(), Predictor(Classifier(threads=1), decode))) as address,
        browser.new_context() as context,
    ):
        page = context.new_page()
        page.goto(address)
        page.get_by_role("button", name="Try the synthetic phantom").click()
        scored(page, 1, of=1)
        expect(page.locator("#percent")).to_contain_text("%")
        expect(page.locator("#map-hint")).to_contain_text("log odds of PNEUMONIA")


def test_nothing_is_kept_and_file_names_stay_here(page: Any) -> None:
    with page.expect_request(PREDICTIONS) as sent:
        choose(page, upload("Doe_Jane_1970.png", drawn(229)))
    scored(page, 1, of=1)
    assert b"Doe_Jane" not in (sent.value.post_data_buffer or b"")
    assert "Doe_Jane" not in json.dumps(sent.value.all_headers())
    assert page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0
    page.reload()
    expect(page.locator("#visit")).to_be_hidden()
    expect(page.get_by_text("Not a medical device.", exact=True)).to_be_visible()


def test_clear_empties_the_list(page: Any) -> None:
    choose(page, SICK, WELL)
    scored(page, 2, of=2)
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#visit")).to_be_hidden()
    expect(page.locator("#viewer")).to_be_hidden()
    expect(page.get_by_label("Choose images")).to_be_focused()


def test_a_file_name_is_text_and_never_markup(page: Any) -> None:
    name = "<img src=x onerror=document.title='taken'>.png"
    choose(page, upload(name, drawn(229)))
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    scored(page, 1, of=1)
    assert page.title() != "taken"


def test_keyboard_alone(page: Any) -> None:
    keys = page.keyboard
    # First of all, for the browser hands file choosers over only some time after it was asked to.
    with page.expect_file_chooser() as chooser:
        # GIVEN focus that can be seen on the first control
        keys.press("Tab")
        expect(page.get_by_label("Choose images")).to_be_focused()
        expect(page.get_by_text("Choose images")).to_have_css("outline-style", "solid")
        # WHEN an image is chosen with it
        keys.press("Space")
    chooser.value.set_files([SPOTTED, BLANK])
    scored(page, 1, of=2)
    # THEN what follows is reached in the order of reading
    for focused in (
        page.get_by_role("button", name="Try the synthetic phantom"),
        page.get_by_role("switch", name="Heat map"),
        page.get_by_label("Opacity"),
        page.locator("#details summary"),
        *(page.get_by_role("button", name=name) for name in ("Save CSV", "Save JSON", "Copy", "Print", "Clear")),
        page.get_by_role("button", name="spotted.png"),
        page.get_by_role("button", name="blank.png"),
    ):
        keys.press("Tab")
        expect(focused).to_be_focused()
        expect(focused).to_have_css("outline-style", "solid")
    # AND works
    keys.press("Enter")
    expect(page.get_by_role("heading", name="blank.png")).to_be_visible()
    for _ in range(7):
        keys.press("Shift+Tab")
    expect(page.get_by_role("button", name="Score it anyway")).to_be_focused()
    keys.press("Enter")
    expect(page.locator("#verdict")).to_have_text("Uncertain: have it read")
    keys.press("Tab")
    expect(page.locator("#details summary")).to_be_focused()
    page.get_by_role("button", name="spotted.png").press("Enter")
    page.locator("#reading").focus()
    keys.press("Tab")
    keys.press("Space")
    expect(page.get_by_role("switch", name="Heat map")).not_to_be_checked()
    keys.press("Space")
    keys.press("Tab")
    keys.press("ArrowLeft")
    expect(page.locator("#opacity-value")).to_have_text("75 %")


@pytest.mark.parametrize("options", [{"viewport": {"width": width, "height": 640}} for width in (320, 375, 768, 1920)])
def test_no_width_scrolls_sideways(page: Any) -> None:
    choose(page, upload("a-very-long-name-without-any-blank-" * 4 + ".png", mirrored(229)), BLANK, DICOM, SPOTTED)
    scored(page, 2, of=4)
    page.get_by_text("Details").click()
    rows = page.get_by_role("list").get_by_role("button")
    for row in rows.all():
        row.click()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # The image and its answer come into view when a row far below is chosen.
    expect(page.locator("#name")).to_be_in_viewport()


@pytest.mark.parametrize("options", [{"viewport": {"width": w, "height": h}} for w, h in ((375, 667), (430, 740))])
def test_on_a_phone_the_answer_is_in_sight(page: Any) -> None:
    page.get_by_role("button", name="Try the synthetic phantom").click()
    scored(page, 1, of=1)
    expect(page.locator("#percent")).to_be_in_viewport(ratio=1)


# Without transitions, so that no colour is measured half way.
@pytest.mark.parametrize(
    "options", [{"color_scheme": scheme, "reduced_motion": "reduce"} for scheme in ("light", "dark")], ids=str
)
def test_text_stands_out_in_both_schemes(page: Any, options: dict[str, Any]) -> None:
    choose(page, SPOTTED, WELL, DOUBTFUL, MIRRORED, BLANK, DICOM)
    scored(page, 4, of=6)
    page.locator("#details").evaluate("details => details.open = true")
    for row in page.get_by_role("list").get_by_role("button").all():
        row.click()
        assert flaws(page) == []
        found = page.evaluate(f"{CHECKS}.contrast()")
        assert found == {"weak": [], "dark": options["color_scheme"] == "dark"}


def test_controls_have_names_and_the_page_a_structure(page: Any) -> None:
    assert flaws(page) == []
    choose(page, SPOTTED, MIRRORED, BLANK)
    scored(page, 2, of=3)
    for row in page.get_by_role("list").get_by_role("button").all():
        row.click()
        assert flaws(page) == []


@pytest.mark.parametrize("options", [{"reduced_motion": "reduce"}, {"reduced_motion": "no-preference"}], ids=str)
def test_motion_stops_for_those_who_ask(page: Any, options: dict[str, Any]) -> None:
    page.route(PREDICTIONS, lambda _: None)  # never answered, so that the waiting state stays
    choose(page, SICK)
    expect(page.get_by_text("Scoring…").first).to_be_visible()
    expected = "none" if options["reduced_motion"] == "reduce" else "slide"
    expect(page.locator(".progress")).to_have_css("animation-name", expected)


def test_it_works_behind_a_stage_prefix(page: Any, url: str) -> None:
    page.goto(f"{url}stage/")
    expect(page.locator("header")).to_contain_text("brightness 1.2.3")
    with page.expect_response(f"{url}stage/v1/predictions?explain=true") as answered:
        choose(page, SICK)
    assert answered.value.status == 200
    expect(page.locator("#verdict")).to_have_text("PNEUMONIA")
