"""Measure memory sizes in Lambda's emulator with Lambda's share of CPU, and recommend a size.

docker build --target lambda -t xray:lambda .
python -m infra.sweep
python -m infra.sweep --xray chest.jpg --sizes 1769,3538 --cold 10 --warm 200

Each round starts a new container of every size and measures its first prediction, then warm predictions. The sizes
alternate, so that a change of the machine's speed affects all of them. A default run takes some minutes and cannot be
resumed. Do not use the machine for other work meanwhile.

Differences on Lambda: other CPUs; the initialization gets more CPU than small sizes have, and is billed; a first start
also downloads the image. Below one vCPU, high percentiles depend on the time slices of the CPU: here they are 100 ms.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from handler.command_help import parser_of
from handler.commands import needing_packages, run
from handler.files import read
from infra.engine import EngineError, docker, emulator, machine, model_in
from infra.golden import IMAGE, request_event
from infra.instance import instance, vcpus
from infra.sizing import WITHIN, Size, recommended, size
from infra.sweep_report import Sweep, save, table

with needing_packages("export", failed=2):
    from tqdm import tqdm

SIZES = (512, 1024, 1769, 2048, 3008, 3538, 5307, 7076, 10240)
"""Memory sizes in MB: the template's minimum and maximum, whole vCPUs, and the limit of new accounts."""

MOST_BYTES = 6 * 1024**2
"""Maximum size of an event that Lambda accepts from API Gateway."""


@dataclass(frozen=True, slots=True)
class _Samples:
    """Measurements of one size in all rounds: the arguments of `infra.sizing.size`."""

    cold_s: list[float] = field(default_factory=list)
    init_ms: list[float] = field(default_factory=list)
    duration_ms: list[float] = field(default_factory=list)
    billed_ms: list[int] = field(default_factory=list)
    round_trip_ms: list[float] = field(default_factory=list)

    def take(self, image: str, memory: int, cores: int, rie: Path, event: bytes, warm: int) -> None:
        """Measure one cold start and `warm` warm predictions."""
        with instance(image, memory, cores, rie) as one:
            answer, seconds = one.first_answer(event)
            _check(answer)
            for _ in range(warm):
                start = time.perf_counter()
                answer = one.invoke(event)
                self.round_trip_ms.append((time.perf_counter() - start) * 1000)
                _check(answer)
            reports = one.reports()
        self.cold_s.append(seconds)
        self.init_ms.append(reports.init_ms)
        self.duration_ms.extend(reports.duration_ms[1:])
        self.billed_ms.extend(reports.billed_ms[1:])


def measure(
    image: str, sizes: Sequence[int], event: bytes, *, cold: int, warm: int, cores: int, rie: Path
) -> list[Size]:
    """Measure memory sizes, which alternate.

    Args:
        image: an image of the target `lambda`.
        sizes: memory sizes in MB.
        event: an encoded event of `infra.golden.request_event`.
        cold: number of rounds; each has one cold start of each size.
        warm: number of predictions after each cold start.
        cores: number of cores of the engine.
        rie: AWS's runtime interface emulator.

    Raises:
        EngineError: a container does not start, or its function does not answer with a prediction.
    """
    samples = {memory: _Samples() for memory in sizes}
    # In alternating order, so that no size always follows the slowest one.
    order = [memory for turn in range(cold) for memory in (sorted(sizes), sorted(sizes, reverse=True))[turn % 2]]
    with tqdm(order, desc="cold starts", leave=False) as bar:
        for memory in bar:
            bar.set_postfix_str(f"{memory} MB")
            try:
                samples[memory].take(image, memory, cores, rie, event, warm)
            except EngineError as exc:
                raise EngineError(f"with {memory} MB: {exc}") from exc
    return [
        size(
            memory,
            cores,
            cold_s=found.cold_s,
            init_ms=found.init_ms,
            duration_ms=found.duration_ms,
            billed_ms=found.billed_ms,
            round_trip_ms=found.round_trip_ms,
        )
        for memory, found in sorted(samples.items())
    ]


