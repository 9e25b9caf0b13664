"""Errors of training.

TrainingError
├── DataError     folders, files or splits that cannot be trained on
├── ConfigError   a recipe with a value out of range
├── WeightsError  initial weights that do not fit the network
└── RunError      a run folder that is absent, incomplete, or belongs to another recipe
"""


class TrainingError(Exception):
    """Base class of all errors that this package raises deliberately."""


class DataError(TrainingError):
    """The data set cannot be used as it is."""


class ConfigError(TrainingError):
    """A recipe value is out of range."""


class WeightsError(TrainingError):
    """Initial weights do not fit the network."""


class RunError(TrainingError):
    """The run folder cannot be read or continued."""
