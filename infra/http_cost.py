"""Estimate the cost of a million predictions over HTTPS, by front door, architecture and share of cold starts.

python -m infra.http_cost --ms 8.2 --init-ms 500

`--ms` is the mean billed duration of a warm prediction and `--init-ms` that of an initialization, which is billed too:
`python -m infra.sweep` measures both. It also prints the cost of SnapStart, and of the initialization that it replaces.
"""

import argparse
import sys

from handler.command_help import parser_of
from handler.commands import run, suggest
from infra import markdown
from infra.cost import (
    ANSWER_BYTES,
    DATA_OUT_GB,
    FRONT_DOORS,
    LAMBDA_GB_SECOND,
    LAMBDA_MILLION_REQUESTS,
    LOG_BYTES,
    LOGS_GB,
    PRICES,
    SNAPSHOT_GB_SECOND,
    SNAPSHOT_RESTORED_GB,
    TRACED,
    XRAY_MILLION_TRACES,
    lambda_time_dollars,
)

COLD_SHARES = (0.001, 0.01, 0.1)

_MONTH_S = 30 * 24 * 3600


def million(
    front_door: str, architecture: str, *, ms: float, init_ms: float, cold: float, memory: int = 1769
) -> dict[str, float]:
    """Return the dollars for a million predictions, by item.

    Args:
        front_door: a key of `FRONT_DOORS`.
        ms: billed milliseconds of a warm prediction.
        init_ms: billed milliseconds of the initialization of an instance.
        cold: share of requests with a cold start, 0 to 1.
        memory: memory of the function in MB.
    """
    return {
        "front door": FRONT_DOORS[front_door],
        "Lambda time": lambda_time_dollars(1e6 * ms / 1000, memory, architecture),
        "Lambda requests": LAMBDA_MILLION_REQUESTS,
        "initialization": lambda_time_dollars(1e6 * cold * init_ms / 1000, memory, architecture),
        "logs and metrics": 1e6 * LOG_BYTES[front_door] / 1e9 * LOGS_GB,
        "X-Ray": TRACED[front_door] * XRAY_MILLION_TRACES,
        "data out": 1e6 * ANSWER_BYTES / 1e9 * DATA_OUT_GB,
    }


def table(*, ms: float, init_ms: float, memory: int = 1769) -> str:
    """Make a Markdown table: the items at 1 % cold starts, and the totals at each share."""
    pairs = [(door, architecture) for door in FRONT_DOORS for architecture in LAMBDA_GB_SECOND]
    sums = {
        cold: [million(*pair, ms=ms, init_ms=init_ms, cold=cold, memory=memory) for pair in pairs]
        for cold in COLD_SHARES
    }
    heads = ["$ per million predictions", *(f"{door}, {architecture}" for door, architecture in pairs)]
    rows = [
        *(
            [f"{part}, 1 % cold" if part == "initialization" else part, *(f"{each[part]:.2f}" for each in sums[0.01])]
            for part in sums[0.01][0]
        ),
        *(
            [f"**total, {100 * cold:g} % cold**", *(f"**{sum(each.values()):.2f}**" for each in found)]
            for cold, found in sums.items()
        ),
    ]
    return markdown.table(heads, rows)


def snapstart(*, init_ms: float, memory: int = 1769, architecture: str = "x86_64") -> str:
    """Return a sentence with the cost of SnapStart, and of the initialization that it replaces."""
    month = memory / 1024 * _MONTH_S * SNAPSHOT_GB_SECOND
    restore = 1e6 * memory / 1024 * SNAPSHOT_RESTORED_GB
    initialization = lambda_time_dollars(1e6 * init_ms / 1000, memory, architecture)
    return (
        f"SnapStart with {memory} MB: ${month:.2f} a month for each version, ${restore:.0f} for a million starts; "
        f"a million initializations of {init_ms:g} ms: ${initialization:.0f}."
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = parser_of(__doc__)
    parser.add_argument("--ms", type=float, required=True, help="billed milliseconds of a warm prediction")
    parser.add_argument("--init-ms", type=float, required=True, help="billed milliseconds of an initialization")
    parser.add_argument("--memory", type=int, default=1769, help="memory of the function in MB (default: %(default)s)")
    options = parser.parse_args(arguments)
    return run(lambda: _print(options))


def _print(options: argparse.Namespace) -> None:
    text = table(ms=options.ms, init_ms=options.init_ms, memory=options.memory)
    sys.stdout.write(f"{text}\n\n{PRICES}\n\n{snapstart(init_ms=options.init_ms, memory=options.memory)}\n")
    suggest("make deploy ARGS=--guided")


if __name__ == "__main__":
    sys.exit(main())
