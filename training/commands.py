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
import dataclasses
import json
import logging
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from handler.command_help import add_command, parser_of
from handler.commands import run
from training.arguments import add_data_arguments, add_prepare_arguments, pattern, reading, recipe_number, sizes
from training.backend import load_keras
from training.conclusion import after_evaluation, conclude
from training.errors import TrainingError
from training.images import open_data, open_prepared
from training.layout import is_prepared
from training.prepare import SIZE, Prepared, load, prepare
from training.recipe import RECIPES
from training.run_folder import RunFolder


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = parser_of(__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    add = partial(add_command, commands, __doc__)
    _prepare_arguments(add("prepare", "check a data set, split it by patient, decode it"))
    _fit_arguments(add("fit", "train a network; the same command again resumes"))
    _prune_arguments(add("prune", "remove the least important channels of a trained network"))
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
        prog=parser.prog,
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
    _tell(
        prepare(
            options.data,
            options.out,
            reading=reading(options),
            size=options.size,
            validation=options.validation,
            seed=options.seed,
            held_out_group=options.held_out_group,
            workers=options.workers,
        )
    )
    out = shlex.quote(str(options.out))
    print(f"written to {options.out}; next: python -m training fit --data {out} --out runs/NAME --init hed")


def _tell(report: dict[str, Any]) -> None:
    """Print the files that were left out, each with the reason, and the number of images by split and class."""
    for problem in report["problems"]:
        print(problem)
    for split, counts in report["counts"].items():
        print(f"{split:10} " + ", ".join(f"{count} {name}" for name, count in counts.items()))


def _fit_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="run folder; an interrupted run in it is resumed")
    parser.add_argument(
        "--init",
        default="imagenet",
        help="imagenet (default), hed (from a package), scratch, a VGG19 weights file, or a run's model.keras (with "
        "--recipe)",
    )
    parser.add_argument(
        "--recipe", choices=sorted(RECIPES), help="default: scratch for scratch, transfer for hed, else baseline"
    )
    parser.add_argument(
        "--sizes",
        type=sizes,
        metavar="PXxEPOCHS,...",
        help="image size of every epoch of each phase, such as 48x8,64x10,128x3",
    )
    _choice_arguments(parser)
    parser.set_defaults(run=_fit)


def _fit(options: argparse.Namespace) -> None:
    usual = {"scratch": "scratch", "hed": "transfer"}.get(options.init, "baseline")
    recipe = RECIPES[options.recipe or usual](**_choices(options))
    if options.sizes:
        recipe = dataclasses.replace(recipe, phases=tuple(phase.with_sizes(options.sizes) for phase in recipe.phases))
    data = _prepared(options, recipe.size)
    load_keras()  # after the data has been checked
    from training.fit import fit

    fit(data, options.out, recipe, options.init, options.data.name, workers=options.workers)
    print(conclude(RunFolder(options.out), options.data))


def _prepared(options: argparse.Namespace, size: int) -> Prepared:
    """Return the arrays of `--data`. A data set that is not prepared is prepared first, with a fixed seed, so that all
    runs validate on the same split."""
    folder: Path = options.data
    if not is_prepared(folder):
        folder = RunFolder(options.out).data
        _tell(
            prepare(
                options.data,
                folder,
                reading=reading(options),
                size=max(SIZE, size),
                validation=options.validation,
                workers=options.workers,
            )
        )
        return load(folder)
    return open_prepared(folder, reading(options))


def _choice_arguments(parser: argparse.ArgumentParser) -> None:
    add_prepare_arguments(parser)
    parser.add_argument("--seed", type=int, default=0, help="random seed of weights, order and augmentation")
    parser.add_argument("--mixed-precision", action="store_true", help="bfloat16 arithmetic, for CPUs that have it")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=recipe_number,
        metavar="NAME=VALUE",
        help="another value for a number of training.recipe.Recipe, such as width=0.25; may be given several times",
    )


def _choices(options: argparse.Namespace) -> dict[str, Any]:
    return {"seed": options.seed, "mixed_precision": options.mixed_precision, **dict(options.set)}


def _prune_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, dest="unpruned", help="finished run of the network to prune")
    add_data_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="run folder; an interrupted run in it is resumed")
    parser.add_argument("--size", type=int, default=96, help="image size in pixels (default: %(default)s)")
    parser.add_argument(
        "--gmacs", type=float, default=0.2, help="limit in 1e9 multiply-accumulates (default: %(default)s)"
    )
    parser.add_argument("--parameters", type=float, default=1.2e6, help="limit of the weights (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=26, help="epochs of fine-tuning (default: %(default)s)")
    parser.add_argument(
        "--teacher",
        type=Path,
        action="append",
        default=[],
        help="finished run to use as the teacher instead of --run; may be given several times",
    )
    _choice_arguments(parser)
    parser.set_defaults(run=_prune)


def _prune(options: argparse.Namespace) -> None:
    data = _prepared(options, options.size)
    load_keras()
    from training.pruning import prune

    prune(
        options.unpruned,
        data,
        options.out,
        size=options.size,
        gmacs=options.gmacs,
        parameters=options.parameters,
        epochs=options.epochs,
        teachers=options.teacher,
        source=options.data.name,
        workers=options.workers,
        **_choices(options),
    )
    print(conclude(RunFolder(options.out), options.data))


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
    print("next: python -m training evaluate --model RUN --data DATA, with the run of your choice")


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
    print(f"next: python -m handler predict {shlex.quote(str(options.out))}, on this synthetic chest X-ray")
