"""The network, as an ONNX Runtime session."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

# Turn off telemetry. ONNX Runtime reads this variable when it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from handler.contract import EMBEDDED_BUNDLE, MODEL_FILE, Contract, load_bundle
from handler.errors import BundleError, ContractError
from handler.imaging.decode import Pixels
from handler.settings import granted_threads

if TYPE_CHECKING:
    from handler.local_calibration import LocalCalibration


@dataclass(frozen=True, slots=True)
class Scores:
    """The network's results for `N` images."""

    probabilities: npt.NDArray[np.float32]
    """`[N, K]`, calibrated, rows sum to 1, columns in the order of `contract.labels`."""
    distances: npt.NDArray[np.float32]
    """`[N]`, the OOD distance of each image, see `Contract.ood_threshold`."""
    unlike: npt.NDArray[np.float32]
    """`[N]`, the distance of each image from the training images, see `Contract.unlike_threshold`."""
    orientations: npt.NDArray[np.float32]
    """`[N, P]`, probabilities in the order of `Contract.orientations`."""


class Classifier:
    """A verified bundle, loaded once. Safe to share between threads.

    Args:
        bundle: folder with `model.onnx` and `model.json`.
        threads: number of threads for one inference; by default as many as the machine, or Lambda's memory, allows.
        calibration: replaces that of the bundle.

    Raises:
        BundleError: see `handler.errors`.
        LocalCalibrationError: the calibration was fitted for another bundle.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str] = EMBEDDED_BUNDLE,
        *,
        threads: int | None = None,
        calibration: "LocalCalibration | None" = None,
    ) -> None:
        contract, weights = load_bundle(bundle)
        self.calibration = calibration
        self.contract = calibration.applied_to(contract) if calibration else contract
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or granted_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        # Idle threads must not spin: this would use the CPU share of the next request.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
        except Exception as exc:  # ONNX Runtime's exceptions have no common base class
            raise BundleError(
                f"{MODEL_FILE} cannot be loaded by ONNX Runtime {ort.__version__} ({type(exc).__name__}): rebuild the "
                "bundle with `python -m export build`, or restore it from a release"
            ) from exc
        _check_tensors(self._session, self.contract)

    def score(self, pixels: Pixels) -> Scores:
        """Score images.

        Args:
            pixels: uint8 `[N, S, S]` as `handler.imaging.decode.decode` makes them.
        """
        contract = self.contract
        wanted = [contract.output_name, contract.distance_name, contract.unlike_name, contract.orientation_name]
        probabilities, *others = self._session.run(wanted, {contract.input_name: pixels[:, np.newaxis]})
        if self.calibration:
            probabilities = self.calibration.calibrated(probabilities).astype(np.float32)
        return Scores(probabilities, *others)


def _check_tensors(session: ort.InferenceSession, contract: Contract) -> None:
    """Compare inputs and outputs of the graph with the contract."""
    size = contract.input_size
    inputs = {node.name: (node.type, node.shape[1:]) for node in session.get_inputs()}
    outputs = {node.name: (node.type, node.shape[1:]) for node in session.get_outputs()}
    if inputs != {contract.input_name: ("tensor(uint8)", [1, size, size])}:
        raise ContractError(f"the graph's inputs {inputs} are not uint8 [N, 1, {size}, {size}]: rebuild the bundle")
    expected = {
        contract.output_name: [len(contract.labels)],
        contract.distance_name: [],
        contract.unlike_name: [],
        contract.orientation_name: [len(contract.orientations)],
    }
    found = {name: shape for name, (kind, shape) in outputs.items() if kind == "tensor(float)"}
    if found != expected:
        raise ContractError(f"the graph's outputs {outputs} are not the contract's {expected}: rebuild the bundle")
