"""Errors of export.

ExportError
├── BenchmarkError     the machine or the model cannot do what an option of the benchmark asks for
├── RunnerError        a runner of the benchmark failed; the others continue
│   └── NotInstalled
├── CalibrationError   images for calibration or verification are missing
├── ConversionError    the ONNX graph is not equivalent to the Keras network
├── PublishError       the Hub already has other content with this name or version
└── QuantizationError  int8 decides differently from float, even with some layers in float

A training run that cannot be read is a `training.errors.RunError`.
"""


class ExportError(Exception):
    """Base class of all errors that this package raises deliberately."""


class CalibrationError(ExportError):
    """The images that the run was trained and validated on are not in the given folder."""


class ConversionError(ExportError):
    """The converted graph is not equivalent to its source, or does not have the form that serving needs."""


class QuantizationError(ExportError):
    """No int8 graph agrees well enough with the float one."""


class PublishError(ExportError):
    """The Hub already has other content with this name or version."""


class BenchmarkError(ExportError):
    """The machine or the model cannot do what an option of the benchmark asks for."""


class RunnerError(ExportError):
    """A runner of the benchmark failed; the message ends with the last line that it wrote."""


class NotInstalled(RunnerError):
    """The library of a runner is not installed.

    Args:
        module: name of the module that could not be imported.
    """

    def __init__(self, module: str) -> None:
        top = module.split(".")[0]
        super().__init__(f"not installed: pip install {_PACKAGES.get(top, top)}")


_PACKAGES = {"ai_edge_litert": "ai-edge-litert", "PIL": "pillow"}
"""Package to install, by name of a module, if the names differ."""


class AboutError(ExportError):
    """The file with the texts of a bundle has an invalid form."""


class UselessModel(ExportError):
    """The network is no better than chance."""
