"""Bulk runs: the state machine of the template and the real function, S3 and SQS over HTTP, with injected failures."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from infra.bulk import BulkRun, main, start
from tests.handler.images import encode, phantom
from tests.infra.aws import cloud, emulated_function, faulty, invoke, run_state_machine
from tests.infra.template import load
from tests.tiny_bundle import write_tiny_bundle

pytestmark = pytest.mark.slow

IMAGES = 1020
UNREADABLE = range(0, IMAGES, 97)
BATCH_SIZE = 20
NEVER = (11, 37)
"""Batches that never succeed."""


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with cloud(monkeypatch) as url:
        yield url


@pytest.fixture
def s3(aws: str) -> Iterator[Any]:  # noqa: ARG001
    client = boto3.client("s3")
    for bucket in ("xrays", "answers"):
        client.create_bucket(Bucket=bucket)
    yield client
    client.close()


@pytest.fixture
def function(aws: str, tmp_path: Path) -> Iterator[str]:
    bundle = write_tiny_bundle(tmp_path / "model")
    settings = {"MODEL_BUNDLE": str(bundle), "S3_BUCKETS": "xrays", "S3_OUTPUT_BUCKETS": "answers"}
    with emulated_function(
        tmp_path / "log", AWS_ENDPOINT_URL=aws, OUTPUT_S3_URI="s3://answers/arrivals/", **settings
    ) as url:
        yield url


def fill(s3: Any, count: int) -> list[str]:
    drawn = [encode(phantom(64, 64, seed=seed)) for seed in range(7)]
    keys = [f"ward/{number:05}.jpg" for number in range(count)]
    for number, key in enumerate(keys):
        s3.put_object(Bucket="xrays", Key=key, Body=b"no image" if number in UNREADABLE else drawn[number % 7])
    return keys


def objects(s3: Any, prefix: str) -> dict[str, bytes]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="answers", Prefix=prefix)
    keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
    return {key: s3.get_object(Bucket="answers", Key=key)["Body"].read() for key in keys}


def tally(found: dict[str, bytes]) -> tuple[list[str], list[str], list[str]]:
    """Keys of scored images, of images with an error, and of failed batches."""
    scored, refused, lost = [], [], []
    for key, data in found.items():
        if key.endswith(".jsonl"):
            for line in data.splitlines():
                answer = json.loads(line)
                (refused if "error" in answer else scored).append(answer["s3_uri"].removeprefix("s3://xrays/"))
        elif "/failed/" in key:
            lost += [item["Key"] for item in json.loads(data)["Items"]]
    return scored, refused, lost


def trouble(event: dict[str, Any], attempt: int) -> str | None:
    """Faults of 51 batches: some are throttled or crash at first, some lose their answer, two never succeed."""
    batch = int(event["Items"][0]["Key"].removesuffix(".jpg").rpartition("/")[2]) // BATCH_SIZE
    if batch in NEVER:
        return "crashed"
    if batch % 5 == 1 and attempt <= 2:
        return ("throttled", "crashed")[attempt - 1]
    if batch % 7 == 3 and attempt == 1:
        return "lost"
    return None


def definition() -> str:
    committed = json.dumps(load()["Resources"]["Bulk"]["Properties"]["Definition"])
    return committed.replace("${FunctionArn}", "function").replace("${ResultBucket}", "answers")


def test_every_image_is_scored_once_or_listed_as_failed(
    s3: Any, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = fill(s3, IMAGES)
    s3.put_object(Bucket="xrays", Key="elsewhere.jpg", Body=b"not asked for")
    run = BulkRun(bucket="xrays", prefix="ward/", output_prefix="runs/1", batch_size=BATCH_SIZE, max_concurrency=4)
    with faulty(function, trouble) as lambda_api:
        done = run_state_machine(definition(), json.loads(run.to_json()), lambda_api, monkeypatch)
    assert done["status"] == "SUCCEEDED", done
    found = objects(s3, "runs/1/")
    scored, refused, lost = tally(found)
    batches = [keys[start : start + BATCH_SIZE] for start in range(0, IMAGES, BATCH_SIZE)]
    never = {key for batch in NEVER for key in batches[batch]}
    assert sorted(scored + refused + lost) == keys
    assert set(lost) == never
    assert set(refused) == {keys[number] for number in UNREADABLE} - never

    # A second run does not change results. Images that failed are scored now, without the injected faults.
    shared = {"bucket": "xrays", "output_bucket": "answers", "output_prefix": "runs/1"}
    for batch in (0, 3, *NEVER):
        items = [{"Key": key} for key in batches[batch]]
        answer = invoke(function, {"Items": items, "BatchInput": shared})
        assert answer["scored"] + answer["failed"] == BATCH_SIZE
    again = objects(s3, "runs/1/")
    assert {key: again[key] for key in found} == found
    scored, refused, _ = tally(again)
    assert sorted(scored + refused) == keys


def test_a_manifest_names_the_images_too(s3: Any, function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = fill(s3, 60)
    s3.put_object(Bucket="xrays", Key="lists/keys.csv", Body="\n".join(keys[10:]).encode())
    run = BulkRun(bucket="xrays", manifest="lists/keys.csv", output_prefix="runs/2", batch_size=BATCH_SIZE)
    with faulty(function, trouble) as lambda_api:
        done = run_state_machine(definition(), json.loads(run.to_json()), lambda_api, monkeypatch)
    assert done["status"] == "SUCCEEDED", done
    scored, refused, lost = tally(objects(s3, "runs/2/"))
    assert sorted(scored + refused) == keys[10:]
    assert lost == []


def test_queue_messages_are_scored_come_again_or_end_in_the_dead_letter_queue(s3: Any, function: str) -> None:
    sqs = boto3.client("sqs")
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    dead_arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": "3"})
    queue = sqs.create_queue(QueueName="arrivals", Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "0"})
    for number in range(30):
        s3.put_object(Bucket="xrays", Key=f"in/{number} a.jpg", Body=encode(phantom(64, 64, seed=number)))
        notification = {"s3": {"bucket": {"name": "xrays"}, "object": {"key": f"in/{number}+a.jpg"}}}
        body = {"Records": [notification]} if number % 2 else {"s3_uri": f"s3://xrays/in/{number} a.jpg"}
        sqs.send_message(QueueUrl=queue["QueueUrl"], MessageBody=json.dumps(body))
    s3.put_object(Bucket="xrays", Key="in/text.jpg", Body=b"no image")
    for body in ('{"s3_uri": "s3://xrays/in/text.jpg"}', "no JSON", '{"patient": "PATIENT-4711"}'):
        sqs.send_message(QueueUrl=queue["QueueUrl"], MessageBody=body)

    while messages := sqs.receive_message(QueueUrl=queue["QueueUrl"], MaxNumberOfMessages=10).get("Messages"):
        records = [
            {
                "messageId": m["MessageId"],
                "body": m["Body"],
                "eventSource": "aws:sqs",
                "receiptHandle": m["ReceiptHandle"],
            }
            for m in messages
        ]
        again = {failed["itemIdentifier"] for failed in invoke(function, {"Records": records})["batchItemFailures"]}
        for message in messages:
            if message["MessageId"] not in again:
                sqs.delete_message(QueueUrl=queue["QueueUrl"], ReceiptHandle=message["ReceiptHandle"])

    answers = [json.loads(data) for data in objects(s3, "arrivals/").values()]
    assert len(answers) == 31
    assert [answer["s3_uri"] for answer in answers if "error" in answer] == ["s3://xrays/in/text.jpg"]
    buried = sqs.receive_message(QueueUrl=dead, MaxNumberOfMessages=10)["Messages"]
    assert {message["Body"] for message in buried} == {"no JSON", '{"patient": "PATIENT-4711"}'}


def test_one_command_starts_a_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    started: list[tuple[str, BulkRun]] = []
    monkeypatch.setattr("infra.bulk.start", lambda stack, run, _: started.append((stack, run)) or "arn:of:execution")
    assert main(["--stack", "xray", "--source", "s3://xrays/ward 3/2026/", "--concurrency", "7"]) == 0
    assert main(["--stack", "xray", "--source", "s3://xrays/keys.csv", "--manifest", "--name", "mine"]) == 0
    assert main(["--stack", "xray", "--source", "https://example.com/"]) == 2
    assert "error: --source has the form s3://BUCKET or s3://BUCKET/PREFIX/, got" in capsys.readouterr().err
    assert main(["--stack", "xray", "--source", "s3://xrays", "--manifest"]) == 2
    assert "error: --source has the form s3://BUCKET/KEY" in capsys.readouterr().err
    assert main(["--stack", "xray", "--source", "s3://xrays"]) == 0
    [(_, prefix), (_, manifest), (_, whole)] = started
    assert (whole.bucket, whole.prefix) == ("xrays", "")
    assert re.fullmatch(r"xrays-[0-9a-f]{8}", whole.output_prefix)
    assert (prefix.prefix, prefix.manifest) == ("ward 3/2026/", None)
    assert re.fullmatch(r"xrays-ward-3-2026-[0-9a-f]{8}", prefix.output_prefix)
    assert (manifest.prefix, manifest.manifest, manifest.output_prefix) == ("", "keys.csv", "mine")


def test_each_source_has_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    monkeypatch.setattr("infra.bulk.start", lambda _stack, run, _session: names.append(run.output_prefix) or "arn")
    sources = ["s3://a/2024.05/", "s3://a/2024.06/", "s3://a/b/c/", "s3://a/b-c/", "s3://a-b/c/"]
    for source in sources:
        assert main(["--stack", "xray", "--source", source]) == 0

    assert len(set(names)) == len(sources)


def test_a_stack_that_is_not_there_is_named(aws: str, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ARG001
    assert main(["--stack", "gone", "--source", "s3://xrays/ward/"]) == 1
    assert "gone" in capsys.readouterr().err


def test_a_missing_region_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    assert main(["--stack", "xray", "--source", "s3://xrays/ward/"]) == 1
    assert "error: You must specify a region: check --stack and --region" in capsys.readouterr().err


def test_a_run_is_started_on_the_stack_s_own_state_machine(aws: str) -> None:  # noqa: ARG001
    client = boto3.client("stepfunctions")
    machine = json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}})
    arn = client.create_state_machine(name="x", definition=machine, roleArn="arn:aws:iam::123456789012:role/x")
    outputs = [{"OutputKey": "BulkArn", "OutputValue": arn["stateMachineArn"]}]

    class Session:
        """A session of boto3 with the description of a stack that is not deployed."""

        def client(self, service: str) -> Any:
            return client if service == "stepfunctions" else self

        def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803
            return {"Stacks": [{"StackName": StackName, "Outputs": outputs}]}

    run = BulkRun(bucket="xrays", prefix="a/", output_prefix="runs/1")
    execution = client.describe_execution(executionArn=start("xray", run, Session()))
    assert json.loads(execution["input"]) == {
        "bucket": "xrays",
        "prefix": "a/",
        "output_prefix": "runs/1",
        "batch_size": 100,
        "max_concurrency": 100,
        "tolerated_failure_percentage": 5,
    }
