"""Fixtures of the tests of training."""

from pathlib import Path

import pytest

from training.prepare import prepare


@pytest.fixture(scope="session")
def prepared(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic chest X-rays, prepared at 48 pixels. Tests must not change them."""
    folder = tmp_path_factory.mktemp("prepared")
    prepare(phantoms, folder, size=48, validation=0.25)
    return folder
