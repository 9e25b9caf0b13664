"""The template: access, permissions, and the references between its parts."""

import copy
import json
import re
from typing import Any

import pytest
import yaml
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from handler.classifier import Classifier
from handler.errors import NotAnXray
from handler.http.endpoints import Service
from handler.imaging.decode import decode
from handler.scoring import Predictor
from handler.settings import Settings
from infra.bulk import BulkRun
from infra.cost import TRACED
from infra.engine import ROOT
from tests.handler.test_telemetry import ACCESS_LOG_BYTES, lines_about, prediction
from tests.infra.engine import require_tool, run, sam_environment
from tests.infra.template import fires, load, public_routes, refused, resolved, walked
from tests.tiny_bundle import LABELS

MODES = ["AWS_IAM", "API_KEY", "JWT", "NONE"]
DOORS = ["REST_API", "FUNCTION_URL"]
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
    by_url = resolved(template, FrontDoor="FUNCTION_URL", CorsOrigins="https://a.example")
    assert public_routes(by_url) == []
    assert public_routes(resolved(template, FrontDoor="FUNCTION_URL", AuthMode="NONE")) == [
        "FunctionUrl URL",
        "PublicUrlPermission permission",
        "PublicInvokePermission permission",
    ]


GATEWAY = ("AWS::ApiGateway::", "AWS::Serverless::Api", "AWS::XRay::")


@pytest.mark.parametrize("mode", ["AWS_IAM", "NONE"])
def test_each_front_door_comes_without_the_other(template: dict[str, Any], mode: str) -> None:
    rest, url = (resolved(template, FrontDoor=door, AuthMode=mode) for door in DOORS)
    assert any(resource["Type"].startswith(GATEWAY) for resource in rest.values())
    assert not any(resource["Type"].startswith(GATEWAY) for resource in url.values())
    assert "FunctionUrl" not in rest
    address = url["FunctionUrl"]["Properties"]
    assert (address["AuthType"], address["Qualifier"]) == (mode, "live")
    assert "Cors" not in address
    # The remaining parts only refer to existing parts, except through conditions.
    for door, resources in zip(DOORS, (rest, url), strict=True):
        outputs = walked(template, "Outputs", FrontDoor=door, AuthMode=mode)
        named = {name.partition(".")[0] for name in refs([resources, outputs]) | attributes([resources, outputs])}
        assert not named & (set(template["Resources"]) - set(resources)), door


def test_a_function_url_answers_for_cors_in_place_of_the_service(template: dict[str, Any]) -> None:
    origins = "https://a.example,https://b.example"
    for door in DOORS:
        resources = resolved(template, FrontDoor=door, CorsOrigins=origins)
        inside = resources["InferenceFunction"]["Properties"]["Environment"]["Variables"]["CORS_ORIGINS"]
        assert (inside == "") == ("Cors" in resources.get("FunctionUrl", {}).get("Properties", {}))
    cors = resources["FunctionUrl"]["Properties"]["Cors"]
    assert cors["AllowOrigins"] == {"Fn::Split": [",", {"Ref": "CorsOrigins"}]}
    [middleware] = [each for each in service(cors_origins=("https://a.example",)) if each.cls is CORSMiddleware]
    for ours, theirs in (
        ("allow_methods", "AllowMethods"),
        ("expose_headers", "ExposeHeaders"),
    ):
        assert {each.lower() for each in middleware.kwargs[ours]} == {each.lower() for each in cors[theirs]}
    # Callers do not send a key to a function URL.
    assert {each.lower() for each in middleware.kwargs["allow_headers"]} - {"x-api-key"} == set(cors["AllowHeaders"])


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"FrontDoor": "FUNCTION_URL"}, None),
        ({"FrontDoor": "FUNCTION_URL", "AuthMode": "NONE", "ReservedConcurrency": 5}, None),
        ({"FrontDoor": "FUNCTION_URL", "AuthMode": "NONE"}, "ReservedConcurrency"),
        ({"FrontDoor": "FUNCTION_URL", "AuthMode": "API_KEY"}, "REST_API"),
        ({"FrontDoor": "FUNCTION_URL", "AuthMode": "JWT", "JwtUserPoolArn": "arn"}, "REST_API"),
        ({"AuthMode": "API_KEY"}, None),
        ({"AuthMode": "JWT"}, "JwtUserPoolArn"),
        ({"SnapStart": "ON"}, None),
        ({"ProvisionedConcurrency": 2}, None),
        ({"SnapStart": "ON", "ProvisionedConcurrency": 2}, "SnapStart"),
        ({"ModelRepo": "a/b"}, "ModelRevision"),
    ],
)
def test_what_does_not_go_together_is_refused(
    template: dict[str, Any], parameters: dict[str, Any], words: str | None
) -> None:
    said = refused(template, **parameters)
    assert len(said) == (words is not None)
    assert all(str(words) in each for each in said)


