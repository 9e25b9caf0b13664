"""The turns of the latency benchmark."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tqdm import tqdm

from export.benchmark.rules import WARM_UP, Rules
from export.benchmark.runner_pool import RunnerPool
from export.benchmark.sample_request import IMAGE
from export.benchmark.samples import Samples

KERNEL_QUERIES = 3
"""Of a kernel in a turn: only its fastest counts."""

Turn = dict[str, list[float]]


@dataclass(slots=True)
class Timing:
    """Latencies by the key of the runner, in completed turns."""

    latency: dict[str, Samples] = field(default_factory=dict)
    preprocess: dict[str, Samples] = field(default_factory=dict)
    """Of the sample image: decoding, and the conversion to the model's input."""
    end_to_end: dict[str, Samples] = field(default_factory=dict)
    """Preprocessing and inference, measured as one."""
    turns: int = 0
    """That were completed."""


def take_turns(pool: RunnerPool, rules: Rules, images: Sequence[str], kernels: Sequence[str]) -> Timing:
    """Ask all runners in turns. Ctrl-C ends them early, and the completed turns are kept.

    Args:
        pool: a runner that fails stops there and is left out.
        images: keys of the runners that take images, and so have preprocessing.
        kernels: keys of the runners that only measure the roofline.

    Raises:
        KeyboardInterrupt: before the first turn is complete.
    """
    found: dict[str, list[Turn]] = {"latency": [], "preprocess": [], "end_to_end": []}
    order = random.Random(0)  # noqa: S311 - no secret
    result = Timing()
    # With the time left. The turns differ little, because each is of all runners.
    progress = tqdm(total=rules.turns, desc="turns", unit="turn", leave=False)
    try:
        while result.turns < rules.turns:
            turn = _turn(pool, rules, images, kernels, order)
            for part, times in turn.items():
                found[part].append(times)
            result.turns += 1
            progress.update()
    except KeyboardInterrupt:
        if not result.turns:
            raise
    finally:
        progress.close()
    result.latency, result.preprocess, result.end_to_end = (
        _samples(turns[: result.turns], pool) for turns in found.values()
    )
    return result


def _turn(
    pool: RunnerPool, rules: Rules, images: Sequence[str], kernels: Sequence[str], order: random.Random
) -> Mapping[str, Turn]:
    times: dict[str, Turn] = {"latency": {}, "preprocess": {}, "end_to_end": {}}
    # In another order each time, so that no runner always follows the same one.
    for key in order.sample(sorted(pool.running), len(pool.running)):
        kernel = key in kernels
        answer = pool.ask(
            key,
            do="time",
            batch=rules.batch,
            warm_up=WARM_UP,
            queries=min(rules.queries_per_turn, KERNEL_QUERIES) if kernel else rules.queries_per_turn,
            seconds=0 if kernel else rules.seconds_per_turn,
        )
        if answer is None:
            continue
        times["latency"][key] = answer["ms"]
        if key in images:
            whole = pool.ask(
                key,
                do="end_to_end",
                batch=rules.batch,
                warm_up=WARM_UP,
                queries=rules.end_to_end_per_turn,
                image=str(IMAGE),
            )
            if whole is not None:
                times["preprocess"][key], times["end_to_end"][key] = whole["preprocess_ms"], whole["total_ms"]
    return times


def _samples(turns: Sequence[Turn], pool: RunnerPool) -> dict[str, Samples]:
    """Of the runners that work to the end."""
    keys = [key for key in pool.running if all(key in turn for turn in turns)]
    return {key: Samples(tuple(tuple(turn[key]) for turn in turns)) for key in keys}
