"""Train and evaluate the network.

python -m training prepare --data chest_xray --out data/prepared
python -m training fit --data data/prepared --out runs/vgg19 --init scratch
python -m training prune --run runs/vgg19 --data data/prepared --out runs/pruned
python -m training compare runs/vgg19 runs/pruned
python -m training evaluate --model runs/vgg19 --data chest_xray
python -m training robustness --model runs/pruned --data data/prepared
python -m training explanations --model handler/model --data data/prepared
python -m training phantom --out phantom.png
"""

import argparse
import json
import logging
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from handler.command_help import add_command, parser_of
from handler.commands import program, run
from training.arguments import add_data_arguments, add_prepare_arguments, pattern, reading
from training.backend import load_keras
from training.conclusion import after_evaluation, after_prepare
from training.errors import TrainingError
from training.fit_commands import add_fit, add_prune
from training.images import open_data, open_prepared
from training.prepare import SIZE, prepare


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = parser_of(__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    add = partial(add_command, commands, __doc__)
    _prepare_arguments(add("prepare", "check a data set, split it by patient, decode it"))
    add_fit(add("fit", "train a network; the same command again resumes"))
    add_prune(add("prune", "remove the least important channels of a trained network"))
    _compare_arguments(add("compare", "print a table of finished runs"))
    _evaluate_arguments(add("evaluate", "evaluate a model or bundle on labelled images"))
    _robustness_arguments(add("robustness", "evaluate a model on images with another framing, exposure or sharpness"))
    _explanations_arguments(add("explanations", "evaluate a bundle's explanations"))
    _phantom_arguments(add("phantom", "draw the synthetic sample image"))
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("training").setLevel(logging.INFO)  # not the messages of matplotlib and others
    resumes = options.command in ("fit", "prune")
    return run(
        lambda: options.run(options),
        refused=(TrainingError,),
        out=None if options.command == "phantom" else getattr(options, "out", None),
        interrupted="finished epochs are saved; the same command continues" if resumes else "start it again",
        prog=program("training"),
        arguments=arguments,
    )


def _prepare_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for the arrays and the split")
    parser.add_argument("--size", type=int, default=SIZE, help="image size in pixels (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the split")
    add_prepare_arguments(parser)
    parser.add_argument(
        "--held-out-group",
        type=pattern,
        metavar="REGEX",
        help="patients to add to the validation split, such as ^NORMAL2",
    )
    parser.set_defaults(run=_prepare)


def _prepare(options: argparse.Namespace) -> None:
    report = prepare(
        options.data,
        options.out,
        reading=reading(options),
        size=options.size,
        validation=options.validation,
        seed=options.seed,
        held_out_group=options.held_out_group,
        workers=options.workers,
    )
    print(after_prepare(report))
    out = shlex.quote(str(options.out))
    print(f"written to {options.out}; next: {program('training')} fit --data {out} --out runs/NAME --init hed")


def _compare_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="finished run folder")
    parser.set_defaults(run=_compare)


def _compare(options: argparse.Namespace) -> None:
    load_keras()
    from training.experiments import compare

    table, others = compare(options.runs)
    print(table)
    if others:
        print(f"left out, because they are not finished runs: {', '.join(map(str, others))}", file=sys.stderr)
    print(f"next: {program('training')} evaluate --model RUN --data DATA, with the run of your choice")


def _evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, help="a .keras file, a run folder or a bundle folder")
    add_data_arguments(parser, purpose=": the test part, or the validation images of a prepared folder")
    parser.add_argument(
        "--validation", type=Path, metavar="RUN", help="evaluate on the images of --data that RUN held out"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/evaluation"), help="folder for report and plots")
    parser.add_argument("--threshold", type=float, help="decision threshold instead of the model's")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the report")
    parser.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    from training.evaluate import evaluate, report

    result = evaluate(
        options.model,
        options.data,
        options.out,
        reading=reading(options),
        validation=options.validation,
        threshold=options.threshold,
    )
    print(json.dumps(result) if options.json else report(result))
    print(after_evaluation(options.model, options.out), file=sys.stderr if options.json else sys.stdout)


def _robustness_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, help="a .keras file, a run folder or a bundle folder")
    add_data_arguments(parser, purpose="; its validation images are used")
    parser.add_argument("--out", type=Path, default=Path("runs/robustness"), help="folder for numbers and plot")
    parser.set_defaults(run=_robustness)


def _robustness(options: argparse.Namespace) -> None:
    from training.robustness import evaluate_robustness, table

    print(table(evaluate_robustness(options.model, open_data(options.data, reading(options)), options.out)))
    print(f"numbers and plot are in {options.out}; next: look at {options.out / 'robustness.png'}")


def _explanations_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, help="a bundle folder")
    parser.add_argument("--data", type=Path, required=True, help="prepared folder; its validation images are used")
    parser.add_argument("--out", type=Path, default=Path("runs/explanations"), help="folder for numbers and plot")
    parser.set_defaults(run=_explanations)


def _explanations(options: argparse.Namespace) -> None:
    from training.explanations import evaluate_explanations, table

    print(table(evaluate_explanations(options.model, open_prepared(options.data), options.out)))
    print(f"numbers and plot are in {options.out}; next: look at {options.out / 'explanations.png'}")


def _phantom_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="PNG file to write")
    parser.set_defaults(run=_phantom)


def _phantom(options: argparse.Namespace) -> None:
    from training.phantom import save

    save(options.out)
    print(f"next: {program('handler')} predict {shlex.quote(str(options.out))}, on this synthetic chest X-ray")