def test_snapstart_is_off_unless_it_is_said_and_possible(template: dict[str, Any]) -> None:
    for state, apply_on in (("OFF", "None"), ("ON", "PublishedVersions")):
        function = resolved(template, SnapStart=state)["InferenceFunction"]["Properties"]
        assert function["SnapStart"] == {"ApplyOn": apply_on}
        # Lambda does not support snapshots with more temporary storage than the default of 512 MB.
        assert "EphemeralStorage" not in function
        assert function["VersionDeletionPolicy"] == "Delete"
    assert template["Parameters"]["SnapStart"]["Default"] == "OFF"
    stage = (
        (ROOT / "Dockerfile").read_text(encoding="utf-8").partition("FROM serving AS lambda")[2].partition("FROM ")[0]
    )
    assert 'LABEL com.amazonaws.lambda.feature.snapstart="Allow"' in stage


def test_traces_are_sampled_at_the_rate_that_the_cost_table_assumes(template: dict[str, Any]) -> None:
    rule = template["Resources"]["GatewaySampling"]["Properties"]["SamplingRule"]
    assert (rule["ReservoirSize"], rule["FixedRate"]) == (0, TRACED["REST_API"])
    assert rule["ServiceName"] == {"Fn::Sub": "${AWS::StackName}/prod"}
    for door, mode in (("REST_API", "Active"), ("FUNCTION_URL", "PassThrough")):
        assert walked(template, "Globals", FrontDoor=door)["Function"]["Tracing"] == mode


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


UNBOUND = {"logs:", "xray:"}
"""Services whose actions do not support resources: log delivery and traces."""


def test_no_statement_allows_everything(template: dict[str, Any]) -> None:
    statements = [
        (name, statement)
        for name, resource in resolved(template, AllowedBuckets="a,b").items()
        for policy in resource.get("Properties", {}).get("Policies", [])
        for statement in policy.get("PolicyDocument", policy)["Statement"]
    ]
    assert len(statements) >= 10
    for name, statement in statements:
        actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        assert not [action for action in actions if "*" in action], (name, statement)
        bound = [action for action in actions if not action.startswith(tuple(UNBOUND))]
        assert statement["Resource"] != "*" or not bound, (name, statement)


def test_the_function_has_no_rights_but_those_written_here(template: dict[str, Any]) -> None:
    resources = resolved(template, AllowedBuckets="a,b")
    # SAM adds permissions to a role that it creates.
    assert resources["InferenceFunction"]["Properties"]["Role"] == {"Fn::GetAtt": ["FunctionRole", "Arn"]}
    role = resources["FunctionRole"]["Properties"]
    assert "ManagedPolicyArns" not in role
    [policy] = role["Policies"]
    # The reason for `TakeArrivals`: Lambda checks these permissions on the queue before it creates the mapping.
    taken = next(each for each in policy["PolicyDocument"]["Statement"] if each["Sid"] == "TakeArrivals")
    assert taken["Resource"] == {"Fn::GetAtt": ["ArrivalQueue", "Arn"]}


def refs(node: Any) -> set[str]:
    """All names that a part of the template refers to."""
    if isinstance(node, dict):
        name = {node["Ref"]} if isinstance(node.get("Ref"), str) else set()
        return name.union(*map(refs, node.values()))
    if isinstance(node, list):
        return set().union(*map(refs, node))
    return set(re.findall(r"\$\{([\w.]+)}", node)) if isinstance(node, str) else set()


def attributes(node: Any) -> set[str]:
    """All resources whose attributes a part of the template uses."""
    if isinstance(node, dict):
        found = node.get("Fn::GetAtt")
        name = {found[0]} if isinstance(found, list) else set()
        return name.union(*map(attributes, node.values()))
    return set().union(*map(attributes, node)) if isinstance(node, list) else set()


def service(**changes: Any) -> list[Middleware]:
    """The middleware of the service with some settings."""
    return Service(Settings(**changes), Predictor(Classifier(threads=1), decode)).middleware


