"""The real tools, where this machine has them: Docker, SAM with Lambda's emulator in its package, checkov."""

import contextlib
import os
import platform
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BASE = "public.ecr.aws/docker/library/python:3.13-slim-bookworm"
RUN_READ_ONLY = ("--read-only", "--tmpfs", "/tmp", "--memory", "512m", "--cpus", "1")


def run(*command: object, timeout: float = 900, **options: object) -> subprocess.CompletedProcess[str]:
    """Run to the end, both streams captured; the caller judges the status."""
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=ROOT,
        check=False,
        **options,
    )


def docker(*arguments: object) -> str:
    """Run the Docker client and hand back what it printed."""
    done = run("docker", *arguments)
    assert done.returncode == 0, f"docker {' '.join(map(str, arguments))}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout.strip()


def require_engine() -> None:
    """Skip the test where no engine answers or the base image can neither be found nor pulled."""
    if shutil.which("docker") is None or run("docker", "info").returncode != 0:
        pytest.skip("no Docker engine answers: start one and set DOCKER_HOST")
    if run("docker", "image", "inspect", BASE).returncode != 0 and run("docker", "pull", BASE).returncode != 0:
        pytest.skip(f"the base image {BASE} cannot be pulled")


def require_tool(name: str) -> Path:
    """Path of `sam` or `checkov`, from its own environment or the search path."""
    local = ROOT / f".venv-{name}" / "bin" / name
    found = local if local.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: make .venv-{name}/ready")
    return Path(found)


def require_emulator() -> Path:
    """Path of AWS's runtime interface emulator, which comes with SAM."""
    environment = require_tool("sam").resolve().parents[1]
    machine = {"x86_64": "x86_64", "aarch64": "arm64"}.get(platform.machine(), "none")
    found = list(environment.glob(f"lib/python*/site-packages/samcli/local/rapid/aws-lambda-rie-{machine}"))
    if not found:
        pytest.skip("this SAM brings no emulator for this machine")
    return found[0]


def sam_environment() -> dict[str, str]:
    return os.environ | {"SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "us-east-1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_up(url: str, seconds: float = 120) -> None:
    """Wait until anything at all answers at a URL."""
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
    """A container that runs in the background, by its id; gone afterwards, its log in the report of a failed test."""
    identity = docker("run", "--detach", *options, image)
    try:
        yield identity
    finally:
        log = run("docker", "logs", identity)
        print(log.stdout[-3000:], log.stderr[-3000:])
        run("docker", "rm", "--force", identity)
