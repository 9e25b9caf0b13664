"""Requests that the OpenAPI document allows, and many that it does not, get an answer that the document describes."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from handler.classifier import Classifier
from handler.http.app import app, create_app
from handler.http.requests import RAW
from handler.imaging.decode import decode
from handler.scoring import Predictor
from handler.settings import Settings
from tests.handler.images import dicom, jpeg, noise, png
from tests.tiny_bundle import write_tiny_bundle

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed: install the extra `dev`")

# Random bytes are no image; mix in some that are.
images = st.sampled_from([jpeg(), png(), noise(), dicom()]) | st.binary(max_size=200)
schemathesis.openapi.media_type(RAW[-1], images)

schema = schemathesis.openapi.from_asgi("/openapi.json", app)

with TemporaryDirectory() as folder:  # a fixture would come too late: the document says which tests there are
    bundle = write_tiny_bundle(Path(folder) / "tiny", ("NORMAL", "BACTERIA", "VIRUS"))
    three = create_app(Settings(), Predictor(Classifier(bundle, threads=1), decode))
schema_of_three = schemathesis.openapi.from_asgi("/openapi.json", three)


@schema.parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_in_the_document(case) -> None:
    # A schema cannot describe which bytes are an X-ray, so a request that it allows may be refused.
    case.call_and_validate(excluded_checks=[schemathesis.checks.positive_data_acceptance])


@schema_of_three.include(path=["/v1/predictions", "/v1/model"]).parametrize()
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_about_three_classes_is_in_their_document(case) -> None:
    case.call_and_validate(excluded_checks=[schemathesis.checks.positive_data_acceptance])
