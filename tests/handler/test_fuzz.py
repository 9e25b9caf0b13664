"""The short form of `python -m tests.handler.fuzz` and `python -m tests.handler.load`."""

from starlette.testclient import TestClient

from tests.handler.fuzz import fuzz
from tests.handler.load import load, serving


def test_damaged_images_and_bodies_are_no_trouble(client: TestClient) -> None:
    report = fuzz(client, count=400, seed=0)

    assert not report.failures, report
    assert report.statuses[200] > 20
    assert sum(report.statuses.values()) == 400


def test_a_crowd_of_clients_is_answered() -> None:
    with serving() as (url, process):
        report = load(url, process, clients=12, seconds=2)

    assert not report.failures, report
    assert len(report.latencies_ms) >= 12
