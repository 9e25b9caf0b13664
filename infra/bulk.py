"""Score every image below an S3 prefix, or every key of a manifest, with one command.

python -m infra.bulk --stack xray --source s3://BUCKET/PREFIX/
python -m infra.bulk --stack xray --source s3://BUCKET/keys.csv --manifest

The bucket must be one of the stack's AllowedBuckets. Results are written as JSON Lines below `s3://RESULTS/NAME/`, one
object for each batch. Batches that failed permanently are listed below `NAME/failed/`. If the command is repeated, it
writes the same objects.
"""

import argparse
import dataclasses
import hashlib
import json
import re
import sys
from typing import Any

from handler.command_help import parser_of
from handler.commands import needing_packages, run, suggest
from handler.errors import MalformedRequest
from handler.storage import parse_uri

BATCH_SIZE = 100
"""Number of images for one invocation: large enough that its overhead is negligible, and done within seconds."""

CONCURRENCY = 100
"""Number of concurrent batches: a tenth of the limit of a new account, so that the API still has capacity."""

TOLERATED_FAILURE_PERCENTAGE = 5
"""If more batches fail, the cause probably affects all batches, so the run stops to save cost."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BulkRun:
    """The input of the state machine `Bulk` in `template.yaml`."""

    bucket: str
    prefix: str = ""
    manifest: str | None = None
    """Key of a CSV file in `bucket` with one key on each line and no header; instead of `prefix`."""
    output_prefix: str
    batch_size: int = BATCH_SIZE
    max_concurrency: int = CONCURRENCY
    tolerated_failure_percentage: float = TOLERATED_FAILURE_PERCENTAGE

    def to_json(self) -> str:
        return json.dumps({name: value for name, value in dataclasses.asdict(self).items() if value is not None})


def start(stack: str, run: BulkRun, session: Any) -> str:
    """Start a run.

    Args:
        session: a `boto3.Session`.

    Returns:
        ARN of the execution.
    """
    outputs = session.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]["Outputs"]
    machine = next(output["OutputValue"] for output in outputs if output["OutputKey"] == "BulkArn")
    answer = session.client("stepfunctions").start_execution(stateMachineArn=machine, input=run.to_json())
    return str(answer["executionArn"])


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = parser_of(__doc__)
    parser.add_argument("--stack", required=True, help="name of the deployed stack")
    parser.add_argument("--source", required=True, help="s3://BUCKET, s3://BUCKET/PREFIX, or the address of a manifest")
    parser.add_argument("--manifest", action="store_true", help="the source is a CSV file with one key on each line")
    parser.add_argument("--region", help="region of the stack (default: that of the AWS profile)")
    parser.add_argument("--name", help="folder of the results (default: derived from the source)")
    parser.add_argument(
        "--batch-size", type=int, default=BATCH_SIZE, help="images for each batch (default: %(default)s)"
    )
    parser.add_argument(
        "--concurrency", type=int, default=CONCURRENCY, help="concurrent batches (default: %(default)s)"
    )
    parser.add_argument(
        "--tolerate",
        type=float,
        default=TOLERATED_FAILURE_PERCENTAGE,
        help="percentage of failed batches that stops the run (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    return run(lambda: _start(options), failed=2)


def _start(options: argparse.Namespace) -> int:
    bucket, key = _source(options)
    wanted = BulkRun(
        bucket=bucket,
        prefix="" if options.manifest else key,
        manifest=key if options.manifest else None,
        output_prefix=options.name or _name(bucket, key),
        batch_size=options.batch_size,
        max_concurrency=options.concurrency,
        tolerated_failure_percentage=options.tolerate,
    )
    with needing_packages("aws", failed=2):
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError

    try:
        execution = start(options.stack, wanted, boto3.Session(region_name=options.region))
    except (BotoCoreError, ClientError) as exc:
        problem = str(exc).rstrip(".")
        sys.stderr.write(f"error: {problem}: check --stack and --region, and log in, as with `aws configure`\n")
        return 1
    sys.stdout.write(f"{execution}\n")
    sys.stderr.write(f"answers come below {wanted.output_prefix}/ in the stack's bucket of results\n")
    suggest(f"aws stepfunctions describe-execution --execution-arn {execution}")
    return 0


def _source(options: argparse.Namespace) -> tuple[str, str]:
    if not options.manifest and (whole := re.fullmatch(r"s3://([^/]+)/?", options.source)):
        return whole[1], ""
    try:
        return parse_uri(options.source)
    except MalformedRequest as exc:
        form = "s3://BUCKET/KEY with --manifest" if options.manifest else "s3://BUCKET or s3://BUCKET/PREFIX/"
        raise MalformedRequest(f"--source has the form {form}, got {options.source!r}") from exc


def _name(bucket: str, key: str) -> str:
    """Return a readable name that is different for each source."""
    digest = hashlib.sha256(f"{bucket}/{key}".encode()).hexdigest()[:8]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"{bucket}-{key}").strip("-.") + f"-{digest}"


if __name__ == "__main__":
    sys.exit(main())