def test_a_parameter_that_changes_is_a_new_version(template: dict[str, Any]) -> None:
    function = template["Resources"]["InferenceFunction"]["Properties"]
    kept = [function[name] for name in ("MemorySize", "Timeout", "Environment")] + [template["Globals"]["Function"]]
    used = refs(kept) & set(template["Parameters"])
    assert {"MemorySize", "Timeout", "LogLevel", "AllowedBuckets"} <= used
    # A commit belongs to one repository, so `ModelRepo` is not needed.
    assert used - {"ModelRepo"} <= refs(function["VersionDescription"])


@pytest.mark.parametrize("door", DOORS)
def test_every_alarm_tells_and_those_of_the_function_watch_what_callers_call(
    template: dict[str, Any], door: str
) -> None:
    resources = resolved(template, FrontDoor=door)
    alarms = {n: r["Properties"] for n, r in resources.items() if r["Type"] == "AWS::CloudWatch::Alarm"}
    assert len(alarms) == 10
    function = resources["InferenceFunction"]["Properties"]
    for properties in alarms.values():
        assert properties["AlarmActions"] == [{"Ref": "AlarmTopic"}]
        watched = [part["MetricStat"]["Metric"] for part in properties.get("Metrics", []) if "MetricStat" in part]
        for metric in watched or [properties]:
            dimensions = {each["Name"]: each["Value"] for each in metric.get("Dimensions", [])}
            if metric["Namespace"] == "AWS/Lambda":
                assert dimensions["Resource"] == {"Fn::Sub": f"${{InferenceFunction}}:{function['AutoPublishAlias']}"}
            if metric["Namespace"] == "AWS/ApiGateway":
                assert dimensions["Stage"] == resources["Api"]["Properties"]["StageName"]
    for alarm in function["DeploymentPreference"]["Alarms"]:
        assert alarm["Ref"] in alarms


def watching(template: dict[str, Any], **parameters: Any) -> dict[str, dict[str, Any]]:
    """The alarms on predictions."""
    return {
        name: resource["Properties"]
        for name, resource in resolved(template, **parameters).items()
        if template["Resources"][name].get("Condition") == "Watches"
    }


def ringing(template: dict[str, Any], metrics: dict[str, float], **parameters: Any) -> set[str]:
    """Names of the alarms on predictions that fire with these metrics of one period."""
    return {
        name
        for name, properties in watching(template, **parameters).items()
        if fires(template, properties, metrics, **parameters)
    }


def answers(n: int, *, unlike: float = 0, refused: float = 0, uncertain: float = 0, score: float = 0.5) -> dict:
    """The metrics of a period with `n` images; CloudWatch has no value for a count of zero."""
    scored = round(n * (1 - refused))
    counts = {
        "Predictions": scored,
        "Refused": n - scored,
        "Warning_unlike_training": round(scored * unlike),
        "Uncertain": round(scored * uncertain),
    }
    return {name: count for name, count in counts.items() if count} | ({"Score": score} if scored else {})


VALIDATION = {"unlike": 0.032, "refused": 0.0, "uncertain": 0.036, "score": 0.699}
"""Of the shipped bundle: `python -m infra.watch`."""


@pytest.mark.parametrize(
    ("found", "alarms"),
    [
        (answers(0), set()),
        (answers(1000), set()),
        (answers(100, **VALIDATION), set()),
        # The means of both classes on the official test images.
        (answers(1000, score=0.118), set()),
        (answers(1000, score=0.958), set()),
        (answers(1000, **VALIDATION | {"unlike": 0.2}), {"UnlikeAlarm"}),
        (answers(1000, **VALIDATION | {"refused": 0.065}), {"RefusalAlarm"}),
        (answers(1000, refused=1), {"RefusalAlarm"}),
        (answers(1000, **VALIDATION | {"uncertain": 0.2}), {"UncertainAlarm"}),
        (answers(1000, **VALIDATION | {"score": 0.99}), {"ScoreAlarm"}),
        (answers(1000, **VALIDATION | {"score": 0.001}), {"ScoreAlarm"}),
        # Too few images trigger no alarm.
        (answers(99, unlike=1, uncertain=1, score=0.999), set()),
        (answers(1, refused=1), set()),
        (answers(100, unlike=1, uncertain=1, score=0.999), {"UnlikeAlarm", "UncertainAlarm", "ScoreAlarm"}),
    ],
)
def test_an_alarm_on_the_answers_fires_when_they_change(
    template: dict[str, Any], found: dict[str, float], alarms: set[str]
) -> None:
    assert ringing(template, found) == alarms


