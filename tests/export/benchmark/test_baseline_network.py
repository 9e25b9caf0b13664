"""The network that the other runtimes run, through the command line."""

from pathlib import Path

import pytest

from export.__main__ import main


@pytest.mark.parametrize(
    ("network", "more", "remedy"),
    [
        ("absent.keras", [], "leave --network out"),
        ("network.keras", [], "give --size"),
        (".", [], "run the same fit command again"),
    ],
)
def test_a_network_that_cannot_be_run_is_refused(
    folder: Path, network: str, more: list[str], remedy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmark", "--network", str(folder / network), "--out", str(tmp_path / "out"), *more]) == 1

    assert remedy in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
