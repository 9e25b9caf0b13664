"""What export refuses to ship.

ExportError
├── RunError           the training run cannot be read
├── CalibrationError   the folder of pictures does not serve to calibrate or verify on
├── ConversionError    the ONNX graph does not do what the Keras network does
├── PublishError       the Hub holds something else under this name or version
└── QuantizationError  int8 decides differently from float, whatever is left out
"""


class ExportError(Exception):
    """Root of everything that this package raises on purpose."""


class RunError(ExportError):
    """The training run is absent, incomplete or of another form."""


class CalibrationError(ExportError):
    """The pictures that the run was trained and validated on are not where they were said to be."""


class ConversionError(ExportError):
    """The converted graph is not equivalent to its source, or not in the form that serving needs."""


class QuantizationError(ExportError):
    """No int8 graph agrees well enough with the float one."""


class PublishError(ExportError):
    """The Hub already holds something that publishing would contradict."""