def _check(answer: dict[str, Any]) -> None:
    if answer.get("statusCode") != 200:
        said = answer.get("body") or answer.get("errorMessage") or answer
        raise EngineError(f"the function does not score the X-ray: {said}")


def sweep(options: argparse.Namespace) -> Sweep:
    """Run the measurement of the command line.

    Raises:
        EngineError: see `measure`; or the engine, the image or the emulator is missing.
        ValueError: the X-ray is too large, or the machine is too small for all sizes.
        OSError: the X-ray cannot be read.
    """
    data = read(options.xray)
    event = json.dumps(request_event(data)).encode()
    if len(event) > MOST_BYTES:
        raise ValueError(
            f"{options.xray} is too large: Lambda accepts 6 MB, which are about 4.5 MB of image; use a smaller one"
        )
    name, architecture = docker("image", "inspect", "--format", "{{.Id}} {{.Architecture}}", options.image).split()
    architecture = {"amd64": "x86_64"}.get(architecture, architecture)
    about = machine()
    cores = about["cores"]
    if all(vcpus(memory) > cores for memory in options.sizes):
        raise ValueError(
            f"the engine has {cores} cores, too few for each of these sizes: give smaller ones with --sizes"
        )
    measured = measure(
        options.image,
        options.sizes,
        event,
        cold=options.cold,
        warm=options.warm,
        cores=cores,
        rie=options.emulator or emulator(),
    )
    return Sweep(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=about,
        model=model_in(options.image),
        image={"name": options.image, "id": name, "architecture": architecture},
        xray_bytes=len(data),
        within=options.within,
        recommended_mb=recommended(measured, architecture, options.within).memory_mb,
        sizes=measured,
    )


def _sizes(text: str) -> list[int]:
    sizes = [int(part) for part in text.split(",")]
    if wrong := [memory for memory in sizes if not 128 <= memory <= 10240]:
        raise argparse.ArgumentTypeError(f"Lambda has sizes from 128 to 10240 MB, not {wrong}")
    return sorted(set(sizes))


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be above 0")
    return number


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = parser_of(__doc__)
    add = parser.add_argument
    add("--image", default="xray:lambda", help="image of the Dockerfile's target lambda (default: %(default)s)")
    add("--sizes", type=_sizes, default=list(SIZES), help="MB, separated by commas (default: nine from 512 to 10240)")
    add("--cold", type=_positive, default=5, help="cold starts of each size (default: %(default)s)")
    add("--warm", type=_positive, default=100, help="warm predictions after each cold start (default: %(default)s)")
    add("--xray", type=Path, default=IMAGE, help="image to score (default: the synthetic X-ray of the page)")
    add("--within", type=float, default=WITHIN, help="maximum ratio to the best warm p95 (default: %(default)s)")
    add("--emulator", type=Path, help="AWS's aws-lambda-rie (default: that of SAM)")
    add("--out", type=Path, default=Path("runs/sweep"), help="folder of the results (default: %(default)s)")
    add("--json", action="store_true", help="print the results as one object")
    options = parser.parse_args(arguments)
    return run(lambda: _sweep(options), refused=(EngineError, ValueError), out=options.out, failed=2)


def _sweep(options: argparse.Namespace) -> None:
    found = sweep(options)
    # Print first: the run took minutes, and the disk may be full.
    sys.stdout.write((json.dumps(found.to_json(), indent=2) if options.json else table(found)) + "\n")
    save(found, options.out)
    where = (
        f"results in {options.out}/sweep.json, sweep.md and sweep.png\n"
        f'next: make deploy ARGS="--parameter-overrides MemorySize={found.recommended_mb}"\n'
    )
    # With --json standard output is for programs.
    (sys.stderr if options.json else sys.stdout).write(where)


if __name__ == "__main__":
    sys.exit(main())
