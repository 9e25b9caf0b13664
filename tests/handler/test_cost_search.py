"""The short form of `python -m tests.handler.cost_search`, and the files that the long form has found."""

import sys
from collections.abc import Iterator

import pytest

from tests.handler.cost_recipes import RECIPES
from tests.handler.cost_search import SEARCH_LIMITS, Meter, search
from tests.handler.costly import costly_files

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc"),
]

COSTLY = costly_files()


@pytest.fixture(scope="module")
def meter() -> Iterator[Meter]:
    with Meter(SEARCH_LIMITS) as made:
        yield made


def test_no_file_that_is_found_in_a_short_search_costs_more_than_it_may(meter: Meter) -> None:
    report = search(meter, list(RECIPES), seconds=20, seed=2)

    assert not report.failures, "\n".join(report.failures)
    assert set(report.trials) == set(RECIPES)


@pytest.mark.parametrize("name", COSTLY)
def test_a_costly_file_costs_no_more_than_it_may(meter: Meter, name: str) -> None:
    cost = meter.cost(COSTLY[name])

    assert cost.outcome != "pixels"
    assert not cost.excess(SEARCH_LIMITS), cost
