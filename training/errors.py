"""What training refuses to go on with.

TrainingError
├── DataError     folders, files or splits that cannot be trained on
├── ConfigError   a recipe with a value that makes no sense
├── WeightsError  initial weights that do not fit the network
└── RunError      a run folder that is absent, incomplete, or belongs to another recipe
"""


class TrainingError(Exception):
    """Root of everything that this package raises on purpose."""


class DataError(TrainingError):
    """The data set cannot be used as it is."""


class ConfigError(TrainingError):
    """A recipe value is out of range."""


class WeightsError(TrainingError):
    """Initial weights do not fit the network."""


class RunError(TrainingError):
    """The run folder cannot be read or continued."""
