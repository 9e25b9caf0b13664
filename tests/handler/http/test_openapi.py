"""Whatever the OpenAPI document allows, and much that it does not, gets an answer that the document describes."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from handler.http.app import app
from handler.http.requests import RAW
from tests.handler.images import dicom, jpeg, noise, png

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed: install the extra `dev`")

for media_type in RAW:
    # Random bytes are no image; mix in some that are.
    images = st.sampled_from([jpeg(), png(), noise(), dicom()]) | st.binary(max_size=200)
    schemathesis.openapi.media_type(media_type, images)


schema = schemathesis.openapi.from_asgi("/openapi.json", app)


@schema.parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_in_the_document(case) -> None:
    # A schema cannot say which bytes are an X-ray, so what it allows may still be refused.
    case.call_and_validate(excluded_checks=[schemathesis.checks.positive_data_acceptance])
