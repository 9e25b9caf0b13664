"""`template.yaml`, evaluated for parameters and conditions as by CloudFormation."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import yaml

from infra.engine import ROOT


class _Loader(yaml.SafeLoader):
    """Reads `!Ref X` as `{"Ref": X}` and so on."""


def _tag(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        return {name: value.split(".", 1) if suffix == "GetAtt" else value}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _tag)

NO_VALUE = object()


def load() -> dict[str, Any]:
    """The template without evaluation."""
    return dict(yaml.load((ROOT / "template.yaml").read_text(encoding="utf-8"), _Loader))


def resolved(template: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    """The template's resources with every `Fn::If` evaluated; missing parameters have their defaults."""
    return walked(template, "Resources", **parameters)


def refused(template: dict[str, Any], **parameters: Any) -> list[str]:
    """The messages of the rules that these parameters violate; missing parameters have their defaults."""
    holds = _conditions(template, parameters)
    return [
        assertion["AssertDescription"]
        for rule in template["Rules"].values()
        if holds(rule["RuleCondition"])
        for assertion in rule["Assertions"]
        if not holds(assertion["Assert"])
    ]


def _conditions(template: dict[str, Any], parameters: dict[str, Any]) -> Callable[[Any], bool]:
    """Evaluates conditions."""
    values = {name: about["Default"] for name, about in template["Parameters"].items()} | parameters

    def scalar(node: Any) -> Any:
        match node:
            case {"Ref": name}:
                return values[name]
            case {"Fn::Join": [separator, {"Ref": name}]}:
                return separator.join([values[name]] if isinstance(values[name], str) else values[name])
        return node

    def condition(node: Any) -> bool:
        match node:
            case {"Fn::Equals": [left, right]}:
                return str(scalar(left)) == str(scalar(right))
            case {"Fn::Not": [inner]}:
                return not condition(inner)
            case {"Fn::And": parts}:
                return all(map(condition, parts))
            case {"Fn::Contains": [members, value]}:
                return scalar(value) in members
        raise NotImplementedError(node)

    return condition


def walked(template: dict[str, Any], section: str, **parameters: Any) -> dict[str, Any]:
    """A section of the template with every `Fn::If` evaluated, without parts whose condition is false."""
    condition = _conditions(template, parameters)
    decided = {name: condition(node) for name, node in template["Conditions"].items()}

    def walk(node: Any) -> Any:
        match node:
            case {"Fn::If": [name, yes, no]}:
                return walk(yes if decided[name] else no)
            case {"Ref": "AWS::NoValue"}:
                return NO_VALUE
            case dict():
                return {key: made for key, value in node.items() if (made := walk(value)) is not NO_VALUE}
            case list():
                return [made for value in node if (made := walk(value)) is not NO_VALUE]
        return node

    kept = {n: r for n, r in template[section].items() if decided.get(r.get("Condition"), True)}
    return dict(walk(kept))


def fires(template: dict[str, Any], alarm: dict[str, Any], metrics: dict[str, float], **parameters: Any) -> bool:
    """Whether an alarm with a metric math expression fires after one period.

    Args:
        alarm: its properties.
        metrics: metrics of the period, by name; missing ones have no data.
        parameters: missing ones have their defaults.
    """
    values = {name: about["Default"] for name, about in template["Parameters"].items()} | parameters
    named = {
        part["Id"]: np.float64(metrics.get(part["MetricStat"]["Metric"]["MetricName"], np.nan))
        for part in alarm["Metrics"]
        if "MetricStat" in part
    }
    [text] = [part["Expression"]["Fn::Sub"] for part in alarm["Metrics"] if "Expression" in part]
    text = re.sub(r"\$\{(\w+)}", lambda found: str(values[found[1]]), text)
    text = text.replace(" AND ", " and ").replace(" OR ", " or ")
    functions = {
        "IF": lambda condition, yes, no: yes if condition else no,
        "FILL": lambda value, filler: np.float64(filler) if np.isnan(value) else value,
    }
    with np.errstate(all="ignore"):
        found = np.float64(eval(text, {"__builtins__": {}}, functions | named))
    threshold = alarm["Threshold"]
    limit = values[threshold["Ref"]] if isinstance(threshold, dict) else threshold
    breaches = {"GreaterThanThreshold": found > limit, "GreaterThanOrEqualToThreshold": found >= limit}
    assert alarm["TreatMissingData"] == "notBreaching"  # NaN means no data, which triggers no alarm
    return bool(breaches[alarm["ComparisonOperator"]])


def public_routes(resources: dict[str, Any]) -> list[str]:
    """All access paths to the function without authentication."""
    found = []
    for name, resource in resources.items():
        properties = resource.get("Properties", {})
        kind = resource["Type"]
        if kind == "AWS::Serverless::Api":
            for path, methods in properties["DefinitionBody"]["paths"].items():
                found += [f"{name} {method} {path}" for method, about in methods.items() if not about.get("security")]
        elif kind == "AWS::Serverless::HttpApi":
            found.append(f"{name}: HTTP APIs are not looked into here")
        elif kind == "AWS::Serverless::Function":
            url = properties.get("FunctionUrlConfig", {"AuthType": "AWS_IAM"})
            found += [f"{name} URL"] if url.get("AuthType") != "AWS_IAM" else []
        elif kind == "AWS::Lambda::Url" and properties.get("AuthType") != "AWS_IAM":
            found.append(f"{name} URL")
        elif kind == "AWS::Lambda::Permission" and properties.get("Principal") == "*":
            found.append(f"{name} permission")
    return found
