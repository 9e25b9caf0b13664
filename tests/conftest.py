"""Shared by all tests: drawn data, and the real X-rays where this machine has them."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
XRAYS = REPOSITORY.parent / "shared" / "data" / "chest-xray"


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of drawn chests; read it, do not change it."""
    from tests.phantoms import write_data_set

    return write_data_set(tmp_path_factory.mktemp("phantoms"))


@pytest.fixture(scope="session")
def xrays() -> Path:
    """The folder of real X-rays with `train` and `test`."""
    if not XRAYS.is_dir():
        pytest.skip("needs the chest X-ray data set beside the repository, in ../shared/data/chest-xray")
    return XRAYS
