"""Fixtures of all tests: synthetic data, and the real X-rays if this machine has them."""

import signal
from collections import Counter
from pathlib import Path

import hypothesis
import pytest

# No deadline: the time of an example depends on the machine and not on the code.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")

# A job in the background of a shell ignores Ctrl-C, and the commands that tests start and interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parent.parent
XRAYS = REPOSITORY.parent / "shared" / "data" / "chest-xray"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files with slow tests first. A long file that starts last would run alone at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end, in one line, what was skipped and why."""
    # A reason of pytest's own begins with "Skipped: "; `longrepr` is file, line and reason.
    reasons = Counter(
        " ".join(str(report.longrepr[-1]).removeprefix("Skipped: ").split())
        for report in terminalreporter.stats.get("skipped", [])
    )
    if reasons:
        listed = "; ".join(f"{count} ({reason})" for reason, count in reasons.most_common())
        terminalreporter.write_line(f"skipped {reasons.total()}: {listed}")


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of synthetic chest X-rays. Tests must not change it."""
    from tests.phantoms import write_data_set

    return write_data_set(tmp_path_factory.mktemp("phantoms"))


@pytest.fixture(scope="session")
def xrays() -> Path:
    """The folder of real X-rays with `train` and `test`."""
    if not XRAYS.is_dir():
        pytest.skip("needs the chest X-ray data set beside the repository, in ../shared/data/chest-xray")
    return XRAYS


@pytest.fixture(scope="session")
def vgg19_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file in the layout of the one that Keras downloads, with random values."""
    import keras

    keras.utils.set_random_seed(0)
    model = keras.applications.VGG19(include_top=False, weights=None, input_shape=(64, 64, 3))
    for seed, layer in enumerate(model.layers):  # different values, because ONNX would merge equal tensors
        if isinstance(layer, keras.layers.Conv2D):
            layer.set_weights([keras.initializers.HeNormal(seed=seed)(layer.kernel.shape), layer.bias])
    path: Path = tmp_path_factory.mktemp("weights") / "vgg19.weights.h5"
    model.save_weights(path)
    return path
