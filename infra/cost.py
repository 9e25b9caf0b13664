"""Estimate time and cost of a bulk run, from measured times and list prices.

python -m infra.cost --ms 20 --memory 1769

`--ms` is the time for one image in the function: decoding and inference, as its log says, and the time that it waits
for S3 although eight threads read.
"""

import argparse
import dataclasses
import sys

from handler.command_help import parser_of
from handler.commands import program, run, suggest
from infra import markdown
from infra.bulk import BATCH_SIZE, CONCURRENCY

PRICES = "list prices of us-east-1, 2026-11, without free tiers"
"""Source of the prices below, in dollars. Check them before you rely on them."""

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
"""SnapStart, by memory of the function: for the time that a version exists, and for each instance that it starts."""

FRONT_DOORS = {"REST_API": API_MILLION_REQUESTS, "FUNCTION_URL": 0.0}
"""Dollars for a million requests, by front door of `template.yaml`."""

TRACED = {"REST_API": 0.01, "FUNCTION_URL": 0.0}
"""Share of requests that X-Ray records, by front door."""

LOG_BYTES = {"REST_API": 700, "FUNCTION_URL": 610}
"""Maximum number of bytes of the log for one image, that of API Gateway included."""

ANSWER_BYTES = 1000
"""Approximate number of bytes of a response, headers included."""

TRANSITIONS_PER_BATCH = 2
"""State transitions of a batch: its child workflow enters and leaves one state."""

OVERHEAD_MS = 150
"""Overhead of a batch: the start of the child workflow, the call, and the write of the results."""


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """Time and cost of one run."""

    images: int
    concurrency: int
    """Number of concurrent batches."""
    hours: float
    dollars: dict[str, float]
    """Dollars by service."""

    @property
    def total(self) -> float:
        return sum(self.dollars.values())


def lambda_time_dollars(seconds: float, memory: int, architecture: str) -> float:
    """Return the price in dollars of billed seconds of a function with `memory` MB, without its requests."""
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
    """Estimate time and cost of a run.

    Args:
        images: number of images.
        ms: milliseconds of the function for one image.
        memory: memory of the function in MB.
        concurrency: number of concurrent batches.
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


RUNS = ((1_000_000, CONCURRENCY), (10_000_000, 500), (100_000_000, 1000))
"""Images, and batches at once, of the columns of the table."""


def table(
    ms: float,
    *,
    memory: int = 1769,
    architecture: str = "x86_64",
    batch_size: int = BATCH_SIZE,
    concurrency: int | None = None,
) -> str:
    """A Markdown table, one column for each of `RUNS`; the arguments are those of `estimate`."""
    runs = [
        estimate(
            images,
            ms,
            memory=memory,
            architecture=architecture,
            batch_size=batch_size,
            concurrency=concurrency or usual,
        )
        for images, usual in RUNS
    ]
    rows = [
        ["concurrent batches", *(f"{run.concurrency:,}" for run in runs)],
        ["hours", *(f"{run.hours:.2f}" for run in runs)],
        *([f"{name}, $", *(f"{run.dollars[name]:,.2f}" for run in runs)] for name in runs[0].dollars),
        ["**total, $**", *(f"**{run.total:,.2f}**" for run in runs)],
        ["per million, $", *(f"{run.total / run.images * 1e6:,.2f}" for run in runs)],
    ]
    return markdown.table(["", *(f"{run.images / 1e6:g} million" for run in runs)], rows)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = parser_of(__doc__)
    parser.add_argument("--ms", type=float, required=True, help="measured milliseconds for one image")
    parser.add_argument("--memory", type=int, default=1769, help="memory of the function in MB (default: %(default)s)")
    parser.add_argument("--architecture", choices=sorted(LAMBDA_GB_SECOND), default="x86_64")
    parser.add_argument(
        "--batch-size", type=int, default=BATCH_SIZE, help="images for each batch (default: %(default)s)"
    )
    parser.add_argument("--concurrency", type=int, help="concurrent batches (default: 100, 500 and 1000)")
    options = parser.parse_args(arguments)
    return run(lambda: _print(options))


def _print(options: argparse.Namespace) -> None:
    text = table(
        options.ms,
        memory=options.memory,
        architecture=options.architecture,
        batch_size=options.batch_size,
        concurrency=options.concurrency,
    )
    sys.stdout.write(f"{text}\n\n{PRICES}\n")
    suggest(f"{program('infra.bulk')} --stack STACK --source s3://BUCKET/PREFIX/")


if __name__ == "__main__":
    sys.exit(main())
