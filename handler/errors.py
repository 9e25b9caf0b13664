"""All errors of serving, as one tree.

HandlerError
├── InputError            the caller's image or request; answered with a 4xx status
│   ├── EmptyInput        no bytes at all
│   ├── MalformedRequest  a body that is not valid for its content type
│   ├── UnsupportedMedia  a content type that is not accepted
│   ├── UnsupportedFormat not an image of a supported format
│   ├── UnreadableImage   a supported format, but truncated or corrupt
│   ├── SeveralFrames     an animation or a multi-page file
│   ├── InputTooLarge     more bytes, pixels, frames or images than the limits allow
│   ├── DecodingTooCostly an image whose decoding takes too much time or memory
│   ├── SlowRequest       the headers or the body did not arrive in time
│   ├── NotAnXray         a readable image that is not a chest X-ray
│   ├── BucketNotAllowed  an S3 address outside the allow-list
│   ├── InputNotFound     nothing at that address or path
│   ├── InputArchived     an S3 object that must be restored before it can be read
│   └── UploadsDisabled   this deployment does not accept uploads
├── TemporaryError        a temporary error; answered with 503 and a time to wait
│   ├── Overloaded        the limit on concurrent requests, or on their bytes, is reached
│   └── StorageError      S3 did not answer
├── FolderError           a folder of images that is missing or has another layout
├── SettingsError         an environment variable; the service refuses to start
│   └── LocalCalibrationError  the calibration of a deployment cannot be fitted, read or used
├── AddressUnavailable    the server cannot listen on this address and port
├── Unexpected            a bug that one image of a batch triggers; its cause appears only in the log
├── UnknownEvent          a Lambda event of an unknown kind
└── BundleError           the model on disk; the service refuses to start
    ├── BundleMissing     a file of the bundle is missing
    ├── ContractError     `model.json` is malformed or of another contract version
    ├── BundleTampered    the weights do not have the hash of the contract
    └── HubError          a transfer from or to the Hugging Face Hub failed
        ├── HubUnavailable   no connection, a rate limit, or an error of the Hub: try again
        ├── HubUnauthorized  the token is absent or lacks a permission
        └── HubMissing       the repository, the revision or a file does not exist

Every message says what is wrong and what to do about it.
"""

import pathlib
from typing import Self


class HandlerError(Exception):
    """Base class of all errors that this package raises deliberately."""

    def bare(self) -> Self:
        """Return this error without traceback and causes, whose frames would keep the bytes of an image in memory."""
        self.__cause__ = self.__context__ = self.__traceback__ = None
        return self


class InputError(HandlerError):
    """The input cannot be scored."""


class EmptyInput(InputError):
    """There are no bytes to read."""


class MalformedRequest(InputError):
    """The request cannot be parsed."""


class UnsupportedMedia(InputError):
    """The request's content type is not accepted."""


class UnsupportedFormat(InputError):
    """The bytes are not an image of a supported format."""


class UnreadableImage(InputError):
    """The image is truncated or corrupt."""


class SeveralFrames(InputError):
    """The file holds more than one image, so which one to score is unclear."""


class InputTooLarge(InputError):
    """The input exceeds a limit on bytes, pixels, frames or images."""


class DecodingTooCostly(InputError):
    """Decoding the image takes more time or memory than one image may."""


class SlowRequest(InputError):
    """The headers or the body of the request did not arrive in time."""


class NotAnXray(InputError):
    """The image is too different from the training X-rays."""


class BucketNotAllowed(InputError):
    """The S3 address is outside the buckets that this deployment may read or write."""


class InputNotFound(InputError):
    """The S3 object or file does not exist."""


class InputArchived(InputError):
    """The S3 object is archived and must be restored first."""


class UploadsDisabled(InputError):
    """This deployment has no bucket for uploads."""


class TemporaryError(HandlerError):
    """The same request may succeed later."""


class Overloaded(TemporaryError):
    """The limit on concurrent requests, or on their bytes, is reached."""


class StorageError(TemporaryError):
    """S3 could not be reached or is overloaded."""


class FolderError(HandlerError):
    """A folder of images is missing, or has another layout than required.

    Args:
        given: the folder.
        instead: a nearby folder with the required layout.
    """

    def __init__(self, message: str, given: pathlib.Path, instead: pathlib.Path | None = None) -> None:
        super().__init__(message)
        self.given = given
        self.instead = instead


class SettingsError(HandlerError):
    """An environment variable has a value that cannot be used."""


class LocalCalibrationError(SettingsError):
    """The calibration of a deployment cannot be fitted, read, or used with the bundle."""


class AddressUnavailable(HandlerError):
    """The server cannot listen on this address and port."""


class Unexpected(HandlerError):
    """This code has a bug. The message of its cause may quote the input, so it is not shown."""


class UnknownEvent(HandlerError):
    """A Lambda event of an unknown kind."""


class BundleError(HandlerError):
    """The model bundle cannot be served."""


class BundleMissing(BundleError):
    """A file of the bundle is absent."""


class ContractError(BundleError):
    """The contract beside the weights is malformed, or has a version that this code does not read."""


class BundleTampered(BundleError):
    """The weights do not have the hash of the contract."""


class HubError(BundleError):
    """A request to the Hugging Face Hub failed."""


class HubUnavailable(HubError):
    """The Hub cannot be reached or is overloaded; the same request may succeed later."""


class HubUnauthorized(HubError):
    """The token is absent or does not allow this."""


class HubMissing(HubError):
    """The repository, the revision or a file in it does not exist, or is private."""
