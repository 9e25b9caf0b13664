"""The Docker engine and the tools of AWS that run the images on this machine."""

import contextlib
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

EMULATOR_PLACE = "/usr/local/bin/aws-lambda-rie"
"""Where `infra/lambda-entrypoint.sh` looks for Lambda's emulator."""

LOCKED_DOWN = ("--read-only", "--tmpfs", "/tmp")  # noqa: S108
"""Options of `docker run` for a file system like Lambda's: nothing can be written but in `/tmp`."""


class EngineError(RuntimeError):
    """The engine, or a tool of AWS, is missing or fails; the message names the remedy or quotes what it said."""


def docker(*arguments: object) -> str:
    """Run the Docker client and hand back what it printed.

    Raises:
        EngineError: the client is missing or fails.
    """
    return _docker(*arguments, stderr=subprocess.PIPE).strip()


def container_log(identity: str) -> str:
    """Both streams of a container, in the order in which they were written.

    Raises:
        EngineError: there is no such container.
    """
    return _docker("logs", identity, stderr=subprocess.STDOUT)


@contextlib.contextmanager
def container(image: str, *options: object) -> Iterator[str]:
    """A container that runs in the background, by its id; gone afterwards.

    Raises:
        EngineError: it cannot be started.
    """
    identity = docker("run", "--detach", *options, image)
    try:
        yield identity
    finally:
        docker("rm", "--force", identity)


def tool(name: str) -> Path:
    """Path of `sam` or `checkov`, from its own environment or the search path.

    Raises:
        EngineError: it is not installed.
    """
    local = ROOT / f".venv-{name}" / "bin" / name
    found = local if local.exists() else shutil.which(name)
    if found is None:
        raise EngineError(f"{name} is not installed: make .venv-{name}/ready")
    return Path(found)


def emulator() -> Path:
    """Path of AWS's runtime interface emulator, which comes with SAM.

    Raises:
        EngineError: SAM is not installed, or brings none for this machine.
    """
    environment = tool("sam").resolve().parents[1]
    machine = {"x86_64": "x86_64", "aarch64": "arm64"}.get(platform.machine(), "none")
    found = list(environment.glob(f"lib/python*/site-packages/samcli/local/rapid/aws-lambda-rie-{machine}"))
    if not found:
        raise EngineError(f"this SAM brings no emulator for {platform.machine()}: install a newer one")
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
    if image := re.search(r"no such (?:image|object): (\S+)", said, re.IGNORECASE):
        return f"there is no image {image[1]}: build it first, as --help shows"
    return ""
