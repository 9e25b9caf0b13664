"""The real tools that `infra.engine` finds. If one is missing, the test is skipped with the reason."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import engine
from infra.engine import LOCKED_DOWN, ROOT
from infra.layers import BASE

RUN_READ_ONLY = (*LOCKED_DOWN, "--memory", "512m", "--cpus", "1")


def run(*command: object, timeout: float = 900, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command and capture both streams. The caller checks the status."""
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=ROOT,
        check=False,
        **options,
    )


def require_engine() -> None:
    """Skip the test if the engine does not answer, or if the base image is missing and cannot be pulled."""
    if shutil.which("docker") is None or run("docker", "info").returncode != 0:
        pytest.skip("no Docker engine answers: start one and set DOCKER_HOST")
    if run("docker", "image", "inspect", BASE).returncode != 0 and run("docker", "pull", BASE).returncode != 0:
        pytest.skip(f"the base image {BASE} cannot be pulled")


def require_tool(name: str) -> Path:
    """Path of `sam` or `checkov`."""
    try:
        return engine.tool(name)
    except engine.EngineError as exc:
        pytest.skip(str(exc))


def require_emulator() -> Path:
    """Path of AWS's runtime interface emulator."""
    try:
        return engine.emulator()
    except engine.EngineError as exc:
        pytest.skip(str(exc))


def sam_environment() -> dict[str, str]:
    return os.environ | {"SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "us-east-1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_up(url: str, seconds: float = 120) -> None:
    """Wait until a URL gives any answer."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
        else:
            return


@contextlib.contextmanager
def container(image: str, *options: object) -> Iterator[str]:
    """Run a container in the background and yield its id. It is removed afterwards; a failed test reports its log."""
    with engine.container(image, *options) as identity:
        try:
            yield identity
        finally:
            print(engine.container_log(identity)[-6000:])
