"""The imports of a cold start."""

import subprocess
import sys

FORBIDDEN = (
    "tensorflow",
    "keras",
    "matplotlib",
    "boto3",
    "huggingface_hub",
    "pydicom",
    "scipy",
    "onnx",
    "sklearn",
    "fastapi",  # only describes the interface, and its import takes 0.2 s; Lambda serves with Starlette
    "pydantic",
    "uvicorn",
)


def modules_after(code: str) -> set[str]:
    """Names of the packages that a fresh process has imported."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_the_lambda_entry_imports_nothing_that_it_does_not_need() -> None:
    assert not modules_after("import handler.lambda_entry").intersection(FORBIDDEN)


def test_the_decoder_starts_before_numpy_has_threads() -> None:
    # With more than one thread, the decoder would be a new interpreter, which costs a quarter of a second of CPU time.
    assert "numpy" not in modules_after("import handler.loading, handler.settings")


def test_neither_does_answering_an_image() -> None:
    code = (
        "import json, handler.lambda_entry as entry\n"
        "from tests.handler.events import Context, load\n"
        "answer = entry.lambda_handler(load('rest_api'), Context())\n"
        "assert answer['statusCode'] == 200, answer"
    )

    assert not modules_after(code).intersection(FORBIDDEN)


def test_the_command_line_needs_no_web_framework() -> None:
    assert not modules_after("import handler.__main__, handler.startup").intersection(
        {"fastapi", "starlette", "uvicorn"}
    )


def test_onnx_runtime_is_told_to_keep_quiet_before_it_is_imported() -> None:
    code = "import os; import handler.classifier; assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'"

    assert "onnxruntime" in modules_after(code)


def test_the_command_line_loads_the_model_once() -> None:
    code = (
        "import sys; from handler.__main__ import main; from handler.http.endpoints import PAGE\n"
        "assert main(['predict', str(PAGE / 'phantom.png')]) == 0\n"
        "assert 'handler.startup' not in sys.modules, 'importing it begins to load another one'"
    )

    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_garbage_is_collected_again_after_the_start() -> None:
    code = "import gc, handler.lambda_entry; assert gc.isenabled() and gc.get_freeze_count() > 10_000"

    modules_after(code)
