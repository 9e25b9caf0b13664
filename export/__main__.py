"""Make, ship and time the model bundle.

python -m export build --model runs/vgg19 --calibration chest_xray --out handler/model
python -m export card handler/model --evaluation runs/evaluation/metrics.json
python -m export publish handler/model --repo USER/NAME
python -m export fetch --repo USER/NAME --revision SHA
python -m export benchmark --bundle handler/model --float runs/vgg19/float.onnx
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from export.errors import ExportError
from export.hub import add_fetch_arguments, add_publish_arguments, publish
from handler.errors import HandlerError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _build_arguments(commands.add_parser("build", help="convert, quantize and verify a trained network"))
    _card_arguments(commands.add_parser("card", help="record a test reading and write the model card anew"))
    _publish_arguments(commands.add_parser("publish", help="put a bundle on the Hugging Face Hub"))
    _fetch_arguments(commands.add_parser("fetch", help="get a verified bundle from the Hugging Face Hub"))
    _benchmark_arguments(commands.add_parser("benchmark", help="time bundles and float graphs side by side"))
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("export").setLevel(logging.INFO)  # and not the converters' own chatter
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        options.run(options)
    except (ExportError, HandlerError, OSError, ValueError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: nothing was replaced", file=sys.stderr)
        return 130
    return 0


def _build_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, help="run folder of `python -m training fit`")
    parser.add_argument("--calibration", type=Path, required=True, help="the data set that the run was trained on")
    parser.add_argument("--out", type=Path, required=True, help="bundle folder; replaced whole when all is verified")
    parser.add_argument("--name", default="chest-xray-vgg19")
    parser.add_argument("--version", default="1.0.0", help="of the model (default: %(default)s)")
    parser.add_argument("--preset", choices=("any-cpu", "vnni"), default="any-cpu", help="default: %(default)s")
    parser.add_argument("--keep-float", type=Path, metavar="FILE", help="also save the float graph, for benchmarks")
    parser.set_defaults(run=_build)


def _build(options: argparse.Namespace) -> None:
    from export.bundle import build

    build(
        options.model,
        options.calibration,
        options.out,
        name=options.name,
        version=options.version,
        preset=options.preset,
        keep_float=options.keep_float,
    )
    print(f"bundle is in {options.out}")


def _card_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--evaluation", type=Path, help="metrics.json that `python -m training evaluate` saved")
    parser.set_defaults(run=_card)


def _card(options: argparse.Namespace) -> None:
    from export.card import record_evaluation, write_card

    if options.evaluation:
        record_evaluation(options.bundle, options.evaluation)
    write_card(options.bundle)
    print(f"card is in {options.bundle}")


def _publish_arguments(parser: argparse.ArgumentParser) -> None:
    add_publish_arguments(parser)
    parser.set_defaults(run=_publish)


def _publish(options: argparse.Namespace) -> None:
    print(publish(options.bundle, options.repo, options.private))


def _fetch_arguments(parser: argparse.ArgumentParser) -> None:
    add_fetch_arguments(parser)
    parser.set_defaults(run=_fetch)


def _fetch(options: argparse.Namespace) -> None:
    from handler.hub import fetch

    print(f"bundle is in {fetch(options.repo, options.revision, options.out)}")


def _benchmark_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, default=Path("handler/model"), help="default: %(default)s")
    parser.add_argument(
        "--float", type=Path, required=True, help="float graph of `build --keep-float` to hold it against"
    )
    parser.add_argument("--threads", type=int, default=1, help="of each session (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=100, help="timed inferences of each (default: %(default)s)")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=_benchmark)


def _benchmark(options: argparse.Namespace) -> None:
    from export.benchmark import benchmark, table

    result = benchmark(options.bundle, options.float, threads=options.threads, rounds=options.rounds)
    print(
        json.dumps({"threads": options.threads, "graphs": result}) if options.json else table(result, options.threads)
    )


if __name__ == "__main__":
    sys.exit(main())
