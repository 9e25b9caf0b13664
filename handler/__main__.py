"""The command line of serving.

python -m handler predict FILE... [--json] [--force]
python -m handler serve [--host 127.0.0.1] [--port 8000] [--root-path /xray]
python -m handler settings
python -m handler openapi
"""

import argparse
import io
import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from handler.commands import run
from handler.errors import HandlerError, InputNotFound
from handler.settings import Settings, described


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        0; 1 if a file could not be scored; 2 if the command itself cannot be run.
    """
    parser = argparse.ArgumentParser(prog="python -m handler", description="Pneumonia from chest X-rays.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    predict = commands.add_parser("predict", help="score image files")
    predict.add_argument("files", nargs="+", type=Path, metavar="FILE")
    predict.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    predict.add_argument("--force", action="store_true", help="score what does not look like an X-ray all the same")
    predict.set_defaults(run=_predict)
    serve = commands.add_parser("serve", help="answer over HTTP")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument("--port", type=_port, default=8000, help="(default: %(default)s)")
    serve.add_argument("--root-path", metavar="PREFIX", help="path prefix of a proxy; as BASE_PATH, which it overrides")
    serve.set_defaults(run=_serve)
    commands.add_parser("settings", help="list the environment variables").set_defaults(run=_settings)
    commands.add_parser("openapi", help="print the OpenAPI document").set_defaults(run=_openapi)
    options = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name need not be text in any encoding
    return run(lambda: int(options.run(options)), failed=2)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 65535, got {text!r}")
    return int(text)


def _predict(options: argparse.Namespace) -> int:
    from handler.loading import load, start_decoder

    settings = Settings.from_environment()
    with start_decoder(settings) as decoder:
        from handler.http.problems import problem_of
        from handler.http.responses import encoded
        from handler.scoring import Predictor, identity

        predictor = Predictor(load(settings), decoder.decode)
        results: list[dict[str, Any]] = []
        for path in options.files:
            outcome = predictor.score_or_error(partial(_read, path), force=options.force)
            answer = {"error": problem_of(outcome)} if isinstance(outcome, HandlerError) else outcome
            results.append({"file": str(path), **answer})
    if options.json:
        print(encoded({"model": identity(predictor.contract), "predictions": results}).decode())
    else:
        _print_table(results, predictor.contract.positive)
    return int(any("error" in result for result in results))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise InputNotFound(f"{path} cannot be read ({exc.strerror}): check the path") from exc


def _print_table(results: list[dict[str, Any]], positive: str) -> None:
    width = max(len(result["file"]) for result in results)
    for result in results:
        if "error" in result:
            verdict = f"{result['error']['title']}: {result['error']['detail']}".replace("force=true", "--force")
        else:
            doubt = "  uncertain: have it read" if result["uncertain"] else ""
            verdict = f"{result['label']:<9}  {positive} {result['probabilities'][positive]:.1%}{doubt}"
        print(f"{result['file']:<{width}}  {verdict}")


def _serve(options: argparse.Namespace) -> NoReturn:
    if options.root_path is not None:
        os.environ["BASE_PATH"] = options.root_path  # before the settings are read

    # Imported here and not by uvicorn, so that a model which cannot be served is one line and no traceback.
    from handler import startup
    from handler.http.endpoints import create_service
    from handler.http.server import serve

    app = create_service(startup.settings, startup.predictor())
    serve(app, startup.settings, options.host, options.port)


def _settings(options: argparse.Namespace) -> int:  # noqa: ARG001
    rows = described(Settings.from_environment())
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for variable, value, about in rows:
        print(f"{variable:<{widths[0]}}  {value:<{widths[1]}}  {about}")
    return 0


def _openapi(options: argparse.Namespace) -> int:  # noqa: ARG001
    from handler.http.app import app

    print(json.dumps(app.openapi(), indent=1, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
