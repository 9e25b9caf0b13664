"""Everything that can go wrong while serving, as one tree.

HandlerError
├── InputError            the caller's image or request; answered with a 4xx status
│   ├── EmptyInput        no bytes at all
│   ├── MalformedRequest  a body that is not the form or the JSON that it says it is
│   ├── UnsupportedMedia  a content type that is not accepted
│   ├── UnsupportedFormat not an image of a kind that is read here
│   ├── UnreadableImage   a known kind, but truncated or corrupt
│   ├── SeveralFrames     an animation or a multi-page file
│   ├── InputTooLarge     more bytes, pixels, frames or images than the limits allow
│   ├── DecodingTooCostly an image whose decoding takes too much time or memory
│   ├── SlowRequest       the headers or the body did not arrive in time
│   ├── NotAnXray         a readable image of something else
│   ├── BucketNotAllowed  an S3 address outside the allow-list
│   ├── InputNotFound     nothing at that address or path
│   ├── InputArchived     an S3 object that has to be restored before it can be read
│   └── UploadsDisabled   this deployment takes no uploads
├── TemporaryError        nobody's fault; answered with 503 and a time to wait
│   ├── Overloaded        as many requests, or bytes of them, are under way as are allowed
│   └── StorageError      S3 did not answer
├── FolderError           a folder of images that is not there or is laid out otherwise
├── SettingsError         an environment variable; the service refuses to start
│   └── LocalCalibrationError  the calibration of a deployment cannot be fitted, read or used
├── AddressUnavailable    the server cannot listen where it was told to
├── Unexpected            a bug met by one image of a batch; its cause is for the log alone
├── UnknownEvent          Lambda was invoked with something that is no event of these kinds
└── BundleError           the model on disk; the service refuses to start
    ├── BundleMissing     a file of the bundle is not there
    ├── ContractError     `model.json` is malformed or of another contract version
    ├── BundleTampered    the weights do not have the hash that the contract records
    └── HubError          the model could not be brought from, or to, the Hugging Face Hub
        ├── HubUnavailable   no connection, a limit on the rate, or trouble on the other side: try again
        ├── HubUnauthorized  the token is absent or may not do this
        └── HubMissing       no such repository, revision or file

Every message says what is wrong and what to do about it.
"""

import pathlib
from typing import Self


class HandlerError(Exception):
    """Root of everything that this package raises on purpose."""

    def bare(self) -> Self:
        """This error without its traceback and its causes, to be kept: their frames hold the bytes of an image."""
        self.__cause__ = self.__context__ = self.__traceback__ = None
        return self


class InputError(HandlerError):
    """The input cannot be scored."""


class EmptyInput(InputError):
    """There are no bytes to read."""


class MalformedRequest(InputError):
    """The request cannot be taken apart."""


class UnsupportedMedia(InputError):
    """The request's content type is none of those that are taken."""


class UnsupportedFormat(InputError):
    """The bytes are not an image of a supported kind."""


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
    """The image is unlike every X-ray that the network knows."""


class BucketNotAllowed(InputError):
    """The S3 address lies outside the buckets that this deployment reads or writes."""


class InputNotFound(InputError):
    """There is no such S3 object or file."""


class InputArchived(InputError):
    """The S3 object lies in an archive, from which it must be restored first."""


class UploadsDisabled(InputError):
    """This deployment has no bucket for uploads."""


class TemporaryError(HandlerError):
    """The same request may succeed a little later."""


class Overloaded(TemporaryError):
    """As many requests, or bytes of them, are under way as are allowed."""


class StorageError(TemporaryError):
    """S3 could not be reached or has no time."""


class FolderError(HandlerError):
    """A folder of images is not there, or not laid out as it must be.

    Args:
        given: the folder.
        instead: a folder nearby that is laid out so.
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
    """This code has a bug. What it was raised from may quote the input, so nobody is shown its message."""


class UnknownEvent(HandlerError):
    """A Lambda event of no kind that is handled here."""


class BundleError(HandlerError):
    """The model bundle cannot be served."""


class BundleMissing(BundleError):
    """A file of the bundle is absent."""


class ContractError(BundleError):
    """The contract beside the weights is malformed or of a version that this code does not speak."""


class BundleTampered(BundleError):
    """The weights are not the ones that the contract describes."""


class HubError(BundleError):
    """The Hugging Face Hub did not do what was asked of it."""


class HubUnavailable(HubError):
    """The Hub cannot be reached or has no time; the same request may succeed later."""


class HubUnauthorized(HubError):
    """The token is absent or does not allow this."""


class HubMissing(HubError):
    """The repository, the revision or a file in it is not there, or not for this caller."""
