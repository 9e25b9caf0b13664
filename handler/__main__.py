"""Classify chest X-rays.

python -m handler predict chest.jpg
python -m handler serve --port 8000
python -m handler calibrate FOLDER --out calibration.json
python -m handler settings
python -m handler openapi > openapi.json
"""

import argparse
import dataclasses
import io
import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from handler.command_help import add_command, parser_of
from handler.commands import needing_packages, printable, program, run, suggest
from handler.contract import Contract
from handler.errors import HandlerError, InputNotFound, InputTooLarge
from handler.files import require_writable, write_json
from handler.setting_values import base_path
from handler.settings import Settings, described


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        0; 1 if a file could not be scored; 2 if the command itself cannot be run.
    """
    parser = parser_of(__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add = partial(add_command, commands, __doc__)
    predict = add("predict", "score image files")
    predict.add_argument("files", nargs="+", type=Path, metavar="FILE", help="image in a format that the README names")
    predict.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    predict.add_argument("--force", action="store_true", help="score images that do not look like an X-ray too")
    predict.set_defaults(run=_predict)
    serve = add("serve", "answer over HTTP")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument("--port", type=_port, default=8000, help="(default: %(default)s)")
    serve.add_argument(
        "--root-path", type=_root_path, metavar="PREFIX", help="path prefix of a proxy; overrides BASE_PATH"
    )
    serve.set_defaults(run=_serve)
    calibrate = add("calibrate", "fit a calibration on labelled images of this hospital")
    calibrate.add_argument(
        "folder", type=Path, metavar="FOLDER", help="folder with one folder of images for each label"
    )
    calibrate.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON file for CALIBRATION")
    calibrate.add_argument(
        "--coverage", type=_share, help="coverage of the prediction sets, 0 to 1 (default: that of the model)"
    )
    calibrate.add_argument(
        "--sensitivity", type=_share, default=0.95, help="minimum sensitivity, for two labels (default: %(default)s)"
    )
    calibrate.set_defaults(run=_calibrate)
    add("settings", "list the environment variables").set_defaults(run=_settings)
    add("openapi", "print the OpenAPI document").set_defaults(run=_openapi)
    options = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name may be invalid in every encoding
    with needing_packages(failed=2):
        return run(lambda: int(options.run(options)), failed=2)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"must be an integer from 0 to 65535, got {text!r}")
    return int(text)


def _root_path(text: str) -> str:
    try:
        return base_path(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{exc}, got {text!r}") from exc


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"must be a number between 0 and 1, got {text!r}")
    return share


def _predict(options: argparse.Namespace) -> int:
    from handler.loading import load, start_decoder

    settings = Settings.from_environment()
    with start_decoder(settings) as decoder:
        from handler.http.problems import problem_of
        from handler.http.responses import encoded
        from handler.scoring import Predictor, identity

        predictor = Predictor(load(settings), decoder.decode, settings.prevalence)
        results: list[dict[str, Any]] = []
        for path in options.files:
            read = partial(_read, path, settings.max_body_bytes)
            outcome = predictor.score_or_error(read, force=options.force)
            answer = {"error": problem_of(outcome)} if isinstance(outcome, HandlerError) else outcome
            results.append({"file": str(path), **answer})
    if options.json:
        print(encoded({"model": identity(predictor.contract), "predictions": results}).decode())
    else:
        _print_table(results, predictor.contract)
        xray = program("handler")
        suggest(f"{xray} predict --json FILE for every number, or {xray} serve for the page")
    return int(any("error" in result for result in results))


def _calibrate(options: argparse.Namespace) -> int:
    from handler.loading import load, start_decoder

    settings = dataclasses.replace(Settings.from_environment(), calibration=None)
    require_writable(options.out.absolute().parent)
    with start_decoder(settings) as decoder:
        from handler.calibrate import calibrate_folder, report

        classifier = load(settings)
        found, unreadable = calibrate_folder(
            options.folder,
            classifier,
            decoder.decode,
            coverage=options.coverage or classifier.contract.set_coverage,
            sensitivity=options.sensitivity,
        )
    for problem in unreadable:
        print(printable(problem))
    print(report(found))
    write_json(options.out, dataclasses.asdict(found))
    print(f"the calibration is in {options.out}; serve it with: CALIBRATION={options.out} {program('handler')} serve")
    return 0


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)  # the path may be a device without an end
    except IsADirectoryError as exc:
        raise InputNotFound(f"{path} is a folder. Name its files, such as {path}/*.") from exc
    except OSError as exc:
        raise InputNotFound(f"{path} cannot be read ({exc.strerror}). Check the path.") from exc
    if len(data) > limit:
        raise InputTooLarge(f"The file has more than {limit:,} bytes. Name a smaller copy, or raise MAX_BODY_BYTES.")
    return data


def _print_table(results: list[dict[str, Any]], contract: Contract) -> None:
    longest = max(map(len, contract.labels))
    names = [printable(result["file"]) for result in results]
    width = max(map(len, names))
    for name, result in zip(names, results, strict=True):
        if "error" in result:
            verdict = f"{result['error']['title']}: {result['error']['detail']}".replace("force=true", "--force")
        else:
            doubt = "  uncertain: have it read" if result["uncertain"] else ""
            shown = contract.positive or result["label"]
            codes = ", ".join(each["code"] for each in result["warnings"])
            warning = f"  warning: {codes}" if codes else ""
            verdict = f"{result['label']:<{longest}}  {shown} {result['probabilities'][shown]:.1%}{doubt}{warning}"
        print(f"{name:<{width}}  {printable(verdict)}")


def _serve(options: argparse.Namespace) -> NoReturn:
    if options.root_path is not None:
        os.environ["BASE_PATH"] = options.root_path  # before the settings are read
    from handler.http.address import require_free

    require_free(options.host, options.port)

    # Imported here and not by uvicorn, so that an error of the model is printed as one line without a traceback.
    from handler import startup
    from handler.http.app import app
    from handler.http.server import serve

    serve(app, startup.settings, options.host, options.port)


def _settings(options: argparse.Namespace) -> int:  # noqa: ARG001
    rows = described(Settings.from_environment())
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for variable, value, about in rows:
        print(f"{variable:<{widths[0]}}  {value:<{widths[1]}}  {about}")
    suggest(f"VARIABLE=VALUE {program('handler')} serve")
    return 0


def _openapi(options: argparse.Namespace) -> int:  # noqa: ARG001
    from handler.http.app import app

    print(json.dumps(app.openapi(), indent=1, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
