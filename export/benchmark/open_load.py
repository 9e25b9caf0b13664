"""Find the highest rate of queries that the server keeps up with.

    python -m export benchmark --server

As in the server scenario of MLPerf, queries arrive as a Poisson process, whether or not earlier ones were answered. A
rate holds if p99 of the latency is at most 100 ms and no query fails. The rate rises by half until it does not hold.
Then bisections narrow the limit down. All queries at one rate are answered before the next rate begins. The server is
`python -m handler serve` in a separate process, on other CPU cores than the generator if there are enough.
"""

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from export.benchmark.load_generator import Query, poisson_arrivals, post, send, send_in_turn
from export.benchmark.rate_search import RateSearch
from export.benchmark.results import heading
from export.benchmark.sample_request import IMAGE, radiograph
from export.benchmark.samples import Samples
from export.benchmark.server_process import serving
from export.errors import RunnerError
from handler.contract import load_bundle
from handler.scoring import identity

PERCENTILE = 99

ATTEMPTS = 2
"""At a rate, if the generator is late: the machine may have done something else for a moment."""

WARM_UP = 40
"""Queries before the measured ones."""

HOLDS, TOO_SLOW, FAILURES, LATE = "holds", "too slow", "failures", "generator late"

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LoadRules:
    """When a rate holds."""

    limit_ms: float = 100.0
    """Of p99 of the latency."""
    late_ms: float = 10.0
    """Of p99 of the generator's lateness. Above it, the rate counts as one that does not hold."""
    turn_s: float = 1.0
    """A turn lasts at least this long."""
    turn_queries: int = 52
    """A turn has at least this many queries. MLPerf asks for 1,024 at each rate, and 20 turns have 1,040."""


def open_load(bundle: Path, *, threads: int = 1, rounds: int = 20) -> Figures:
    """Measure the server with two images: the sample image, and a JPEG of the size of a radiograph.

    Args:
        bundle: what the server serves; its other settings come from the environment variables of this process.
        threads: CPU cores of the server.
        rounds: turns at each rate, see `LoadRules`.

    Returns:
        `date`, `machine`, `threads`, `model` (`name`, `version`, `sha256`), `rounds`, `rules`, `server` and `loads`.
        `server` has `workers`, `max_in_flight` and `shares_cores` with the generator. Each load has `name`, `image`
        (`type`, `bytes`) and the fields of `find_limit`.

    Raises:
        BundleError, SettingsError: see `handler.errors`.
        RunnerError: the server cannot be started, or answers no query.
    """
    contract, _ = load_bundle(bundle)
    rules = LoadRules()
    images = {"sample image": (IMAGE.read_bytes(), "image/png"), "radiograph": (radiograph(), "image/jpeg")}
    loads = []
    with serving(bundle, threads) as server:
        for name, (image, media_type) in images.items():
            # A bundle for other images may refuse these. The work for them is the same.
            request = post("/v1/predictions?force=true", image, media_type)
            about = {"name": name, "image": {"type": media_type, "bytes": len(image)}}
            loads.append(about | find_limit(server.port, request, rounds, rules, name))
    return heading(threads) | {
        "model": identity(contract),
        "rounds": rounds,
        "rules": dataclasses.asdict(rules),
        "server": {
            "workers": server.settings.workers,
            "max_in_flight": server.settings.max_in_flight,
            "shares_cores": server.shares_cores,
        },
        "loads": loads,
    }


