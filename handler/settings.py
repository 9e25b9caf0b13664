"""The settings of a deployment: environment variables, which are read once at start and checked together.

`python -m handler settings` prints them with their current values.
"""

import dataclasses
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Self

from handler.contract import EMBEDDED_BUNDLE
from handler.errors import SettingsError
from handler.imaging.limits import Limits

MB_PER_VCPU = 1769
"""AWS Lambda grants the CPU time of one vCPU per this much memory, regardless of the number of visible CPUs.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ORIGIN = re.compile(r"\*|https?://[A-Za-z0-9.-]+(:\d+)?")


def granted_threads() -> int:
    """Return the number of threads of this process that can run at the same time."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
    if memory is None:
        return cpus
    return max(1, min(cpus, int(memory) // MB_PER_VCPU))


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise ValueError("must be an integer above 0")
    return int(text)


def _names(pattern: re.Pattern[str], what: str) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(name for part in text.split(",") if (name := part.strip()))
        if wrong := [name for name in names if not pattern.fullmatch(name)]:
            raise ValueError(f"must be {what}, separated by commas; {', '.join(wrong)} is not")
        return names

    return parse


def _bucket(text: str) -> str:
    if not _BUCKET.fullmatch(text):
        raise ValueError("must be the name of an S3 bucket, without s3://")
    return text


def _s3_folder(text: str) -> str:
    if not re.fullmatch(rf"s3://{_BUCKET.pattern}/([^/]+/)*", text):
        raise ValueError("must have the form s3://BUCKET/PREFIX/, with a slash at its end")
    return text


def _prefix(text: str) -> str:
    if not re.fullmatch(r"([A-Za-z0-9_-][A-Za-z0-9._-]*/)+", text):
        raise ValueError("must be a key prefix that ends in a slash, such as uploads/")
    return text


def _commit(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{40}", text):
        raise ValueError("must be a commit SHA of 40 hexadecimal digits, because a branch or tag may change")
    return text


def _base_path(text: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", text):
        raise ValueError("must begin with a slash and end without one, such as /xray")
    return text


def _level(text: str) -> str:
    if text.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
    return text.upper()


def _header(text: str) -> str:
    if not re.fullmatch(r"[\x21-\x3a\x3c-\x7e]+( [\x21-\x3a\x3c-\x7e]+)*", text):
        raise ValueError("must be CSP sources separated by single spaces, such as 'self' https://huggingface.co")
    return text


def _shares(text: str) -> dict[str, float]:
    """Parse `0.1`, whose key is "", or `A=0.2,B=0.8`."""
    wrong = "must be a number between 0 and 1, such as 0.1, or one for each label, such as A=0.2,B=0.8"
    try:
        parts = [part.rpartition("=") for part in text.split(",")]
        found = [(label.strip(), float(share)) for label, _, share in parts]
    except ValueError:
        raise ValueError(wrong) from None
    if len(dict(found)) < len(found) or not all(0 < share < 1 for _, share in found):
        raise ValueError(wrong)
    return dict(found)


def _from(variable: str, parse: Callable[[str], Any], about: str) -> dict[str, Any]:
    return {"variable": variable, "parse": parse, "about": about}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of a deployment. Each field names its environment variable and explains it."""

    bundle: Path = field(default=EMBEDDED_BUNDLE, metadata=_from("MODEL_BUNDLE", Path, "folder of the model bundle"))
    repo: str = field(
        default="",
        metadata=_from("MODEL_REPO", str, "Hugging Face repository, USER/NAME, to fetch the bundle from at start"),
    )
    revision: str = field(
        default="", metadata=_from("MODEL_REVISION", _commit, "commit SHA in MODEL_REPO; required with it")
    )
    cache: Path = field(
        default=Path(tempfile.gettempdir()) / "xray-bundle",
        metadata=_from("MODEL_CACHE", Path, "folder for the bundle from MODEL_REPO"),
    )
    calibration: Path | None = field(
        default=None,
        metadata=_from(
            "CALIBRATION", Path, "file that `python -m handler calibrate` wrote with images of this hospital"
        ),
    )
    prevalence: Mapping[str, float] = field(
        default_factory=dict,
        metadata=_from(
            "PREVALENCE",
            _shares,
            "share of the positive class here, or LABEL=SHARE,... (default: all classes equally frequent)",
        ),
    )
    max_body_bytes: int = field(
        default=32 << 20,
        metadata=_from("MAX_BODY_BYTES", _positive, "largest request body, and largest S3 object, in bytes"),
    )
    max_items: int = field(
        default=32, metadata=_from("MAX_ITEMS", _positive, "maximum number of images in one request")
    )
    max_in_flight: int = field(
        default=64,
        metadata=_from("MAX_IN_FLIGHT", _positive, "maximum number of requests with a body in memory; others get 503"),
    )
    workers: int = field(
        default_factory=granted_threads,
        metadata=_from("WORKERS", _positive, "images decoded at the same time (default: as many as there are CPUs)"),
    )
    decode_cpu_s: int = field(
        default=4, metadata=_from("DECODE_CPU_S", _positive, "limit in seconds on the CPU time for decoding one image")
    )
    decode_timeout_s: int = field(
        default=6, metadata=_from("DECODE_TIMEOUT_S", _positive, "limit in seconds on the time for decoding one image")
    )
    decode_memory_mb: int = field(
        default=256,
        metadata=_from("DECODE_MEMORY_MB", _positive, "limit in megabytes on the memory for decoding one image"),
    )
    max_bytes_in_flight: int = field(
        default=256 << 20,
        metadata=_from(
            "MAX_BYTES_IN_FLIGHT", _positive, "maximum number of bytes of these bodies together; others get 503"
        ),
    )
    body_timeout_s: int = field(
        default=30,
        metadata=_from("BODY_TIMEOUT_S", _positive, "limit in seconds on the time in which a request body arrives"),
    )
    min_bytes_per_s: int = field(
        default=1000,
        metadata=_from(
            "MIN_BYTES_PER_S", _positive, "lowest rate at which a body may arrive, after its first 5 s, in bytes/s"
        ),
    )
    header_timeout_s: int = field(
        default=10,
        metadata=_from(
            "HEADER_TIMEOUT_S", _positive, "limit in seconds on the time in which headers arrive (`serve` only)"
        ),
    )
    shutdown_timeout_s: int = field(
        default=5,
        metadata=_from(
            "SHUTDOWN_TIMEOUT_S", _positive, "limit in seconds for requests to finish after SIGTERM (`serve` only)"
        ),
    )
    retry_after_s: int = field(
        default=2, metadata=_from("RETRY_AFTER_S", _positive, "seconds to wait before a retry, as sent with each 503")
    )
    request_budget_s: int = field(
        default=20,
        metadata=_from(
            "REQUEST_BUDGET_S",
            _positive,
            "seconds after which no further image of a request is started (API Gateway waits for 29)",
        ),
    )
    buckets: tuple[str, ...] = field(
        default=(),
        metadata=_from("S3_BUCKETS", _names(_BUCKET, "names of S3 buckets"), "buckets that an s3_uri may name"),
    )
    output_buckets: tuple[str, ...] = field(
        default=(),
        metadata=_from(
            "S3_OUTPUT_BUCKETS", _names(_BUCKET, "names of S3 buckets"), "buckets that batches may write answers to"
        ),
    )
    output_uri: str = field(
        default="",
        metadata=_from(
            "OUTPUT_S3_URI",
            _s3_folder,
            "s3://BUCKET/PREFIX/ for results of messages that do not contain output_s3_uri",
        ),
    )
    upload_bucket: str = field(
        default="", metadata=_from("UPLOAD_BUCKET", _bucket, "bucket for POST /v1/uploads; without it, uploads are off")
    )
    upload_prefix: str = field(
        default="uploads/", metadata=_from("UPLOAD_PREFIX", _prefix, "prefix of the keys of uploads")
    )
    upload_expires_s: int = field(
        default=300, metadata=_from("UPLOAD_EXPIRES_S", _positive, "seconds for which an upload form is valid")
    )
    cors_origins: tuple[str, ...] = field(
        default=(),
        metadata=_from(
            "CORS_ORIGINS",
            _names(_ORIGIN, "origins such as https://a.example, or *"),
            "web origins that may call the service",
        ),
    )
    frame_ancestors: str = field(
        default="'none'",
        metadata=_from("FRAME_ANCESTORS", _header, "sites that may show the page in a frame (CSP frame-ancestors)"),
    )
    base_path: str = field(
        default="",
        metadata=_from(
            "BASE_PATH",
            _base_path,
            "path prefix of a proxy that keeps or strips it; API Gateway's prefix is found without it",
        ),
    )
    log_level: str = field(default="INFO", metadata=_from("LOG_LEVEL", _level, "DEBUG, INFO, WARNING or ERROR"))
    metrics_namespace: str = field(
        default="XrayInference",
        metadata=_from("METRICS_NAMESPACE", str, "CloudWatch namespace; metrics are only written inside Lambda"),
    )

    @property
    def decode_limits(self) -> Limits:
        """The limits on the decoding of one image."""
        return Limits(self.decode_cpu_s, self.decode_timeout_s, self.decode_memory_mb)

    def __post_init__(self) -> None:
        if self.repo and not self.revision:
            raise SettingsError("MODEL_REPO is set without MODEL_REVISION: set it to the commit SHA to serve")
        if self.revision and not self.repo:
            raise SettingsError("MODEL_REVISION is set without MODEL_REPO: set both, or neither")
        if not self.upload_prefix:
            raise SettingsError("UPLOAD_PREFIX is empty, so all of UPLOAD_BUCKET could be read: set a prefix")
        if self.max_bytes_in_flight < self.max_body_bytes:
            raise SettingsError(
                "MAX_BYTES_IN_FLIGHT is less than MAX_BODY_BYTES: raise the former, or lower the latter"
            )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read and check the variables. An empty variable counts as unset.

        Raises:
            SettingsError: a value is invalid; the message names each invalid variable and the valid values.
        """
        values: dict[str, Any] = {}
        wrong: list[str] = []
        for each in dataclasses.fields(cls):
            variable = each.metadata["variable"]
            if text := environment.get(variable, "").strip():
                try:
                    values[each.name] = each.metadata["parse"](text)
                except ValueError as exc:
                    wrong.append(f"{variable} {exc}, got {text!r}")
        if wrong:
            raise SettingsError("; ".join(wrong))
        return cls(**values)


def described(settings: Settings) -> list[tuple[str, str, str]]:
    """Each variable, its current value and its explanation."""
    rows = []
    for each in dataclasses.fields(settings):
        value = getattr(settings, each.name)
        if isinstance(value, Mapping):
            value = tuple(f"{name}={share:g}".removeprefix("=") for name, share in value.items())
        text = ",".join(value) if isinstance(value, tuple) else "" if value is None else str(value)
        rows.append((each.metadata["variable"], text, each.metadata["about"]))
    return rows
