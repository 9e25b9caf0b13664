"""Assertions for all answers of one kind."""

from pydantic import TypeAdapter

from handler.http.schemas import Problem


def assert_refused(response, status: int, slug: str) -> dict:
    """Assert that the answer is this problem with all its fields, and return it."""
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    problem = TypeAdapter(Problem).validate_json(response.content, strict=True).model_dump()
    assert problem["type"] == f"urn:problem-type:xray:{slug}"
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]
    return problem
