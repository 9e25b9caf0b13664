"""The cost estimates."""

import pytest

from infra import http_cost
from infra.cost import LOG_BYTES, estimate, main
from tests.handler.test_telemetry import ACCESS_LOG_BYTES, MOST_BYTES


def test_it_adds_up() -> None:
    run = estimate(1_000_000, ms=10, memory=1024, batch_size=100, concurrency=100)
    # 10,000 batches of 1.15 s with a gigabyte, a hundred concurrent ones.
    assert run.hours == pytest.approx(11_500 / 100 / 3600)
    assert run.dollars["Lambda time"] == pytest.approx(11_500 * 0.0000166667)
    assert run.dollars["S3 reads"] == pytest.approx(0.4)
    assert run.total == pytest.approx(sum(run.dollars.values()))


def test_ten_times_the_images_cost_ten_times_as_much() -> None:
    one, ten = (estimate(count, ms=5) for count in (1_000_000, 10_000_000))
    assert ten.total == pytest.approx(10 * one.total)
    assert estimate(1_000_000, ms=5, architecture="arm64").total < one.total


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--ms", "20"]) == 0
    printed = capsys.readouterr().out
    assert "| 1 million | 10 million | 100 million |" in printed
    assert "| concurrent batches | 100 | 500 | 1,000 |" in printed
    assert "total, $" in printed


def test_a_million_over_https_adds_up() -> None:
    # A gigabyte for 10 ms, and for 500 ms at each hundredth start.
    rest = http_cost.million("REST_API", "x86_64", ms=10, init_ms=500, cold=0.01, memory=1024)
    url = http_cost.million("FUNCTION_URL", "x86_64", ms=10, init_ms=500, cold=0.01, memory=1024)
    assert rest["Lambda time"] == url["Lambda time"] == pytest.approx(10_000 * 0.0000166667)
    assert rest["initialization"] == pytest.approx(5_000 * 0.0000166667)
    assert rest["logs and metrics"] == pytest.approx(0.35)
    assert (rest["front door"], url["front door"]) == (3.5, 0)
    assert rest["X-Ray"] == pytest.approx(0.05)
    assert sum(url.values()) < sum(rest.values()) - 3.5


def test_logs_cost_what_is_logged_at_most() -> None:
    assert LOG_BYTES == {"REST_API": MOST_BYTES, "FUNCTION_URL": MOST_BYTES - ACCESS_LOG_BYTES}


def test_the_table_has_every_front_door_architecture_and_share(capsys: pytest.CaptureFixture[str]) -> None:
    assert http_cost.main(["--ms", "8", "--init-ms", "500"]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].count("FUNCTION_URL") == printed.splitlines()[0].count("arm64") == 2
    for share in ("0.1", "1", "10"):
        assert f"total, {share} % cold" in printed
    assert "SnapStart with 1769 MB" in printed
