"""What is said where Docker is missing, or an image is."""

from pathlib import Path

import pytest

from infra.layers import main


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            "no Docker engine answers: start Docker",
        ),
        (
            "permission denied while trying to connect to the Docker daemon socket",
            "set DOCKER_HOST to an engine that runs (permission denied",
        ),
        ("Error response from daemon: No such image: xray:lambda", "no image xray:lambda: build it first"),
        ("Error: something else", "docker image inspect failed: Error: something else"),
    ],
)
def test_what_the_docker_client_refuses_is_one_line(
    answer: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = tmp_path / "docker"
    client.write_text(f'#!/bin/sh\necho "{answer}" >&2\nexit 1\n')
    client.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert main(["xray:lambda"]) == 1

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line


def test_a_missing_docker_client_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert main(["xray:lambda"]) == 1

    assert capsys.readouterr().err.startswith("error: there is no Docker client: install Docker")
