"""The command line of the benchmark."""

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from export.benchmark.rules import QUERIES, SECONDS, Rules
from export.errors import BenchmarkError
from handler.contract import EMBEDDED_BUNDLE, load_bundle
from handler.settings import granted_threads
from training.arguments import add_data_arguments, reading
from training.run_folder import RunFolder

MIN_SIZE = 32
"""VGG19 halves its images five times."""

MAX_BATCH = 256

COLD_STARTS, REQUESTS, TURNS = 20, 1024, 20
"""Rounds by default. 1,024 requests support p99."""

_LATENCY = ("onnx", "batch", "queries", "seconds", "data", "calibration", "no_baseline")
"""Options that only the latency benchmark has."""


def add_benchmark_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m export benchmark`."""
    parser.add_argument(
        "--bundle", type=Path, action="append", help="may be given several times; default: the shipped one"
    )
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--network", type=Path, metavar="RUN", help="run folder or .keras file, for all runtimes")
    other.add_argument("--onnx", type=Path, metavar="FILE", help="any ONNX model, and nothing else")
    parser.add_argument("--no-baseline", action="store_true", help="leave the baseline network out")
    parser.add_argument("--size", type=int, metavar="PX", help="of --network's images, or of --onnx's free dimensions")
    parser.add_argument("--batch", type=int, help="images in a query (default: 1)")
    add_data_arguments(parser, required=False, purpose="; measures accuracy and AUC")
    parser.add_argument("--calibration", type=Path, help="the same, to calibrate int8; default: --data")
    parser.add_argument("--threads", type=int, default=1, help="of each runner (default: %(default)s)")
    parser.add_argument("--queries", type=int, help=f"of each runner (default: {QUERIES}); fewer for trials")
    parser.add_argument("--seconds", type=float, help=f"of each runner (default: {SECONDS:.0f}); less for trials")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--cold-start", action="store_true", help="time fresh processes up to their first answer")
    what.add_argument("--warm-path", action="store_true", help="time a warm request, and decoding alone")
    what.add_argument("--server", action="store_true", help="find the highest rate at which the server keeps up")
    parser.add_argument(
        "--rounds",
        type=int,
        help=f"of these three (default: {COLD_STARTS} cold starts, {REQUESTS} requests, or {TURNS} turns at each rate)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"), help="default: %(default)s")
    parser.set_defaults(run=_benchmark)


def _benchmark(options: argparse.Namespace) -> int:
    from export.benchmark import tables
    from export.benchmark.results import write_result

    _check(options)
    bundles = options.bundle or [EMBEDDED_BUNDLE]
    interrupted = False
    draw: Callable[[dict[str, Any], Path], list[Path]] | None = None
    if options.warm_path:
        from export.benchmark.warm_path import warm_path

        name = "warm_path.json"
        result = warm_path(bundles[0], threads=options.threads, rounds=options.rounds or REQUESTS)
        text = tables.warm_path_table(result)
    elif options.server:
        from export.benchmark.open_load import open_load
        from export.benchmark.open_load_report import open_load_table, plot_open_load

        name = "server.json"
        result = open_load(bundles[0], threads=options.threads, rounds=options.rounds or TURNS)
        text, draw = open_load_table(result), plot_open_load
    elif options.cold_start:
        from export.benchmark.cold_start import cold_start
        from export.benchmark.plots import plot_cold_start

        name = "cold_start.json"
        result = cold_start(
            bundles[0],
            options.out,
            network=_keras_file(options.network),
            network_size=options.size,
            threads=options.threads,
            rounds=options.rounds or COLD_STARTS,
        )
        text, draw = tables.cold_start_table(result), plot_cold_start
    else:
        from export.benchmark.plots import plot_latency

        name, result = "benchmark.json", _latency(options, bundles)
        interrupted = result["rules"]["interrupted"]
        text, draw = tables.latency_tables(result), plot_latency
    print(json.dumps(result) if options.json else text)  # first: it took minutes, and the disk may be full
    write_result(options.out / name, result)
    plots = draw(result, options.out) if draw else []
    written = ", ".join([name, *(path.name for path in plots)])
    print(f"{written} {'are' if plots else 'is'} in {options.out}", file=sys.stderr if options.json else sys.stdout)
    return 130 if interrupted else 0


def _latency(options: argparse.Namespace, bundles: Sequence[Path]) -> dict[str, Any]:
    from export.benchmark import comparisons as found
    from export.benchmark.baseline_network import prepare
    from export.benchmark.latency import measure_latency
    from training.images import open_data

    asked = Rules(
        QUERIES if options.queries is None else options.queries,
        SECONDS if options.seconds is None else options.seconds,
        options.batch or 1,
    )
    if options.onnx:
        only = found.compare_onnx(options.onnx, asked.batch, options.size)
        return measure_latency([only], options.out, reference=only.runners[0].key, threads=options.threads, rules=asked)
    data, calibration = (
        open_data(path, reading(options)) if path else None
        for path in (options.data, options.calibration or options.data)
    )
    calibrated_on = _short_name(options.calibration or options.data)
    compared = []
    if options.network:
        network = prepare(options.out, _keras_file(options.network), options.size, calibration)
        compared.append(found.add_served(found.compare_network(network, network.name, calibrated_on), bundles))
    else:
        for folder, name in zip(bundles, _names(bundles), strict=True):
            compared.append(found.compare_bundle(folder, options.out, name, calibration, calibrated_on))
    reference = next(runner.key for runner in compared[0].runners if runner.runtime == "bundle")
    if not options.no_baseline:
        baseline = prepare(options.out, None, None, None)
        compared.append(found.compare_network(baseline, baseline.name, None))
    return measure_latency(
        compared,
        options.out,
        reference=reference,
        data=data,
        data_name=_short_name(options.data),
        threads=options.threads,
        rules=asked,
    )


def _check(options: argparse.Namespace) -> None:
    """Refuse what cannot work before any long work.

    Raises:
        BenchmarkError: an option is out of range for the machine or the bundle, or does not go with the others.
        BundleError: see `handler.errors`.
    """
    cpus = granted_threads()
    if not 1 <= options.threads <= cpus:
        raise BenchmarkError(f"--threads {options.threads}: this process may use {cpus} CPUs, give 1 to {cpus}")
    if options.batch is not None and not 1 <= options.batch <= MAX_BATCH:
        raise BenchmarkError(f"--batch {options.batch}: give 1 to {MAX_BATCH}")
    for name, least in (("queries", 1), ("seconds", 0), ("rounds", 1)):
        value = getattr(options, name)
        if value is not None and not least <= value < math.inf:
            raise BenchmarkError(f"--{name} {value}: give {least} or more")
    folders = [folder.resolve() for folder in options.bundle or []]
    if len(set(folders)) < len(folders):
        raise BenchmarkError("--bundle names one folder twice: give each bundle once")
    modes = {"--cold-start": options.cold_start, "--warm-path": options.warm_path, "--server": options.server}
    if mode := next((mode for mode, given in modes.items() if given), None):
        for name in _LATENCY:
            if getattr(options, name):
                raise BenchmarkError(f"--{name.replace('_', '-')} is not for {mode}: leave it out")
        if options.network and not options.cold_start:
            raise BenchmarkError(f"--network is not for {mode}: leave it out")
        if len(folders) > 1:
            raise BenchmarkError(f"{mode} measures one bundle: give --bundle once")
    elif options.rounds is not None:
        raise BenchmarkError(f"--rounds is for {', '.join(modes)}: give --queries")
    if options.onnx:
        if options.size is not None and options.size < 1:
            raise BenchmarkError(f"--size {options.size}: give 1 or more")
        if not options.onnx.is_file():
            raise BenchmarkError(f"--onnx {options.onnx} does not exist: give an ONNX file")
        for name in ("bundle", "data", "calibration"):
            if getattr(options, name):
                raise BenchmarkError(f"--{name} is not for --onnx, which measures latency alone: leave it out")
    elif options.size is not None:
        _check_size(options)


def _check_size(options: argparse.Namespace) -> None:
    if options.size < MIN_SIZE:
        raise BenchmarkError(f"--size {options.size}: give {MIN_SIZE} or more")
    if options.network:
        return  # `export.benchmark.baseline_network.prepare` compares it with the network
    for folder in options.bundle or [EMBEDDED_BUNDLE]:
        contract, _ = load_bundle(folder)
        if options.size != contract.input_size:
            raise BenchmarkError(
                f"--size {options.size}: {contract.name} {contract.version} takes images of {contract.input_size} px, "
                "leave --size out"
            )


def _keras_file(network: Path | None) -> Path | None:
    """The .keras file of a run folder, or the file itself.

    Raises:
        RunError: the run is not finished.
    """
    return RunFolder(network).finished_model() if network and network.is_dir() else network


def _names(bundles: Sequence[Path]) -> list[str]:
    """By name and version, and by folder too if there are several."""
    contracts = [load_bundle(folder)[0] for folder in bundles]
    names = [f"{contract.name} {contract.version}" for contract in contracts]
    if len(bundles) == 1:
        return names
    return [f"{name} ({folder})" for name, folder in zip(names, bundles, strict=True)]


def _short_name(folder: Path | None) -> str | None:
    """A folder's name and its parent's: a full path could tell private names."""
    return f"{folder.resolve().parent.name}/{folder.resolve().name}" if folder else None
