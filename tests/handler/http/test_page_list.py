"""The list of the page in a real Chromium: its order, its filter, and what can be taken from it."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from handler.http.app import create_app
from handler.imaging.decode import decode
from handler.scoring import Predictor
from handler.settings import Settings
from tests.handler.http.brightness import BLANK, DOUBTFUL, MIRRORED, SICK, WELL, Brightness
from tests.handler.http.pages import choose, drawn, expect, flaws, scored, serving, upload

NOTES = upload("notes.txt", b"no image at all", "text/plain")
IMAGES = (SICK, WELL, DOUBTFUL, MIRRORED, NOTES, upload("image 10.png", drawn(60)), upload("image 9.png", drawn(200)))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(create_app(Settings(), Predictor(Brightness(), decode))) as address:
        yield address


@pytest.fixture
def listed(page: Any) -> Any:
    choose(page, *IMAGES)
    scored(page, 6, of=7)
    return page


def names(page: Any) -> list[str]:
    return page.locator("#list li:not([hidden]) .row-name").all_inner_texts()


def saved(page: Any, button: str) -> str:
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    text = download.value.path().read_text(encoding="utf-8")
    assert download.value.suggested_filename == f"results.{button.split()[1].lower()}"
    return text


def forced(page: Any) -> None:
    choose(page, BLANK)
    page.get_by_role("button", name="Score it anyway").click()
    scored(page, 1, of=1)


@pytest.mark.parametrize(
    ("order", "first", "last"),
    [
        ("Newest first", ["sick.png", "well.png"], "image 9.png"),
        ("Name", ["doubtful.png", "image 9.png", "image 10.png", "mirrored.png"], "well.png"),
        ("Answer", ["well.png"], "notes.txt"),
        ("Probability, highest first", ["sick.png", "mirrored.png", "image 9.png", "doubtful.png"], "notes.txt"),
    ],
)
def test_the_list_is_sorted(listed: Any, order: str, first: list[str], last: str) -> None:
    listed.get_by_label("Sort by").select_option(order)
    found = names(listed)
    assert sorted(found) == sorted(image["name"] for image in IMAGES)
    if order == "Answer":
        first = ["image 10.png", "well.png"]  # the more probable before the less probable
    assert found[: len(first)] == first
    assert found[-1] == last


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("NORMAL", ["well.png", "image 10.png"]),
        ("PNEUMONIA", ["sick.png", "mirrored.png", "image 9.png"]),
        ("Uncertain", ["doubtful.png"]),
        ("With warnings", ["mirrored.png"]),
        ("Not scored", ["notes.txt"]),
    ],
)
def test_the_list_is_filtered(listed: Any, shown: str, expected: list[str]) -> None:
    listed.get_by_label("Show").select_option(shown)
    assert names(listed) == expected
    expect(listed.locator("#count")).to_have_text(f"6 of 7 scored, {len(expected)} shown")
    listed.get_by_label("Show").select_option("All")
    assert len(names(listed)) == len(IMAGES)


def test_a_new_result_takes_its_place_in_the_order(listed: Any) -> None:
    listed.get_by_label("Sort by").select_option("Probability, highest first")
    listed.get_by_role("button", name="sick.png").focus()
    choose(listed, upload("brightest.png", drawn(231)))
    scored(listed, 7, of=8)
    assert names(listed)[:2] == ["brightest.png", "sick.png"]
    expect(listed.get_by_role("button", name="sick.png")).to_be_focused()


def test_order_and_filter_obey_the_keyboard(listed: Any) -> None:
    listed.get_by_role("button", name="Clear").focus()
    listed.keyboard.press("Tab")
    expect(listed.get_by_label("Sort by")).to_be_focused()
    listed.keyboard.press("ArrowDown")
    assert names(listed)[0] == "doubtful.png"
    listed.keyboard.press("Tab")
    listed.keyboard.type("Unc")
    assert names(listed) == ["doubtful.png"]
    listed.keyboard.press("Tab")
    expect(listed.get_by_role("button", name="doubtful.png")).to_be_focused()


def test_a_short_list_has_no_tools_and_no_filter_left(listed: Any) -> None:
    listed.get_by_label("Show").select_option("Uncertain")
    listed.get_by_role("button", name="Clear").click()
    choose(listed, SICK)
    scored(listed, 1, of=1)
    expect(listed.locator("#tools")).to_be_hidden()
    assert names(listed) == ["sick.png"]


def test_a_forced_answer_looks_forced(page: Any) -> None:
    forced(page)
    choose(page, SICK)
    scored(page, 2, of=2)
    rows = page.locator("#list li")
    expect(rows.nth(1).get_by_text("Forced")).to_be_visible()
    expect(rows.nth(0).get_by_text("Forced")).to_be_hidden()
    expect(page.locator("#forced")).to_be_hidden()
    rows.nth(1).get_by_role("button").click()
    expect(page.locator("#forced")).to_be_visible()


def test_results_are_saved_as_csv(listed: Any) -> None:
    text = saved(listed, "Save CSV")
    assert text.startswith("\ufeff")  # by which spreadsheets know UTF-8
    rows = {row["file"]: row for row in csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))}
    assert list(rows) == [image["name"] for image in IMAGES]
    sick = rows["sick.png"]
    assert sick["label"] == "PNEUMONIA"
    assert float(sick["probability PNEUMONIA"]) == pytest.approx(229 / 255, abs=0.01)
    assert float(sick["probability NORMAL"]) + float(sick["probability PNEUMONIA"]) == pytest.approx(1)
    assert (sick["uncertain"], sick["prediction_set"], sick["warnings"], sick["error"]) == (
        "false",
        "PNEUMONIA",
        "",
        "",
    )
    assert (sick["distance"], sick["forced"], sick["model"]) == ("0", "false", "brightness 1.2.3")
    assert rows["doubtful.png"]["prediction_set"] == "NORMAL; PNEUMONIA"
    assert rows["mirrored.png"]["warnings"] == "mirrored"
    assert rows["notes.txt"]["label"] == ""
    assert rows["notes.txt"]["error"].startswith("The image's format is not supported: ")


def test_results_are_saved_as_json_without_images(listed: Any) -> None:
    results = {result["file"]: result for result in json.loads(saved(listed, "Save JSON"))}
    assert list(results) == [image["name"] for image in IMAGES]
    sick = results["sick.png"]
    assert sick["label"] == "PNEUMONIA"
    assert sick["explanation"].keys() == {"label", "map", "floor", "full"}
    assert sick["model"]["version"] == "1.2.3"
    assert results["notes.txt"]["error"]["status"] == 415


def test_a_forced_answer_is_forced_in_the_results(page: Any) -> None:
    forced(page)
    assert next(csv.DictReader(io.StringIO(saved(page, "Save CSV")[1:])))["forced"] == "true"
    assert json.loads(saved(page, "Save JSON"))[0]["forced"] is True


@pytest.mark.parametrize(
    "name", ["=1+1.png", "+1.png", "-1.png", "@SUM(1).png", " =1.png", "\N{FULLWIDTH EQUALS SIGN}1.png"]
)
def test_a_file_name_is_no_formula_in_a_spreadsheet(page: Any, name: str) -> None:
    choose(page, upload(name, drawn(229)))
    scored(page, 1, of=1)
    [row] = csv.DictReader(io.StringIO(saved(page, "Save CSV")[1:]))
    assert row["file"] == f"'{name}"
    assert json.loads(saved(page, "Save JSON"))[0]["file"] == name


def test_a_file_name_with_quotes_and_commas_stays_in_its_cell(page: Any) -> None:
    name = 'a "b", c;\td.png'
    choose(page, upload(name, drawn(229)))
    scored(page, 1, of=1)
    [row] = csv.DictReader(io.StringIO(saved(page, "Save CSV")[1:]))
    assert (row["file"], row["label"]) == (name, "PNEUMONIA")


@pytest.mark.parametrize("options", [{"permissions": ["clipboard-read", "clipboard-write"]}], ids=[""])
def test_results_are_copied_as_a_table(listed: Any) -> None:
    listed.get_by_role("button", name="Copy").click()
    expect(listed.locator("#told")).to_have_text("The table is in the clipboard.")
    text = listed.evaluate("navigator.clipboard.readText()")
    rows = list(csv.DictReader(io.StringIO(text), delimiter="\t"))
    assert [row["file"] for row in rows] == [image["name"] for image in IMAGES]
    assert rows[0]["label"] == "PNEUMONIA"


def test_printed_are_the_answer_and_the_list_alone(listed: Any) -> None:
    listed.emulate_media(media="print", color_scheme="dark")
    for hidden in ("#drop", "#tools", "#save-csv", "#clear", "footer"):
        expect(listed.locator(hidden)).to_be_hidden()
    for shown in ("#verdict", "#preview", "#list", "text=Not a medical device."):
        expect(listed.locator(shown).first).to_be_visible()
    expect(listed.locator("body")).to_have_css("background-color", "rgb(255, 255, 255)")
    expect(listed.locator("h1")).to_have_css("color", "rgb(22, 33, 42)")


def test_the_print_button_prints(listed: Any) -> None:
    listed.evaluate("window.print = () => { document.title = 'printed'; }")
    listed.get_by_role("button", name="Print").click()
    assert listed.title() == "printed"


@pytest.mark.parametrize("options", [{"viewport": {"width": width, "height": 640}} for width in (320, 768, 1920)])
def test_a_long_list_is_accessible_and_fits(listed: Any) -> None:
    assert flaws(listed) == []
    assert listed.evaluate("document.documentElement.scrollWidth <= innerWidth")
