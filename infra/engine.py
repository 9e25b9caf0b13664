"""Run the images on this machine with the Docker engine and AWS's tools."""

import contextlib
import json
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from handler.commands import needing_packages

ROOT = Path(__file__).parents[1]

EMULATOR_PLACE = "/usr/local/bin/aws-lambda-rie"
"""Path at which `infra/lambda-entrypoint.sh` looks for Lambda's emulator."""

LOCKED_DOWN = ("--read-only", "--tmpfs", "/tmp")  # noqa: S108
"""Options of `docker run` for a file system like that of Lambda: only `/tmp` is writable."""


class EngineError(RuntimeError):
    """The engine, or a tool of AWS, is missing or fails. The message names the remedy or quotes the output."""


def docker(*arguments: object) -> str:
    """Run the Docker client and return its output.

    Raises:
        EngineError: the client is missing or fails.
    """
    return _docker(*arguments, stderr=subprocess.PIPE).strip()


def container_log(identity: str) -> str:
    """Return both output streams of a container, in the order in which they were written.

    Raises:
        EngineError: there is no such container.
    """
    return _docker("logs", identity, stderr=subprocess.STDOUT)


def machine() -> dict[str, Any]:
    """What a measurement depends on: `cpu`, `cores` of the engine, `load` (cores that programs use at the moment),
    `system` and `engine`.

    Raises:
        EngineError: there is no engine.
    """
    with needing_packages("export", failed=2):
        import psutil
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text(encoding="utf-8").splitlines() if cpus.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "cores": int(docker("info", "--format", "{{.NCPU}}")),
        # Not the load average, which still counts what ended a minute ago, such as another measurement.
        "load": psutil.cpu_percent(interval=2) / 100 * psutil.cpu_count(),
        "system": platform.platform(),
        "engine": docker("version", "--format", "{{.Server.Version}}"),
    }


def model_in(image: str) -> dict[str, str]:
    """`name`, `version` and `sha256` of the bundle in one of the images.

    Raises:
        EngineError: the image is missing or has no bundle.
    """
    docker("image", "inspect", image)  # `docker run` would look for it on the network
    contract = json.loads(docker("run", "--rm", "--entrypoint", "cat", image, "handler/model/model.json"))
    return {name: contract[name] for name in ("name", "version", "sha256")}


@contextlib.contextmanager
def container(image: str, *options: object) -> Iterator[str]:
    """Run a container in the background and yield its id. The container is removed afterwards.

    Raises:
        EngineError: it cannot be started.
    """
    identity = docker("run", "--detach", *options, image)
    try:
        yield identity
    finally:
        docker("rm", "--force", identity)


def tool(name: str) -> Path:
    """Return the path of `sam` or `checkov`, from its own environment or the search path.

    Raises:
        EngineError: it is not installed.
    """
    local = ROOT / f".venv-{name}" / "bin" / name
    found = local if local.exists() else shutil.which(name)
    if found is None:
        raise EngineError(f"{name} is not installed: make .venv-{name}/ready")
    return Path(found)


def emulator() -> Path:
    """Return the path of AWS's runtime interface emulator, which is part of SAM.

    Raises:
        EngineError: SAM is not installed, or contains no emulator for this machine.
    """
    environment = tool("sam").resolve().parents[1]
    suffix = {"x86_64": "x86_64", "aarch64": "arm64"}.get(platform.machine(), "none")
    found = list(environment.glob(f"lib/python*/site-packages/samcli/local/rapid/aws-lambda-rie-{suffix}"))
    if not found:
        raise EngineError(f"this version of SAM has no emulator for {platform.machine()}: install a newer one")
    return found[0]


def _docker(*arguments: object, stderr: int) -> str:
    if shutil.which("docker") is None:
        raise EngineError("there is no Docker client: install Docker, or put its client on the search path")
    command = ["docker", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        said = (done.stdout + (done.stderr or "")).strip()[-3000:]
        raise EngineError(_remedied(said) or f"{' '.join(command[:3])} failed: {said or f'status {done.returncode}'}")
    return done.stdout


def _remedied(said: str) -> str:
    """What to do about an error of the Docker client; empty if that is not known."""
    line = said.rpartition("\n")[2]
    if re.search(r"connect to the docker", said, re.IGNORECASE):
        return f"no Docker engine answers: start Docker, or set DOCKER_HOST to an engine that runs ({line})"
    if image := re.search(r"no such (?:image|object): (\S+?):?(?:\s|$)", said, re.IGNORECASE):
        return f"there is no image {image[1]}: build it first, as --help shows"
    return ""
