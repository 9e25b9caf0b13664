"""The command line."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from handler.__main__ import main
from handler.classifier import Classifier
from tests.handler.images import dicom, jpeg, noise, png


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    for name, data in {"a.jpg": jpeg(), "b.png": png(), "c.dcm": dicom()}.items():
        (tmp_path / name).write_bytes(data)
    return [str(path) for path in sorted(tmp_path.iterdir())]


def test_a_table_has_a_line_for_each_file(images: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--force", *images]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == images
    assert all(re.search(r"(NORMAL|PNEUMONIA) .*\d+\.\d%", line) for line in lines)


def test_the_table_names_the_warnings_of_each_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, noisy = tmp_path / "a.png", tmp_path / "b.png"
    plain.write_bytes(png())
    noisy.write_bytes(noise())
    assert main(["predict", "--force", "--json", str(plain), str(noisy)]) == 0
    answers = json.loads(capsys.readouterr().out)["predictions"]
    codes = [[warning["code"] for warning in answer["warnings"]] for answer in answers]
    assert "forced" in codes[1]

    assert main(["predict", "--force", str(plain), str(noisy)]) == 0

    for line, found in zip(capsys.readouterr().out.splitlines(), codes, strict=True):
        assert line.partition("  warning: ")[2] == ", ".join(found)


def test_json_is_the_answer_of_the_api_with_file_names(
    images: list[str], capsys: pytest.CaptureFixture[str], classifier: Classifier
) -> None:
    assert main(["predict", "--force", "--json", *images, "missing.jpg"]) == 1

    answer = json.loads(capsys.readouterr().out)
    assert answer["model"]["sha256"] == classifier.contract.sha256
    assert [prediction["file"] for prediction in answer["predictions"]] == [*images, "missing.jpg"]
    *scored, missing = answer["predictions"]
    assert {prediction["label"] for prediction in scored} <= set(classifier.contract.labels)
    assert missing["error"]["status"] == 404
    assert "request_id" not in missing["error"]


def test_a_file_that_cannot_be_scored_is_named_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("text")

    assert main(["predict", str(text), str(tmp_path)]) == 1

    first, second = capsys.readouterr().out.splitlines()
    assert "format is not supported" in first
    assert "is a folder" in second


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [("MODEL_BUNDLE", "/nowhere", "is not a model bundle"), ("MAX_ITEMS", "many", "MAX_ITEMS must be an integer")],
)
def test_what_cannot_be_started_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)

    assert main(["predict", "x.jpg"]) == 2

    assert said in capsys.readouterr().err


@pytest.mark.parametrize("port", ["70000", "-1", "http"])
def test_a_port_that_is_none_is_refused(capsys: pytest.CaptureFixture[str], port: str) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--port", port])

    assert "from 0 to 65535" in capsys.readouterr().err


def test_a_root_path_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--root-path", "xray/"])

    assert "argument --root-path: must begin with a slash" in capsys.readouterr().err


def test_a_file_name_need_not_be_text(tmp_path: Path) -> None:
    image = os.fsencode(tmp_path) + b"/\xff.png"
    try:
        Path(os.fsdecode(image)).write_bytes(png())
    except OSError:
        pytest.skip("this file system has no such names")

    done = subprocess.run(
        [sys.executable, "-m", "handler", "predict", "--force", image],
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(os.fsencode(tmp_path) + rb"/\udcff.png")


def test_a_file_name_cannot_write_to_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, missing = tmp_path / "a\n\x1b[2J\x9b.png", tmp_path / "b\r\x1b]0;title\x07.png"
    image.write_bytes(png())

    assert main(["predict", "--force", str(image), str(missing)]) == 1

    first, second = capsys.readouterr().out.rstrip("\n").split("\n")
    assert first.startswith(rf"{tmp_path}/a\n\x1b[2J\x9b.png ")
    assert second.count(r"b\r\x1b]0;title\x07.png") == 2
    assert (first + second).isprintable()


def test_a_file_above_the_limit_of_an_image_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image, large = tmp_path / "a.png", tmp_path / "b.png"
    image.write_bytes(png())
    large.write_bytes(png() + b"x")
    monkeypatch.setenv("MAX_BODY_BYTES", str(len(png())))

    assert main(["predict", "--force", "--json", str(image), str(large)]) == 1

    scored, refused = json.loads(capsys.readouterr().out)["predictions"]
    assert scored["label"]
    assert refused["error"]["status"] == 413
    assert "raise MAX_BODY_BYTES" in refused["error"]["detail"]


def test_a_closed_output_pipe_is_not_an_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)

    done = subprocess.run(
        [sys.executable, "-m", "handler", "settings"], stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False
    )

    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_settings_are_listed_with_what_they_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAX_ITEMS", "5")

    assert main(["settings"]) == 0

    assert re.search(r"^MAX_ITEMS +5 +maximum number of images", capsys.readouterr().out, re.MULTILINE)


@contextmanager
def serving(log: Path, *options: str, **variables: str) -> Iterator[httpx2.Client]:
    """`serve` in another process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("w") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "handler", "serve", "--port", str(port), *options],
            env=os.environ | variables,
            stdout=out,
            stderr=out,
        )
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:
            for _ in range(200):
                try:
                    assert client.get("/readyz").json() == {"status": "ready"}
                    break
                except httpx2.ConnectError:
                    assert server.poll() is None, log.read_text()
                    time.sleep(0.1)
            yield client
    finally:
        server.terminate()
        server.wait(10)


