"""Environment variables: they are read once and checked together."""

import dataclasses
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.contract import EMBEDDED_BUNDLE
from handler.errors import SettingsError
from handler.loading import load
from handler.settings import Settings, described


def test_nothing_set_is_the_default() -> None:
    assert Settings.from_environment({}) == Settings()
    assert Settings().bundle == EMBEDDED_BUNDLE


def test_an_empty_variable_counts_as_unset() -> None:
    assert Settings.from_environment({"MAX_ITEMS": " ", "S3_BUCKETS": ""}) == Settings()


GOOD = {
    "MODEL_BUNDLE": ("/models/one", "bundle", Path("/models/one")),
    "MAX_BODY_BYTES": ("1000", "max_body_bytes", 1000),
    "WORKERS": ("3", "workers", 3),
    "REQUEST_BUDGET_S": ("60", "request_budget_s", 60),
    "S3_BUCKETS": ("one, two.three ,four", "buckets", ("one", "two.three", "four")),
    "UPLOAD_BUCKET": ("my-bucket", "upload_bucket", "my-bucket"),
    "UPLOAD_PREFIX": ("a/b/", "upload_prefix", "a/b/"),
    "OUTPUT_S3_URI": ("s3://answers/a/", "output_uri", "s3://answers/a/"),
    "CORS_ORIGINS": (
        "https://a.example,http://localhost:3000",
        "cors_origins",
        ("https://a.example", "http://localhost:3000"),
    ),
    "FRAME_ANCESTORS": ("'self' https://huggingface.co", "frame_ancestors", "'self' https://huggingface.co"),
    "BASE_PATH": ("/xray", "base_path", "/xray"),
    "LOG_LEVEL": ("debug", "log_level", "DEBUG"),
    "CALIBRATION": ("/here.json", "calibration", Path("/here.json")),
    "PREVALENCE": ("A=0.2, B=0.8", "prevalence", {"A": 0.2, "B": 0.8}),
}


@pytest.mark.parametrize("variable", GOOD)
def test_a_variable_is_understood(variable: str) -> None:
    text, name, value = GOOD[variable]

    assert getattr(Settings.from_environment({variable: text}), name) == value


BAD = {
    "MODEL_REVISION": "v1",
    "MAX_BODY_BYTES": "-1",
    "MAX_ITEMS": "0",
    "WORKERS": "two",
    "REQUEST_BUDGET_S": "0.5",
    "PREVALENCE": "1.5",
    "S3_BUCKETS": "s3://bucket",
    "UPLOAD_BUCKET": "Bucket!",
    "UPLOAD_PREFIX": "../uploads/",
    "OUTPUT_S3_URI": "answers/",
    "CORS_ORIGINS": "a.example",
    "FRAME_ANCESTORS": "'none'; script-src *",
    "BASE_PATH": "xray/",
    "LOG_LEVEL": "LOUD",
}


@pytest.mark.parametrize("variable", BAD)
def test_a_value_that_does_not_do_is_named(variable: str) -> None:
    with pytest.raises(SettingsError, match=f"{variable} must"):
        Settings.from_environment({variable: BAD[variable]})


def test_all_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_environment(BAD)

    assert all(variable in str(raised.value) for variable in BAD)


@pytest.mark.parametrize("alone", ["MODEL_REPO", "MODEL_REVISION"])
def test_a_repository_needs_a_revision(alone: str) -> None:
    with pytest.raises(SettingsError, match="is set without MODEL_"):
        Settings.from_environment({alone: "a" * 40})


def test_bodies_together_may_be_as_large_as_one() -> None:
    with pytest.raises(SettingsError, match="MAX_BYTES_IN_FLIGHT"):
        Settings.from_environment({"MAX_BODY_BYTES": "1001", "MAX_BYTES_IN_FLIGHT": "1000"})


@given(st.sampled_from([row[0] for row in described(Settings())]), st.text(max_size=30))
def test_any_text_is_understood_or_refused(variable: str, text: str) -> None:
    try:
        settings = Settings.from_environment({variable: text})
    except SettingsError:
        return
    assert "\n" not in settings.frame_ancestors


def test_every_setting_says_what_it_does() -> None:
    rows = described(Settings())

    assert len(rows) == len(dataclasses.fields(Settings))
    assert all(variable.isupper() and about for variable, _, about in rows)


HUB = {"repo": "radiology/chest", "revision": "v1"}


def test_a_model_of_the_hub_needs_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)

    with pytest.raises(SettingsError, match="its extra `hub`"):
        load(Settings(**HUB))


def test_a_cache_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()

    with pytest.raises(SettingsError, match=r"MODEL_CACHE .* other files"):
        load(Settings(**HUB, cache=tmp_path))
    assert (tmp_path / "precious").exists()
