"""The commands `fit` and `prune`."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from training.arguments import (
    add_data_arguments,
    add_prepare_arguments,
    channels,
    reading,
    recipe_number,
    sizes,
)
from training.backend import load_keras
from training.conclusion import after_prepare, conclude
from training.errors import ConfigError
from training.images import open_prepared
from training.layout import is_prepared
from training.prepare import SIZE, Prepared, load, prepare
from training.recipe import RECIPES
from training.run_folder import RunFolder


def add_fit(parser: argparse.ArgumentParser) -> None:
    add_data_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="run folder; an interrupted run in it is resumed")
    parser.add_argument(
        "--init",
        help="imagenet, hed (from a package), scratch, a VGG19 weights file, or a run's model.keras (with --recipe); "
        "default: scratch with a teacher, else imagenet",
    )
    parser.add_argument(
        "--recipe",
        choices=sorted(RECIPES),
        help="default: student with a teacher, scratch for scratch, transfer for hed, else baseline",
    )
    _teacher_argument(parser, "finished run whose probabilities the network learns too")
    parser.add_argument(
        "--channels",
        type=channels,
        default=(),
        metavar="N,...",
        help="channels of each of the sixteen convolutions (default: those of VGG19 times the width)",
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
    init = options.init or ("scratch" if options.teacher else "imagenet")
    usual = "student" if options.teacher else {"scratch": "scratch", "hed": "transfer"}.get(init, "baseline")
    recipe = RECIPES[options.recipe or usual](**_choices(options), channels=options.channels)
    if options.teacher and recipe.distillation == 0:
        raise ConfigError(
            "without distillation a teacher has no effect: leave --recipe out, or add --set distillation=0.9"
        )
    if recipe.distillation > 0 and not options.teacher:
        raise ConfigError("distillation needs a teacher: give --teacher RUN, or --set distillation=0")
    if options.sizes:
        recipe = dataclasses.replace(recipe, phases=tuple(phase.with_sizes(options.sizes) for phase in recipe.phases))
    data = _prepared(options, recipe.size)
    load_keras()  # after the data has been checked
    from training.distillation import Teacher
    from training.fit import fit

    teacher = Teacher([RunFolder(path) for path in options.teacher], data) if options.teacher else None
    fit(data, options.out, recipe, init, options.data.name, teacher, workers=options.workers)
    print(conclude(RunFolder(options.out), options.data))


def _prepared(options: argparse.Namespace, size: int) -> Prepared:
    """Return the arrays of `--data`. A data set that is not prepared is prepared first, with a fixed seed, so that all
    runs validate on the same split."""
    folder: Path = options.data
    if not is_prepared(folder):
        folder = RunFolder(options.out).data
        report = prepare(
            options.data,
            folder,
            reading=reading(options),
            size=max(SIZE, size),
            validation=options.validation,
            workers=options.workers,
        )
        print(after_prepare(report))
        return load(folder)
    return open_prepared(folder, reading(options))


def _teacher_argument(parser: argparse.ArgumentParser, purpose: str) -> None:
    parser.add_argument(
        "--teacher",
        type=Path,
        action="append",
        default=[],
        metavar="RUN",
        help=f"{purpose}; may be given several times",
    )


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


def add_prune(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, dest="unpruned", help="finished run of the network to prune")
    add_data_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="run folder; an interrupted run in it is resumed")
    parser.add_argument("--size", type=int, default=96, help="image size in pixels (default: %(default)s)")
    parser.add_argument(
        "--gmacs", type=float, default=0.2, help="limit in 1e9 multiply-accumulates (default: %(default)s)"
    )
    parser.add_argument("--parameters", type=float, default=1.2e6, help="limit of the weights (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=26, help="epochs of fine-tuning (default: %(default)s)")
    _teacher_argument(parser, "finished run to use as the teacher instead of --run")
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