def test_serve_answers_and_stops(tmp_path: Path) -> None:
    with serving(tmp_path / "log") as client:
        answer = client.post("/v1/predictions?force=true", files={"file": jpeg()})
        assert answer.json()["predictions"][0]["label"]
        assert "server" not in answer.headers


@pytest.mark.parametrize(
    ("options", "variables"), [(["--root-path", "/xray"], {"BASE_PATH": "/other"}), ([], {"BASE_PATH": "/xray"})]
)
def test_serve_below_a_prefix(tmp_path: Path, options: list[str], variables: dict[str, str]) -> None:
    with serving(tmp_path / "log", *options, **variables) as client:
        # The proxy passes the prefix on, or strips it.
        for before in ("/xray", ""):
            assert client.get(f"{before}/v1/model").status_code == 200
            assert [each["url"] for each in client.get(f"{before}/openapi.json").json()["servers"]] == ["/xray"]
            page = client.get(f"{before}/")
            links = re.findall(r'(?:href|src)="([^"#:]+)"', page.text)
            assert {"page/style.css", "page/script.js", "v1/model", "openapi.json"} <= set(links)
            assert {client.get(page.url.join(link)).status_code for link in links} == {200}
        # Without the slash, the links of the page would not contain the prefix.
        bare = client.get("/xray")
        assert (bare.status_code, bare.headers["location"]) == (307, "xray/")
        assert "x-content-type-options" in bare.headers
        assert client.get("/xrays/v1/model").status_code == 404


@pytest.mark.parametrize(
    ("options", "bundle", "said"),
    [
        (["--port", "0"], "/nowhere", "is not a model bundle"),
        (["--host", "192.0.2.1"], "", "choose an address of this machine"),
        (["--host", "no host"], "", "choose an address of this machine"),
    ],
)
def test_what_cannot_be_served_is_one_line(options: list[str], bundle: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "handler", "serve", *options],
        env={"MODEL_BUNDLE": bundle, "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_busy_port_is_one_line_that_names_another(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        assert main(["serve", "--host", host, "--port", str(port)]) == 2

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: port {port} of {host} is in use by another program")
    assert f"make serve PORT={port + 1 if port < 65535 else 8000}" in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use every port")
def test_a_port_that_only_root_may_use_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--port", "1"]) == 2

    [line] = capsys.readouterr().err.splitlines()
    assert "choose one above 1023" in line