def test_the_limits_of_the_alarms_are_parameters(template: dict[str, Any]) -> None:
    few = answers(20, unlike=0.1, refused=0.05, uncertain=0.1, score=0.5)
    assert ringing(template, few, WatchImages=10) == set()
    limits = {"MostUnlike": 0.05, "MostRefused": 0.01, "MostUncertain": 0.05, "MostMeanScore": 0.4}
    assert ringing(template, few, WatchImages=10, **limits) == set(watching(template))
    assert ringing(template, few, WatchImages=0, **limits) == set()
    for properties in watching(template).values():
        for part in properties["Metrics"][1:]:
            assert part["MetricStat"]["Period"] == {"Ref": "WatchPeriod"}


def test_the_alarms_on_the_answers_can_be_switched_off(template: dict[str, Any]) -> None:
    assert len(watching(template)) == 4
    assert watching(template, WatchImages=0) == {}


def test_the_function_writes_the_metrics_that_are_watched(
    template: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = [prediction({"A": 0.7, "B": 0.3}, "unlike_training", uncertain=True), NotAnXray("no X-ray")]
    [line] = lines_about(("A", "B"), outcomes, monkeypatch, capsys)
    watched = {
        part["MetricStat"]["Metric"]["MetricName"]: part["MetricStat"]["Metric"]
        for properties in watching(template).values()
        for part in properties["Metrics"]
        if "MetricStat" in part
    }
    assert set(watched) == {"Predictions", "Refused", "Uncertain", "Warning_unlike_training", "Score"}
    assert set(watched) <= {metric["Name"] for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    # Over all versions of the model: without dimensions.
    assert [] in line["_aws"]["CloudWatchMetrics"][0]["Dimensions"]
    assert all(set(metric) == {"Namespace", "MetricName"} for metric in watched.values())


@pytest.mark.parametrize("name", ["Calibration", "Prevalence"])
def test_a_calibration_and_a_prevalence_reach_the_function(template: dict[str, Any], name: str) -> None:
    variables = template["Resources"]["InferenceFunction"]["Properties"]["Environment"]["Variables"]
    assert variables[name.upper()] == {"Ref": name}
    assert template["Parameters"][name]["Default"] == ""


def test_the_hook_knows_when_a_calibration_changes_the_answer(template: dict[str, Any]) -> None:
    variables = template["Resources"]["GoldenImageHook"]["Properties"]["Environment"]["Variables"]
    assert variables["CALIBRATION"] == {"Ref": "Calibration"}


def test_the_description_of_a_version_has_room_for_what_is_said(template: dict[str, Any]) -> None:
    parameters = template["Parameters"]
    text = template["Resources"]["InferenceFunction"]["Properties"]["VersionDescription"]["Fn::Sub"][0]
    longest = {
        "MemorySize": "10240",
        "Timeout": "120",
        "ModelRevision": "a" * 40,
        **{
            name: max(parameters[name]["AllowedValues"], key=len)
            for name in ("Architecture", "LogLevel", "FrontDoor", "SnapStart")
        },
    }
    fixed = re.sub(r"\$\{(\w+)}", lambda found: longest.get(found[1], ""), text)
    said = int(re.findall(r"at most (\d+) characters", parameters["AllowedBuckets"]["Description"])[0])
    assert len(fixed) + said <= 256


@pytest.mark.parametrize(("door", "shown"), [("REST_API", "AWS/ApiGateway"), ("FUNCTION_URL", "UrlRequestCount")])
def test_the_dashboard_is_json_and_shows_this_stack_s_metrics(template: dict[str, Any], door: str, shown: str) -> None:
    dashboard = resolved(template, FrontDoor=door)["Dashboard"]["Properties"]["DashboardBody"]
    body, parts = dashboard["Fn::Sub"]
    for name, part in parts.items():
        body = body.replace(f"${{{name}}}", part["Fn::Sub"])
    limits = [name for name in template["Parameters"] if f"${{{name}}}" in body]
    assert {"MostUnlike", "MostRefused", "MostUncertain", "LeastMeanScore", "MostMeanScore"} <= set(limits)
    for name in limits:
        body = body.replace(f"${{{name}}}", str(template["Parameters"][name]["Default"]))
    assert shown in body
    widgets = json.loads(body)["widgets"]
    assert len(widgets) == 9
    variables = template["Resources"]["InferenceFunction"]["Properties"]["Environment"]["Variables"]
    assert variables["METRICS_NAMESPACE"] == {"Ref": "AWS::StackName"}
    searches = [
        metric[0]["expression"]
        for widget in widgets
        for metric in widget["properties"]["metrics"]
        if isinstance(metric[0], dict) and "id" not in metric[0]
    ]
    assert len(searches) == 3
    assert all(text.startswith('SEARCH(\'{"${AWS::StackName}",model_version} ') for text in searches)
    assert refs(body) <= {*template["Resources"], "ArrivalQueue.QueueName", "DeadLetterQueue.QueueName"}


def test_no_alarm_and_no_widget_names_a_class(template: dict[str, Any]) -> None:
    # Another bundle has other classes.
    shown = json.dumps([r for r in template["Resources"].values() if r["Type"].startswith("AWS::CloudWatch::")])
    assert "Predicted OR" in shown
    for label in LABELS:
        assert label.lower() not in shown.lower()


def test_metrics_are_never_filtered_out(template: dict[str, Any]) -> None:
    for level in template["Parameters"]["LogLevel"]["AllowedValues"]:
        config = walked(template, "Globals", LogLevel=level)["Function"]["LoggingConfig"]
        debugs = level == "DEBUG"
        assert config["ApplicationLogLevel"] == ("DEBUG" if debugs else "INFO")
        assert config["SystemLogLevel"] == ("DEBUG" if debugs else "WARN")


def test_the_access_log_is_json_and_names_nobody(template: dict[str, Any]) -> None:
    api = template["Resources"]["Api"]["Properties"]
    line = json.loads(api["AccessLogSetting"]["Format"])
    filled = {
        "$context.requestId": "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
        "$context.status": "200",
        "$context.responseLatency": "1234",
        "$context.error.responseType": "-",
    }
    assert set(line.values()) == set(filled)
    assert len(json.dumps({name: filled[value] for name, value in line.items()}, separators=(",", ":"))) <= (
        ACCESS_LOG_BYTES
    )
    # Other logs of the gateway would go to a log group without a retention time.
    assert [settings["LoggingLevel"] for settings in api["MethodSettings"]] == ["OFF"]


def test_every_log_is_kept_for_as_long_as_was_said(template: dict[str, Any]) -> None:
    groups = [r["Properties"] for r in template["Resources"].values() if r["Type"] == "AWS::Logs::LogGroup"]
    assert len(groups) == 4
    assert all(group["RetentionInDays"] == {"Ref": "LogRetentionDays"} for group in groups)


@pytest.mark.parametrize("buckets", ["", "a,b"])
def test_buckets_and_queues_are_reached_by_tls_alone(template: dict[str, Any], buckets: str) -> None:
    resources = resolved(template, AllowedBuckets=buckets)
    guarded = set()
    for resource in resources.values():
        if resource["Type"] in ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy"):
            properties = resource["Properties"]
            deny, *others = properties["PolicyDocument"]["Statement"]
            assert (deny["Effect"], deny["Principal"]) == ("Deny", "*")
            assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
            assert len(others) == (resource is resources["ArrivalQueuePolicy"] and buckets != "")
            guarded |= {each["Ref"] for each in properties.get("Queues", [properties.get("Bucket")])}
    assert guarded == {n for n, r in resources.items() if r["Type"] in ("AWS::S3::Bucket", "AWS::SQS::Queue")}


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
    # CloudFormation refuses a template that contains a null.
    assert "null" not in text
    prefix, manifest = bulk["Definition"]["States"]["ScorePrefix"], bulk["Definition"]["States"]["ScoreManifest"]
    assert {name for name in prefix if prefix[name] != manifest[name]} == {"Label", "ItemReader"}
    # The content of a batch or its failure, but not the input of the run.
    inner = {"BatchInput", "Items", "Payload", "failure", "listed"}
    read = set(re.findall(r"(?<!\$)\$\.(\w+)", text)) - inner
    assert read | {"output_prefix"} == set(BulkRun.__dataclass_fields__)


def test_a_space_listens_where_its_front_matter_says() -> None:
    front = yaml.safe_load((ROOT / "infra" / "spaces" / "README.md").read_text(encoding="utf-8").split("---")[1])
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert front["sdk"] == "docker"
    assert f"EXPOSE {front['app_port']}" in dockerfile
    assert f'"--port", "{front["app_port"]}"' in dockerfile.splitlines()[-1]


def test_a_space_may_be_shown_in_the_hub_s_frame() -> None:
    run("make", "space-files").check_returncode()

    dockerfile = (ROOT / "build" / "space" / "Dockerfile").read_text(encoding="utf-8")
    last_stage = dockerfile.rpartition("\nFROM ")[2]
    assert 'ENV FRAME_ANCESTORS="https://huggingface.co"' in last_stage
    assert 'CMD ["python", "-m", "handler", "serve"' in last_stage


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