def find_limit(port: int, request: bytes, rounds: int, rules: LoadRules, name: str = "") -> Figures:
    """Search for the highest rate that holds.

    Args:
        port: where a server listens on 127.0.0.1.
        request: a whole HTTP/1.1 request.
        rounds: turns at each rate.
        rules: of a turn, and of a rate that holds.
        name: shown with the progress.

    Returns:
        `highest_rate` in queries per second, or None if no rate held; `limited_by`, the verdict at the lowest rate that
        did not hold; and `rates`, lowest first, each with:

        - `rate` as scheduled, `reached` (answered queries per second), both in queries per second, and `verdict`;
        - `attempts`; the figures are those of the last one;
        - `queries`, and `failures`: their number by reason;
        - `latency` of the answered queries, as `export.benchmark.samples.Samples` summarizes it, and their `samples`;
          both None if there are none;
        - `lateness_ms` of the generator with `p50`, `p99` and `max`, and its samples as `lateness`.

    Raises:
        RunnerError: the server answers no query.
    """
    search = RateSearch(_first_rate(port, request))
    rates: list[Figures] = []
    with tqdm(desc=name, leave=False, bar_format="{desc}{postfix}: {bar} {elapsed} < {remaining}") as bar:
        while search.rate is not None:
            rate = search.rate
            count = rounds * max(math.ceil(rate * rules.turn_s), rules.turn_queries)
            bar.set_postfix_str(f"{rate:g} queries/s")
            # The arrivals of each rate are drawn separately.
            arrivals_s = poisson_arrivals(rate, count, seed=len(rates))
            for attempt in itertools.count(1):
                # An estimate: later rates take as long as this one.
                bar.total = bar.n + search.left * count / rate
                queries = send(port, request, arrivals_s, _advance(bar, 1 / rate))
                end_s = max(due + query.latency_ms / 1e3 for due, query in zip(arrivals_s, queries, strict=True))
                found = _figures(queries, float(end_s), rounds, rules)
                if found["verdict"] != LATE or attempt == ATTEMPTS:
                    break
            rates.append({"rate": rate, "attempts": attempt, **found})
            search.tell(holds=found["verdict"] == HOLDS)
            if found["verdict"] == LATE and search.held is None:
                break  # lower rates take longer, and the generator would be late at them too
    limited_by = next(found["verdict"] for found in rates if found["rate"] == search.broken)
    rates.sort(key=lambda found: float(found["rate"]))
    return {"highest_rate": search.held, "limited_by": limited_by, "rates": rates}


def _first_rate(port: int, request: bytes) -> float:
    """Half the rate at which the server answers one query after the other. Measuring it also warms the server up."""
    queries = send_in_turn(port, request, WARM_UP)
    answered = [query.latency_ms for query in queries if not query.failure]
    if not answered:
        raise RunnerError(
            f"the server answers no query ({queries[0].failure}): start python -m handler serve with the same settings "
            "and see what it prints"
        )
    return float(f"{500 / np.median(answered):.2g}")


def _advance(bar: "tqdm[Any]", seconds: float) -> Callable[[], object]:
    # tqdm warns of a bar that is full beyond its total, and the sum of so many fractions is not exact.
    return lambda: bar.update(min(seconds, bar.total - bar.n))


def _figures(queries: Sequence[Query], seconds: float, rounds: int, rules: LoadRules) -> Figures:
    """The fields of one rate, without the rate itself."""
    size = len(queries) // rounds
    turns = [queries[start : start + size] for start in range(0, len(queries), size)]
    answered = [[query.latency_ms for query in turn if not query.failure] for turn in turns]
    latency = Samples(tuple(tuple(turn) for turn in answered if turn)) if any(answered) else None
    lateness = Samples(tuple(tuple(query.late_ms for query in turn) for turn in turns))
    failures = Counter(query.failure for query in queries if query.failure)
    if lateness.percentile(PERCENTILE) > rules.late_ms:
        verdict = LATE
    elif latency is None or failures:
        verdict = FAILURES
    else:
        verdict = HOLDS if latency.percentile(PERCENTILE) <= rules.limit_ms else TOO_SLOW
    return {
        "reached": (latency.n if latency else 0) / seconds,
        "verdict": verdict,
        "queries": len(queries),
        "failures": dict(failures),
        "latency": latency.summary() if latency else None,
        "samples": latency.to_json() if latency else None,
        "lateness_ms": {
            "p50": lateness.percentile(50),
            "p99": lateness.percentile(PERCENTILE),
            "max": lateness.percentile(100),
        },
        "lateness": lateness.to_json(),
    }
