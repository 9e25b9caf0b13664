"""S3: images by address, forms for uploads, answers of batches; only ever in buckets that the settings name."""

import importlib.util
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
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

_URI = re.compile(r"s3://([^/]+)/(.+)", re.DOTALL)
# Control characters, which S3's XML cannot hold, and lone surrogates, which JSON can spell but UTF-8 cannot.
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_MAX_KEY_BYTES = 1024  # S3's own limit
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
            f"s3_uri must have the form s3://BUCKET/KEY, with a key of at most {_MAX_KEY_BYTES:,} bytes and without "
            "control characters"
        )
    return match[1], match[2]


class Storage:
    """What this deployment may do in S3.

    Raises:
        SettingsError: S3 is to be used, but its client is not installed.
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

        # Unasked, upload forms would name the global host, which redirects from a bucket that is new, and some would be
        # signed in the way that buckets no longer take. A server of one's own need not know hosts by buckets' names.
        own_server = "AWS_ENDPOINT_URL" in os.environ or "AWS_ENDPOINT_URL_S3" in os.environ
        config = Config(
            connect_timeout=3,
            read_timeout=10,
            retries={"mode": "standard", "total_max_attempts": 3},
            signature_version="s3v4",
            s3={"addressing_style": "auto" if own_server else "virtual"},
        )
        # A session of its own: boto3's default one is not safe to build clients from in several threads.
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
                "this deployment does not read that bucket, or of its upload bucket only uploads: its operator may add "
                "a bucket to S3_BUCKETS"
            )
        with _translated():
            found = self._client.get_object(Bucket=bucket, Key=key)
            with found["Body"] as body:
                if found["ContentLength"] > settings.max_body_bytes:
                    raise InputTooLarge(
                        f"the object has {found['ContentLength']:,} bytes, the limit is {settings.max_body_bytes:,}: "
                        "store a smaller copy"
                    )
                data: bytes = body.read()
        return data

    def _is_readable(self, bucket: str, key: str) -> bool:
        """Whether an object is on the allow-list. Of the upload bucket that is uploads alone, listed or not."""
        if bucket != self._settings.upload_bucket:
            return bucket in self._settings.buckets
        # S3 takes the key uploads/../x literally, but a proxy in between may resolve it to x.
        return key.startswith(self._settings.upload_prefix) and not {".", ".."} & set(key.split("/"))

    def write(self, uri: str, data: bytes, media_type: str) -> None:
        """Store an object, replacing what is there.

        Raises:
            MalformedRequest, BucketNotAllowed, StorageError, SettingsError: see `handler.errors`.
        """
        bucket, key = parse_uri(uri)
        if bucket not in self._settings.output_buckets:
            raise BucketNotAllowed("this deployment does not write to that bucket: add it to S3_OUTPUT_BUCKETS")
        with _translated(writing=True):
            self._client.put_object(Bucket=bucket, Key=key, Body=data, ContentType=media_type)

    def upload_form(self, media_type: str) -> dict[str, Any]:
        """What a browser or curl needs to put one file of this type into the upload bucket.

        Raises:
            UploadsDisabled: there is no such bucket here.
            SettingsError: there are no credentials to sign it with.
        """
        settings = self._settings
        if not settings.upload_bucket:
            raise UploadsDisabled("this deployment takes no uploads: its operator may set UPLOAD_BUCKET")
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


@contextmanager
def _translated(*, writing: bool = False) -> Iterator[None]:
    """Turn botocore's exceptions into this project's."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

    unsigned = "S3 takes no credentials of this service: its operator may renew AWS_ACCESS_KEY_ID, or give it a role"
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
                f"S3 refuses answers in the output's bucket ({code}): make sure that it exists, and grant s3:PutObject"
            ) from exc
        # Who may not list a bucket is told "access denied" of a key that does not exist.
        if code in _ABSENT:
            raise InputNotFound("there is no such object, or this service may not use it: check the address") from exc
        if code == "InvalidObjectState":
            raise InputArchived("the object lies in an archive: restore it from there first, or send a copy") from exc
        if for_good:
            raise InputNotFound(
                f"S3 does not give that object out ({code}): check how it is encrypted, or send a copy"
            ) from exc
        raise StorageError("S3 refused for now: try again later") from exc
    except BotoCoreError as exc:
        raise StorageError("S3 cannot be reached: try again later") from exc
