"""What a bulk run takes and costs, on paper, from measured figures.

python -m infra.cost --ms 20 --memory 1769

`--ms` is what one image takes in the function: decode and inference as its log says, and the wait for S3 that eight
readers cannot hide.
"""

import argparse
import dataclasses
import sys

from handler.command_help import parser_of
from handler.commands import run, suggest
from infra.bulk import BATCH_SIZE, CONCURRENCY

PRICES = "list prices of us-east-1, 2026-11, without free tiers"
"""Where and when the figures below held, in dollars; look them up before you rely on them."""

LAMBDA_GB_SECOND = {"x86_64": 0.0000166667, "arm64": 0.0000133334}
LAMBDA_MILLION_REQUESTS = 0.20
STANDARD_MILLION_TRANSITIONS = 25.0
S3_MILLION_GETS = 0.40
S3_MILLION_PUTS = 5.0
API_MILLION_REQUESTS = 3.50
LOGS_GB = 0.50
XRAY_MILLION_TRACES = 5.0
DATA_OUT_GB = 0.09

SNAPSHOT_GB_SECOND = 0.0000015046
SNAPSHOT_RESTORED_GB = 0.0001397998
"""SnapStart, of the function's memory: while a version exists, and for each instance that starts from it."""

FRONT_DOORS = {"REST_API": API_MILLION_REQUESTS, "FUNCTION_URL": 0.0}
"""What a million requests cost at each front door of `template.yaml`."""

TRACED = {"REST_API": 0.01, "FUNCTION_URL": 0.0}
"""The share of requests that `template.yaml` has X-Ray record."""

LOG_BYTES = {"REST_API": 700, "FUNCTION_URL": 610}
"""The most that is logged for one image: by the function, and by API Gateway."""

ANSWER_BYTES = 1000
"""About what an answer has, headers included."""

TRANSITIONS_PER_BATCH = 2
"""A child workflow enters one state and leaves it."""

OVERHEAD_MS = 150
"""Of a batch: start of the child workflow, the call, the write of the answers."""


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """Of one run."""

    images: int
    concurrency: int
    """Batches at once."""
    hours: float
    dollars: dict[str, float]
    """By service."""

    @property
    def total(self) -> float:
        return sum(self.dollars.values())


def lambda_time_dollars(seconds: float, memory: int, architecture: str) -> float:
    """What Lambda takes for so many billed seconds of a function with so many MB, requests not counted."""
    return seconds * memory / 1024 * LAMBDA_GB_SECOND[architecture]


def estimate(
    images: int,
    ms: float,
    *,
    memory: int = 1769,
    architecture: str = "x86_64",
    batch_size: int = BATCH_SIZE,
    concurrency: int = CONCURRENCY,
) -> Estimate:
    """Time and cost of a run.

    Args:
        images: how many.
        ms: of the function for one of them.
        memory: MB of the function.
        concurrency: batches at once.
    """
    batches = -(-images // batch_size)
    seconds_per_batch = (ms * batch_size + OVERHEAD_MS) / 1000
    return Estimate(
        images,
        concurrency,
        hours=batches * seconds_per_batch / concurrency / 3600,
        dollars={
            "Lambda time": lambda_time_dollars(batches * seconds_per_batch, memory, architecture),
            "Lambda requests": batches * LAMBDA_MILLION_REQUESTS / 1e6,
            "Step Functions": batches * TRANSITIONS_PER_BATCH * STANDARD_MILLION_TRANSITIONS / 1e6,
            "S3 reads": images * S3_MILLION_GETS / 1e6,
            "S3 lists and writes": (batches + images / 1000) * S3_MILLION_PUTS / 1e6,
        },
    )


def table(estimates: list[Estimate]) -> str:
    """A Markdown table, one column for each run."""
    services = list(estimates[0].dollars)
    rows = [
        ["", *(f"{e.images / 1e6:g} million" for e in estimates)],
        ["---", *("---:" for _ in estimates)],
        ["batches at once", *(f"{e.concurrency:,}" for e in estimates)],
        ["hours", *(f"{e.hours:.2f}" for e in estimates)],
        *([f"{name}, $", *(f"{e.dollars[name]:,.2f}" for e in estimates)] for name in services),
        ["**in all, $**", *(f"**{e.total:,.2f}**" for e in estimates)],
        ["per million, $", *(f"{e.total / e.images * 1e6:,.2f}" for e in estimates)],
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = parser_of(__doc__)
    parser.add_argument("--ms", type=float, required=True, help="measured milliseconds for one image")
    parser.add_argument("--memory", type=int, default=1769, help="MB of the function (default: %(default)s)")
    parser.add_argument("--architecture", choices=sorted(LAMBDA_GB_SECOND), default="x86_64")
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE, help="default: %(default)s")
    parser.add_argument("--concurrency", type=int, help="batches at once (default: 100, 500 and 1000)")
    options = parser.parse_args(arguments)
    return run(lambda: _print(options))


def _print(options: argparse.Namespace) -> None:
    runs = [
        estimate(
            images,
            options.ms,
            memory=options.memory,
            architecture=options.architecture,
            batch_size=options.batch_size,
            concurrency=options.concurrency or usual,
        )
        for images, usual in ((1_000_000, CONCURRENCY), (10_000_000, 500), (100_000_000, 1000))
    ]
    sys.stdout.write(f"{table(runs)}\n\n{PRICES}\n")
    suggest("python -m infra.bulk --stack STACK --source s3://BUCKET/PREFIX/")


if __name__ == "__main__":
    sys.exit(main())
