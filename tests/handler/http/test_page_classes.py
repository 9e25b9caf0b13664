"""The page in a real Chromium for bundles with more than two classes. The bundles are real ones, a tiny graph each."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handler.classifier import Classifier
from handler.explain import overlay
from handler.http.app import create_app
from handler.http.endpoints import PAGE
from handler.imaging.decode import decode
from handler.scoring import Predictor
from handler.settings import Settings
from tests.handler.http.pages import CHECKS, PREDICTIONS, choose, drawn, expect, flaws, scored, serving, upload
from tests.tiny_bundle import write_tiny_bundle

THREE = ("NORMAL", "BACTERIA", "VIRUS")
FOUR = ("normal", "COVID-19", "TB", "Lung opacity")
HOSTILE = ("<img src=x onerror=document.title='taken'>", "2", "Unbroken" * 30)
"""Names that are markup, or out of order as keys of an object, or too long for a line."""

TEXTS = "#list .tag, .verdict, #rule, #map-hint, #facts dt, #facts dd, h1"
"""Selects what contains the names."""

# The tiny graph makes the last class the more probable, the brighter the image is.
CLEAR = upload("clear.png", drawn(229))
DOUBTFUL = upload("doubtful.png", drawn(128))


def served_with(*bundles: tuple[str, ...] | dict[str, float]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("url", bundles, indirect=True, ids=lambda labels: str(len(labels)))


@pytest.fixture(scope="module")
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """With labels, or with a prevalence by label."""
    bundle = write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny", tuple(request.param))
    prevalence = request.param if isinstance(request.param, dict) else {}
    with serving(create_app(Settings(), Predictor(Classifier(bundle, threads=1), decode, prevalence))) as address:
        yield address


@served_with(THREE)
def test_the_title_is_the_one_of_the_bundle(page: Any) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text("NORMAL, BACTERIA or VIRUS from chest X-rays")
    expect(page).to_have_title("NORMAL, BACTERIA or VIRUS from chest X-rays")


@served_with(THREE)
def test_a_single_class_that_remains_is_the_verdict(page: Any) -> None:
    choose(page, CLEAR)
    expect(page.locator("#verdict")).to_have_text("VIRUS")
    expect(page.locator("#reading")).to_have_class("reading neutral")
    expect(page.locator("#rule")).to_have_text(
        "VIRUS is the most probable class, and the only one that cannot be excluded."
    )
    expect(page.locator("#band")).to_contain_text("98 % of the validation images of each class")
    expect(page.locator("#two")).to_be_hidden()
    meters = page.get_by_role("meter")
    values = [float(meter.get_attribute("aria-valuenow")) for meter in meters.all()]
    assert sum(values) == pytest.approx(100, abs=0.2)
    assert values == sorted(values)
    for label, value in zip(THREE, values, strict=True):
        meter = page.get_by_role("meter", name=f"probability of {label}")
        expect(meter).to_have_attribute(
            "aria-valuetext", f"{value:.1f}\N{NO-BREAK SPACE}%, threshold 26.7\N{NO-BREAK SPACE}%"
        )
    expect(page.locator("#more .excluded .class-name")).to_have_text(["NORMAL", "BACTERIA"])
    expect(page.locator("#list .tag")).to_have_text("VIRUS")
    expect(page.locator("#list .row-percent")).to_have_text(f"{values[-1]:.1f} %")
    expect(page.get_by_role("status")).to_have_text(f"clear.png: VIRUS. {values[-1]:.1f} % probability of VIRUS.")
    expect(page.locator("#map-hint")).to_contain_text("lowers the log odds of VIRUS")
    expect(page.locator("#assumed")).to_have_text(
        "The probabilities are given as if all classes were equally frequent."
    )
    expect(page.locator("#values")).to_be_hidden()


@served_with(THREE)
def test_several_classes_that_remain_are_uncertain(page: Any) -> None:
    choose(page, DOUBTFUL)
    expect(page.locator("#verdict")).to_have_text("Uncertain: have it read")
    expect(page.locator("#rule")).to_have_text(
        "BACTERIA or VIRUS cannot be excluded. The most probable class is VIRUS."
    )
    expect(page.locator("#more .excluded .class-name")).to_have_text(["NORMAL"])
    expect(page.locator("#list .tag")).to_have_text("Uncertain")
    expect(page.locator("#list .row-percent")).to_have_text("BACTERIA or VIRUS")
    expect(page.get_by_role("status")).to_contain_text("BACTERIA or VIRUS cannot be excluded.")


@served_with({"NORMAL": 0.98, "BACTERIA": 0.015, "VIRUS": 0.005})
def test_with_other_prevalences_the_bars_have_no_marks(page: Any) -> None:
    choose(page, CLEAR)
    expect(page.locator("#assumed")).to_have_text(
        "The probabilities are for shares of 98 % NORMAL, 1.5 % BACTERIA, and 0.5 % VIRUS."
    )
    # The sets are those of equally frequent classes, whatever the prevalence. VIRUS is not the most probable class.
    expect(page.locator("#verdict")).to_have_text("VIRUS")
    expect(page.locator("#rule")).to_have_text("VIRUS is the only class that cannot be excluded.")
    expect(page.locator("#more .marked")).to_have_count(0)
    expect(page.locator("#band")).to_contain_text("as if all were equally frequent")
    choose(page, DOUBTFUL)
    expect(page.locator("#rule")).to_contain_text("With equally frequent classes, the most probable one is VIRUS.")


@served_with(FOUR)
def test_four_classes(page: Any) -> None:
    choose(page, upload("dim.png", drawn(60)))
    expect(page.locator("#rule")).to_contain_text("COVID-19, TB, or Lung opacity cannot be excluded.")
    expect(page.get_by_role("meter")).to_have_count(4)
    expect(page.locator("#more .class-name")).to_have_text(list(FOUR))
    page.get_by_text("Details").click()
    expect(page.locator("#facts dt")).to_have_text(
        [*FOUR, "File", "Decoding", "Inference", "Calibration", "Model", "SHA-256", "Request"]
    )


@served_with(THREE)
def test_an_answer_of_another_model_than_the_card_is_shown_without_its_marks(page: Any) -> None:
    prediction = {
        "label": "B",
        "probabilities": {"A": 0.3, "B": 0.4, "C": 0.3},
        "threshold": None,
        "prediction_set": [],
        "uncertain": True,
        "prevalence": {"A": 1 / 3, "B": 1 / 3, "C": 1 / 3},
        "warnings": [],
    }
    answer = {"model": {"sha256": "0" * 64}, "request_id": "x", "predictions": [prediction]}
    page.route(PREDICTIONS, lambda route: route.fulfill(body=json.dumps(answer)))
    choose(page, CLEAR)
    expect(page.locator("#rule")).to_contain_text("Every class can be excluded")
    expect(page.locator("#more .class-name")).to_have_text(["A", "B", "C"])
    expect(page.locator("#more .marked")).to_have_count(0)
    expect(page.locator("#band")).to_be_hidden()


@served_with(HOSTILE)
@pytest.mark.parametrize("options", [{"viewport": {"width": width, "height": 640}} for width in (320, 768, 1920)])
def test_a_class_name_is_text_of_any_length(page: Any) -> None:
    choose(page, CLEAR, DOUBTFUL)
    scored(page, 2, of=2)
    expect(page.locator("#verdict")).to_have_text(HOSTILE[-1])
    expect(page.locator("#more .class-name")).to_have_text(list(HOSTILE))
    page.get_by_text("Details").click()
    assert page.title() != "taken"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for text in page.locator(f"#more li, {TEXTS}").all():
        assert text.evaluate("element => element.scrollWidth <= element.clientWidth")


@served_with(HOSTILE[::2])
@pytest.mark.parametrize("options", [{"viewport": {"width": width, "height": 640}} for width in (320, 768, 1920)])
def test_a_name_in_a_warning_a_map_or_a_table_is_text_of_any_length(page: Any) -> None:
    card = json.loads(page.request.get(f"{page.url}v1/model").body())
    card["predictive_values"] = [{"prevalence": 0.1, "positive_predictive_value": 0.5, "negative_predictive_value": 1}]
    card["calibration"] = {"images": dict.fromkeys(HOSTILE[::2], 50), "measured": {}}
    page.route("**/v1/model", lambda route: route.fulfill(body=json.dumps(card)))
    page.reload()
    image = base64.b64encode(overlay(np.ones((6, 6), np.float32), 60)).decode()
    explanation = {"label": HOSTILE[2], "map": [[1.0]], "floor": 0.3, "full": 1, "overlay": image}
    prediction = {
        "label": HOSTILE[2],
        "probabilities": dict.fromkeys(HOSTILE[::2], 0.5),
        "prevalence": {HOSTILE[0]: 0.9, HOSTILE[2]: 0.1},
        "threshold": 0.5,
        "prediction_set": list(HOSTILE[::2]),
        "uncertain": True,
        "warnings": [{"code": name, "detail": f"The image seems to be {name}."} for name in HOSTILE],
        "explanation": explanation,
    }
    model = {"sha256": card["sha256"], "name": card["name"], "version": card["version"]}
    answer = {"model": model, "request_id": "x", "predictions": [prediction]}
    page.route(PREDICTIONS, lambda route: route.fulfill(body=json.dumps(answer)))
    choose(page, CLEAR)
    page.get_by_text("Details").click()
    expect(page.get_by_role("list", name="Warnings").get_by_role("listitem")).to_have_text(
        [f"The image seems to be {name}." for name in HOSTILE]
    )
    expect(page.get_by_role("table")).to_contain_text(HOSTILE[0])
    assert page.title() != "taken"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for text in page.locator(f"#warnings li, #assumed, th, caption, .legend p, {TEXTS}").all():
        assert text.evaluate("element => element.scrollWidth <= element.clientWidth")


@served_with(THREE, FOUR)
@pytest.mark.parametrize(
    "options", [{"color_scheme": scheme, "reduced_motion": "reduce"} for scheme in ("light", "dark")], ids=str
)
def test_classes_are_accessible_in_both_schemes(page: Any, options: dict[str, Any]) -> None:
    choose(page, CLEAR, DOUBTFUL)
    scored(page, 2, of=2)
    for row in page.get_by_role("list").get_by_role("button").all():
        row.click()
        assert flaws(page) == []
        assert page.evaluate(f"{CHECKS}.contrast()") == {"weak": [], "dark": options["color_scheme"] == "dark"}


PAGE_FILES = [path for path in PAGE.iterdir() if path.suffix in {".html", ".js", ".css"}]


@pytest.mark.parametrize("file", PAGE_FILES, ids=lambda path: path.name)
def test_the_files_of_the_page_name_no_class(file: Path) -> None:
    text = file.read_text(encoding="utf-8").casefold()
    assert not [name for name in ("pneumonia", "bacteria", "virus", "covid", "tuberculosis") if name in text]
