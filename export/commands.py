"""Build, publish and benchmark the model bundle.

python -m export build --model runs/vgg19 --data chest_xray --out handler/model
python -m export detectors handler/model --data data/prepared --out bundles/new --version 1.1.0
python -m export card handler/model --evaluation runs/evaluation/metrics.json
python -m export publish handler/model --repo USER/NAME
python -m export fetch --repo USER/NAME --revision SHA
python -m export benchmark
python -m export benchmark --cold-start
python -m export benchmark --server
"""

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from export.benchmark.command import add_benchmark_arguments
from export.errors import ExportError
from export.hub import add_fetch_arguments, add_publish_arguments, publish
from handler.command_help import add_command, parser_of
from handler.commands import program, run, suggest
from handler.files import require_writable
from training.arguments import add_data_arguments, reading
from training.errors import TrainingError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = parser_of(__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    add = partial(add_command, commands, __doc__)
    _build_arguments(add("build", "convert, quantize and verify a trained network"))
    _detectors_arguments(add("detectors", "fit the detectors of a bundle again, without training"))
    _card_arguments(add("card", "record an evaluation and write the model card again"))
    _publish_arguments(add("publish", "upload a bundle to the Hugging Face Hub"))
    _fetch_arguments(add("fetch", "download and verify a bundle from the Hugging Face Hub"))
    add_benchmark_arguments(add("benchmark", "time bundles and other runtimes side by side"))
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    for package in ("export", "training"):  # not the messages of the converters
        logging.getLogger(package).setLevel(logging.INFO)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    return run(
        lambda: options.run(options),
        refused=(ExportError, TrainingError, ValueError),
        out=getattr(options, "out", None),
        interrupted="nothing was replaced",
        prog=program("export"),
        arguments=arguments,
    )


def _build_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, help="run folder of `python -m training fit`")
    add_data_arguments(parser, "--calibration", purpose=", which the run was trained on")
    parser.add_argument("--out", type=Path, required=True, help="bundle folder; it is replaced after all checks")
    parser.add_argument("--name", default="chest-xray-vgg19")
    parser.add_argument("--version", default="1.0.0", help="version of the model (default: %(default)s)")
    parser.add_argument("--source", help="name of the training data, for the model card")
    parser.add_argument("--license", help="SPDX identifier of the licence of the weights (default: mit)")
    parser.add_argument(
        "--about", type=Path, metavar="FILE.json", help="texts of the model card, such as export/kermany.json"
    )
    parser.add_argument("--force", action="store_true", help="export a network that is no better than chance")
    parser.add_argument("--preset", choices=("any-cpu", "vnni"), default="any-cpu", help="default: %(default)s")
    parser.add_argument("--keep-float", type=Path, metavar="FILE", help="also save the float graph")
    parser.set_defaults(run=_build)


def _build(options: argparse.Namespace) -> None:
    from export.about import read_about
    from export.bundle import build

    # The new bundle is made beside the folder that it replaces.
    for file in (options.out, options.keep_float):
        if file is not None:
            require_writable(file.absolute().parent)
    given = {"source": options.source, "license": options.license}
    texts = read_about(options.about) if options.about else {}
    build(
        options.model,
        options.data,
        options.out,
        reading=reading(options),
        name=options.name,
        version=options.version,
        preset=options.preset,
        keep_float=options.keep_float,
        texts=texts | {name: value for name, value in given.items() if value is not None},
        force=options.force,
    )
    _say_where(options.out)


def _detectors_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path)
    parser.add_argument(
        "--data", type=Path, required=True, metavar="PREPARED", help="prepared folder that the network was trained on"
    )
    parser.add_argument("--out", type=Path, required=True, help="bundle folder; it is replaced after all checks")
    parser.add_argument("--version", required=True, help="version of the new bundle")
    parser.set_defaults(run=_detectors)


def _detectors(options: argparse.Namespace) -> None:
    from export.bundle import renew_detectors
    from training.prepare import load

    require_writable(options.out.absolute().parent)
    renew_detectors(options.bundle, load(options.data), options.out, options.version)
    _say_where(options.out)


def _card_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--evaluation", type=Path, help="metrics.json that `python -m training evaluate` saved")
    parser.set_defaults(run=_card)


def _card(options: argparse.Namespace) -> None:
    from export.card import record_evaluation, write_card

    if options.evaluation:
        record_evaluation(options.bundle, options.evaluation)
    write_card(options.bundle)
    print(f"the model card is in {options.bundle}")
    print(f"next: {program('export')} publish {shlex.quote(str(options.bundle))} --repo USER/NAME")


def _publish_arguments(parser: argparse.ArgumentParser) -> None:
    add_publish_arguments(parser)
    parser.set_defaults(run=_publish)


def _publish(options: argparse.Namespace) -> None:
    revision = publish(options.bundle, options.repo, options.private)
    print(revision)
    suggest(f"MODEL_REPO={options.repo} MODEL_REVISION={revision} {program('handler')} serve")


def _fetch_arguments(parser: argparse.ArgumentParser) -> None:
    add_fetch_arguments(parser)
    parser.set_defaults(run=_fetch)


def _fetch(options: argparse.Namespace) -> None:
    from handler.hub import fetch

    where = fetch(options.repo, options.revision, options.out)
    _say_where(where)


def _say_where(bundle: Path) -> None:
    print(f"the bundle is in {bundle}; serve it with: MODEL_BUNDLE={bundle} {program('handler')} serve")
