"""S3: read images, sign upload forms, write results of batches. Only buckets that the settings name are used."""

import importlib.util
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from typing import Any

from handler.errors import (
    BucketNotAllowed,
    InputArchived,
    InputNotFound,
    InputTooLarge,
    MalformedRequest,
    SettingsError,
    StorageError,
    UploadsDisabled,
)
from handler.settings import Settings

_URI = re.compile(r"s3://([^/]{1,255})/(.+)", re.DOTALL)  # bucket names never had more characters
# Control characters, which S3's XML cannot contain, and lone surrogates, which JSON can contain but UTF-8 cannot.
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_MAX_KEY_BYTES = 1024  # a limit of S3
_ABSENT = ("NoSuchKey", "NoSuchBucket", "404", "AccessDenied", "403")
_PASSING = ("RequestTimeout", "RequestTimeTooSkewed", "ThrottlingException", "KMS.ThrottlingException")
_UNSIGNED = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken")


def parse_uri(uri: str) -> tuple[str, str]:
    """Split `s3://BUCKET/KEY`.

    Raises:
        MalformedRequest: it has another form.
    """
    match = _URI.fullmatch(uri)
    if not match or _UNUSABLE.search(uri) or len(match[2].encode()) > _MAX_KEY_BYTES:
        raise MalformedRequest(
            f"An `s3_uri` has the form s3://BUCKET/KEY, with a key of at most {_MAX_KEY_BYTES:,} bytes and without "
            "control characters."
        )
    return match[1], match[2]


class Storage:
    """The access of this deployment to S3.

    Raises:
        SettingsError: the settings name a bucket, but boto3 is not installed.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        wanted = settings.buckets or settings.output_buckets or settings.upload_bucket
        if wanted and importlib.util.find_spec("boto3") is None:
            raise SettingsError(
                "buckets are set, but boto3 is not installed: install this package with its extra `aws`"
            )

    @cached_property
    def _client(self) -> Any:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import NoCredentialsError

        # By default, upload forms would name the global host, which redirects for a new bucket, and some would have a
        # signature of a version that buckets no longer accept. S3-compatible servers may not support hosts with the
        # name of a bucket.
        own_server = "AWS_ENDPOINT_URL" in os.environ or "AWS_ENDPOINT_URL_S3" in os.environ
        config = Config(
            connect_timeout=3,
            read_timeout=10,
            retries={"mode": "standard", "total_max_attempts": 3},
            signature_version="s3v4",
            s3={"addressing_style": "auto" if own_server else "virtual"},
        )
        # A separate session: several threads cannot safely make clients from boto3's default session.
        session = boto3.session.Session()
        if session.get_credentials() is None:
            raise NoCredentialsError
        return session.client("s3", config=config)

    def read(self, uri: str) -> bytes:
        """Fetch an object.

        Raises:
            MalformedRequest, BucketNotAllowed, InputNotFound, InputArchived, InputTooLarge, StorageError,
                SettingsError: see `handler.errors`.
        """
        bucket, key = parse_uri(uri)
        settings = self._settings
        if not self._is_readable(bucket, key):
            raise BucketNotAllowed(
                "This deployment does not read that bucket; of its upload bucket, only uploads. Its operator can "
                "add a bucket to S3_BUCKETS."
            )
        with _translated():
            found = self._client.get_object(Bucket=bucket, Key=key)
            # `with found["Body"]` would give the stream of urllib3, which does not check the length.
            with closing(found["Body"]) as body:
                return _bounded(body, found.get("ContentLength"), settings.max_body_bytes)

    def _is_readable(self, bucket: str, key: str) -> bool:
        """Return whether an object may be read. In the upload bucket, only uploads may be read."""
        if bucket != self._settings.upload_bucket:
            return bucket in self._settings.buckets
        # S3 uses the key uploads/../x literally, but a proxy may resolve it to x.
        return key.startswith(self._settings.upload_prefix) and not {".", ".."} & set(key.split("/"))

    def write(self, uri: str, data: bytes, media_type: str) -> None:
        """Store an object, and replace an existing one.

        Raises:
            MalformedRequest, BucketNotAllowed, StorageError, SettingsError: see `handler.errors`.
        """
        bucket, key = parse_uri(uri)
        if bucket not in self._settings.output_buckets:
            raise BucketNotAllowed("This deployment does not write to that bucket. Add it to S3_OUTPUT_BUCKETS.")
        with _translated(writing=True):
            self._client.put_object(Bucket=bucket, Key=key, Body=data, ContentType=media_type)

    def upload_form(self, media_type: str) -> dict[str, Any]:
        """Return a form with which a browser or curl can put one file of this type into the upload bucket.

        Raises:
            UploadsDisabled: this deployment has no upload bucket.
            SettingsError: there are no credentials for the signature.
        """
        settings = self._settings
        if not settings.upload_bucket:
            raise UploadsDisabled("This deployment has no upload bucket. Its operator can set UPLOAD_BUCKET.")
        key = f"{settings.upload_prefix}{uuid.uuid4().hex}"
        with _translated():
            form = self._client.generate_presigned_post(
                settings.upload_bucket,
                key,
                Fields={"Content-Type": media_type},
                Conditions=[{"Content-Type": media_type}, ["content-length-range", 1, settings.max_body_bytes]],
                ExpiresIn=settings.upload_expires_s,
            )
        return {
            "url": form["url"],
            "fields": form["fields"],
            "s3_uri": f"s3://{settings.upload_bucket}/{key}",
            "max_bytes": settings.max_body_bytes,
            "expires_in_s": settings.upload_expires_s,
        }


def _bounded(body: Any, length: int | None, limit: int) -> bytes:
    data = b""
    if length is None:  # some S3-compatible servers do not send it
        data = body.read(limit + 1)
        length = len(data)
    elif length <= limit:
        data = body.read()
    if length > limit:
        raise InputTooLarge(f"The object has more than {limit:,} bytes. Store a smaller copy.")
    return data


@contextmanager
def _translated(*, writing: bool = False) -> Iterator[None]:
    """Translate exceptions of botocore, and those of urllib3 that botocore does not translate while it reads a body."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
    from urllib3.exceptions import HTTPError

    unsigned = "S3 refuses the credentials of this service. Its operator can renew AWS_ACCESS_KEY_ID, or assign a role."
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as exc:
        raise SettingsError(unsigned) from exc
    except ClientError as exc:
        code = exc.response.get("Error", {}).get("Code")
        if code in _UNSIGNED:
            raise SettingsError(unsigned) from exc
        status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
        for_good = 400 <= status < 500 and status not in (408, 429) and code not in _PASSING
        if writing and for_good:
            raise SettingsError(
                f"S3 refuses results in the output bucket ({code}). Check that it exists, and grant s3:PutObject."
            ) from exc
        # Without permission to list a bucket, S3 answers "access denied" for a key that does not exist.
        if code in _ABSENT:
            raise InputNotFound(
                "The object does not exist, or this service has no access to it. Check the address."
            ) from exc
        if code == "InvalidObjectState":
            raise InputArchived("Restore the object from the archive first, or send a copy.") from exc
        if for_good:
            raise InputNotFound(
                f"S3 refuses access to the object ({code}). Check its encryption, or send a copy."
            ) from exc
        raise StorageError("S3 refused the request temporarily. Try again later.") from exc
    except (BotoCoreError, HTTPError) as exc:
        raise StorageError("S3 cannot be reached. Try again later.") from exc
