"""What export refuses to ship.

ExportError
├── BenchmarkError     the machine or the model cannot do what an option of the benchmark asks for
├── RunnerError        a runner of the benchmark failed; the others go on
│   └── NotInstalled
├── CalibrationError   the folder of images does not serve to calibrate or verify on
├── ConversionError    the ONNX graph does not do what the Keras network does
├── PublishError       the Hub holds something else under this name or version
└── QuantizationError  int8 decides differently from float, whatever is left out

A training run that cannot be read is a `training.errors.RunError`.
"""


class ExportError(Exception):
    """Root of everything that this package raises on purpose."""


class CalibrationError(ExportError):
    """The images that the run was trained and validated on are not where they were said to be."""


class ConversionError(ExportError):
    """The converted graph is not equivalent to its source, or not in the form that serving needs."""


class QuantizationError(ExportError):
    """No int8 graph agrees well enough with the float one."""


class PublishError(ExportError):
    """The Hub already holds something that publishing would contradict."""


class BenchmarkError(ExportError):
    """The machine or the model cannot do what an option of the benchmark asks for."""


class RunnerError(ExportError):
    """A runner of the benchmark failed; the message ends with the last line that it wrote."""


class NotInstalled(RunnerError):
    """The library of a runner is absent.

    Args:
        module: what could not be imported.
    """

    def __init__(self, module: str) -> None:
        top = module.split(".")[0]
        super().__init__(f"not installed: pip install {_PACKAGES.get(top, top)}")


_PACKAGES = {"ai_edge_litert": "ai-edge-litert", "PIL": "pillow"}
"""What to install for a module, where that has another name."""


class AboutError(ExportError):
    """The file with the texts of a bundle has another form."""


class UselessModel(ExportError):
    """The network is no better than chance."""
