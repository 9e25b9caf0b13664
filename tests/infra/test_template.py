"""What the template promises: who may call, what may be touched, and that its parts fit together."""

import copy
import json
import re
from typing import Any

import pytest
import yaml

from handler.settings import Settings
from infra.bulk import BulkRun
from infra.engine import ROOT
from tests.infra.engine import require_tool, run, sam_environment
from tests.infra.template import load, public_routes, resolved

MODES = ["AWS_IAM", "API_KEY", "JWT", "NONE"]
PREFLIGHT = {"Api options /", "Api options /{proxy+}"}


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return load()


def test_nothing_is_public_unless_it_is_said(template: dict[str, Any]) -> None:
    assert template["Parameters"]["AuthMode"]["AllowedValues"] == MODES
    assert template["Parameters"]["AuthMode"]["Default"] == "AWS_IAM"
    assert public_routes(resolved(template)) == []
    for mode in MODES[:-1]:
        assert public_routes(resolved(template, AuthMode=mode)) == []
        with_cors = resolved(template, AuthMode=mode, CorsOrigins="https://a.example")
        assert set(public_routes(with_cors)) == PREFLIGHT
    assert len(public_routes(resolved(template, AuthMode="NONE"))) == 2


@pytest.mark.parametrize(
    "opening",
    [
        lambda resources: resources["Api"]["Properties"]["DefinitionBody"]["paths"]["/"].update(get={}),
        lambda resources: resources["InferenceFunction"]["Properties"].update(FunctionUrlConfig={"AuthType": "NONE"}),
        lambda resources: resources.update(Url={"Type": "AWS::Lambda::Url", "Properties": {"AuthType": "NONE"}}),
        lambda resources: resources.update(P={"Type": "AWS::Lambda::Permission", "Properties": {"Principal": "*"}}),
        lambda resources: resources.update(H={"Type": "AWS::Serverless::HttpApi", "Properties": {}}),
    ],
)
def test_an_opening_would_be_noticed(template: dict[str, Any], opening: Any) -> None:
    resources = copy.deepcopy(resolved(template))
    opening(resources)
    assert len(public_routes(resources)) == 1


@pytest.mark.parametrize(("mode", "scheme"), [("AWS_IAM", "iam"), ("API_KEY", "key"), ("JWT", "jwt")])
def test_each_mode_asks_in_its_own_way(template: dict[str, Any], mode: str, scheme: str) -> None:
    body = resolved(template, AuthMode=mode)["Api"]["Properties"]["DefinitionBody"]
    for methods in body["paths"].values():
        assert methods["x-amazon-apigateway-any-method"]["security"] == [{scheme: []}]
    assert scheme in body["components"]["securitySchemes"]
    assert ("UsagePlan" in resolved(template, AuthMode=mode)) == (mode == "API_KEY")


def test_no_statement_allows_everything(template: dict[str, Any]) -> None:
    resources = resolved(template, AllowedBuckets="a,b")
    statements = [
        (name, statement)
        for name, resource in resources.items()
        for policy in resource.get("Properties", {}).get("Policies", [])
        for statement in policy["Statement"]
    ]
    assert len(statements) >= 10
    for name, statement in statements:
        actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        assert not [action for action in actions if "*" in action], (name, statement)
        # Delivery of logs knows no resources.
        assert statement["Resource"] != "*" or all(action.startswith("logs:") for action in actions), (name, statement)


def test_buckets_are_private_and_encrypted(template: dict[str, Any]) -> None:
    buckets = {n: r["Properties"] for n, r in resolved(template).items() if r["Type"] == "AWS::S3::Bucket"}
    assert set(buckets) == {"UploadBucket", "ResultBucket"}
    for properties in buckets.values():
        assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
        assert "BucketEncryption" in properties


def test_every_skipped_check_says_why(template: dict[str, Any]) -> None:
    skips = [
        skip
        for resource in template["Resources"].values()
        for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", [])
    ]
    assert len(skips) >= 15
    assert all(len(skip["comment"]) > 20 for skip in skips)


def test_the_function_knows_every_variable_that_it_is_given(template: dict[str, Any]) -> None:
    given = template["Resources"]["InferenceFunction"]["Properties"]["Environment"]["Variables"]
    known = {field.metadata["variable"] for field in Settings.__dataclass_fields__.values()}
    assert set(given) <= known
    local = json.loads((ROOT / "infra" / "local.json").read_text())["InferenceFunction"]
    assert set(local) <= set(given)


def test_a_message_is_hidden_for_as_long_as_it_may_be_worked_on(template: dict[str, Any]) -> None:
    queue = template["Resources"]["ArrivalQueue"]["Properties"]
    assert queue["VisibilityTimeout"] >= 6 * template["Parameters"]["Timeout"]["MaxValue"]


def test_the_state_machine_fits_template_and_command(template: dict[str, Any]) -> None:
    bulk = template["Resources"]["Bulk"]["Properties"]
    text = json.dumps(bulk["Definition"])
    assert set(re.findall(r"\$\{(\w+)}", text)) == set(bulk["DefinitionSubstitutions"])
    # CloudFormation refuses a template with a null anywhere.
    assert "null" not in text
    prefix, manifest = bulk["Definition"]["States"]["ScorePrefix"], bulk["Definition"]["States"]["ScoreManifest"]
    assert {name for name in prefix if prefix[name] != manifest[name]} == {"Label", "ItemReader"}
    # What a batch or its failure holds, and not the run's input.
    inner = {"BatchInput", "Items", "Payload", "failure", "listed"}
    read = set(re.findall(r"(?<!\$)\$\.(\w+)", text)) - inner
    assert read | {"output_prefix"} == set(BulkRun.__dataclass_fields__)


def test_a_space_listens_where_its_front_matter_says() -> None:
    front = yaml.safe_load((ROOT / "infra" / "spaces" / "README.md").read_text(encoding="utf-8").split("---")[1])
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert front["sdk"] == "docker"
    assert f"EXPOSE {front['app_port']}" in dockerfile
    assert f'"--port", "{front["app_port"]}"' in dockerfile.splitlines()[-1]


def test_the_image_installs_what_the_tests_ran_with() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^([\w.-]+==[^ ;]+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))

    assert pins("requirements.lock") <= pins("requirements-image.lock")


@pytest.mark.slow
def test_sam_finds_the_template_sound() -> None:
    done = run(require_tool("sam"), "validate", "--lint", "--region", "us-east-1", env=sam_environment())
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_checkov_finds_nothing_that_was_not_decided() -> None:
    options = ("--framework", "cloudformation", "--skip-download", "--quiet", "--compact")
    done = run(require_tool("checkov"), "--file", "template.yaml", *options)
    assert done.returncode == 0, done.stdout
