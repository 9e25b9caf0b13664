"""The paper calculation."""

import pytest

from infra.cost import estimate, main


def test_it_adds_up() -> None:
    run = estimate(1_000_000, ms=10, memory=1024, batch_size=100, concurrency=100)
    # 10,000 batches of 1.15 s on a gigabyte, a hundred at once.
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
    assert "| batches at once | 100 | 500 | 1,000 |" in printed
    assert "in all, $" in printed
