"""The settings of a deployment: environment variables, which are read once at start and checked together.

`python -m handler settings` prints them with their current values.
"""

import dataclasses
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Self

from handler import setting_values as values
from handler.contract import EMBEDDED_BUNDLE
from handler.errors import SettingsError
from handler.imaging.limits import Limits

MB_PER_VCPU = 1769
"""AWS Lambda grants the CPU time of one vCPU per this much memory, regardless of the number of visible CPUs.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""


def granted_threads() -> int:
    """Return the number of threads of this process that can run at the same time."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
    if memory is None:
        return cpus
    return max(1, min(cpus, int(memory) // MB_PER_VCPU))


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
        default="", metadata=_from("MODEL_REVISION", values.commit, "commit SHA in MODEL_REPO; required with it")
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
            values.shares,
            "share of the positive class here, or LABEL=SHARE,... (default: all classes equally frequent)",
        ),
    )
    max_body_bytes: int = field(
        default=32 << 20,
        metadata=_from(
            "MAX_BODY_BYTES", values.positive, "largest request body, S3 object, and file of `predict`, in bytes"
        ),
    )
    max_items: int = field(
        default=32, metadata=_from("MAX_ITEMS", values.positive, "maximum number of images in one request")
    )
    max_in_flight: int = field(
        default=64,
        metadata=_from(
            "MAX_IN_FLIGHT", values.positive, "maximum number of requests with a body in memory; others get 503"
        ),
    )
    workers: int = field(
        default_factory=granted_threads,
        metadata=_from(
            "WORKERS", values.positive, "images decoded at the same time (default: as many as there are CPUs)"
        ),
    )
    decode_cpu_s: int = field(
        default=4,
        metadata=_from("DECODE_CPU_S", values.positive, "limit in seconds on the CPU time for decoding one image"),
    )
    decode_timeout_s: int = field(
        default=6,
        metadata=_from("DECODE_TIMEOUT_S", values.positive, "limit in seconds on the time for decoding one image"),
    )
    decode_memory_mb: int = field(
        default=256,
        metadata=_from("DECODE_MEMORY_MB", values.positive, "limit in megabytes on the memory for decoding one image"),
    )
    max_bytes_in_flight: int = field(
        default=256 << 20,
        metadata=_from(
            "MAX_BYTES_IN_FLIGHT", values.positive, "maximum number of bytes of these bodies together; others get 503"
        ),
    )
    body_timeout_s: int = field(
        default=30,
        metadata=_from(
            "BODY_TIMEOUT_S", values.positive, "limit in seconds on the time in which a request body arrives"
        ),
    )
    min_bytes_per_s: int = field(
        default=1000,
        metadata=_from(
            "MIN_BYTES_PER_S",
            values.positive,
            "lowest rate at which a body may arrive, after its first 5 s, in bytes/s",
        ),
    )
    header_timeout_s: int = field(
        default=10,
        metadata=_from(
            "HEADER_TIMEOUT_S", values.positive, "limit in seconds on the time in which headers arrive (`serve` only)"
        ),
    )
    shutdown_timeout_s: int = field(
        default=5,
        metadata=_from(
            "SHUTDOWN_TIMEOUT_S",
            values.positive,
            "limit in seconds for requests to finish after SIGTERM (`serve` only)",
        ),
    )
    retry_after_s: int = field(
        default=2,
        metadata=_from("RETRY_AFTER_S", values.positive, "seconds to wait before a retry, as sent with each 503"),
    )
    request_budget_s: int = field(
        default=20,
        metadata=_from(
            "REQUEST_BUDGET_S",
            values.positive,
            "seconds after which no further image of a request is started (API Gateway waits for 29)",
        ),
    )
    buckets: tuple[str, ...] = field(
        default=(),
        metadata=_from(
            "S3_BUCKETS", values.names(values.BUCKET, "names of S3 buckets"), "buckets that an s3_uri may name"
        ),
    )
    output_buckets: tuple[str, ...] = field(
        default=(),
        metadata=_from(
            "S3_OUTPUT_BUCKETS",
            values.names(values.BUCKET, "names of S3 buckets"),
            "buckets that batches may write answers to",
        ),
    )
    output_uri: str = field(
        default="",
        metadata=_from(
            "OUTPUT_S3_URI",
            values.s3_folder,
            "s3://BUCKET/PREFIX/ for results of messages that do not contain output_s3_uri",
        ),
    )
    upload_bucket: str = field(
        default="",
        metadata=_from("UPLOAD_BUCKET", values.bucket, "bucket for POST /v1/uploads; without it, uploads are off"),
    )
    upload_prefix: str = field(
        default="uploads/", metadata=_from("UPLOAD_PREFIX", values.prefix, "prefix of the keys of uploads")
    )
    upload_expires_s: int = field(
        default=300, metadata=_from("UPLOAD_EXPIRES_S", values.positive, "seconds for which an upload form is valid")
    )
    cors_origins: tuple[str, ...] = field(
        default=(),
        metadata=_from(
            "CORS_ORIGINS",
            values.names(values.ORIGIN, "origins such as https://a.example, or *"),
            "web origins that may call the service",
        ),
    )
    frame_ancestors: str = field(
        default="'none'",
        metadata=_from(
            "FRAME_ANCESTORS", values.header, "sites that may show the page in a frame (CSP frame-ancestors)"
        ),
    )
    base_path: str = field(
        default="",
        metadata=_from(
            "BASE_PATH",
            values.base_path,
            "path prefix of a proxy that keeps or strips it; API Gateway's prefix is found without it",
        ),
    )
    log_level: str = field(default="INFO", metadata=_from("LOG_LEVEL", values.level, "DEBUG, INFO, WARNING or ERROR"))
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
