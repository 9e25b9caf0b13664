"""Everything that can go wrong while serving, as one tree.

HandlerError
├── InputError            the caller's picture or request; answered with a 4xx status
│   ├── EmptyInput        no bytes at all
│   ├── UnsupportedFormat not a picture of a kind that is read here
│   ├── UnreadableImage   a known kind, but truncated or corrupt
│   ├── SeveralFrames     an animation or a multi-page file
│   └── InputTooLarge     more bytes or pixels than the limits allow
└── BundleError           the model on disk; the service refuses to start
    ├── BundleMissing     a file of the bundle is not there
    ├── ContractError     `model.json` is malformed or of another contract version
    └── BundleTampered    the weights do not have the hash that the contract records

Every message says what is wrong and what to do about it.
"""


class HandlerError(Exception):
    """Root of everything that this package raises on purpose."""


class InputError(HandlerError):
    """The input cannot be scored."""


class EmptyInput(InputError):
    """There are no bytes to read."""


class UnsupportedFormat(InputError):
    """The bytes are not a picture of a supported kind."""


class UnreadableImage(InputError):
    """The picture is truncated or corrupt."""


class SeveralFrames(InputError):
    """The file holds more than one picture, so which one to score is unclear."""


class InputTooLarge(InputError):
    """The input exceeds a limit on bytes or pixels."""


class BundleError(HandlerError):
    """The model bundle cannot be served."""


class BundleMissing(BundleError):
    """A file of the bundle is absent."""


class ContractError(BundleError):
    """The contract beside the weights is malformed or of a version that this code does not speak."""


class BundleTampered(BundleError):
    """The weights are not the ones that the contract describes."""
