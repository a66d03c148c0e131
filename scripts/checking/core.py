"""The core template and the pools: what exists twice is the same."""

import json
import re
import tomllib

from checking.templates import CORE, POOL, ROOT, TEMPLATES, of_type, walk
from deploying.template import MAX_BYTES

MAX_FILTERS = 5  # what a mapping takes without a raised quota


def templates_can_be_sent():
    for name, template in TEMPLATES.items():
        size = len(template.body.encode())
        if size > MAX_BYTES:
            yield f"{name}.yaml has {size} bytes; CreateChangeSet takes {MAX_BYTES}"


def parameters_are_shown_once():
    for name, template in TEMPLATES.items():
        groups = template.content["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
        shown = [parameter for group in groups for parameter in group["Parameters"]]
        if sorted(shown) != sorted(template.parameters):
            wrong = set(shown) ^ set(template.parameters) or {p for p in shown if shown.count(p) > 1}
            yield f"{name}.yaml: the groups of its interface do not show once: {', '.join(sorted(wrong))}"


def filters_are_those_of_the_embedded_pump():
    mapping = CORE["Resources"]["DispatcherStreamMapping"]["Properties"]
    in_template = [json.loads(f["Pattern"]) for f in mapping["FilterCriteria"]["Filters"]]
    in_file = json.loads((ROOT / "infra" / "stream-filters.json").read_text())
    for index in range(max(len(in_template), len(in_file))):
        ours = in_template[index] if index < len(in_template) else None
        theirs = in_file[index] if index < len(in_file) else None
        if ours != theirs:
            yield f"filter {index} differs:\n  core.yaml           {json.dumps(ours)}\n  stream-filters.json {json.dumps(theirs)}"
    if len(in_file) > MAX_FILTERS:
        yield f"{len(in_file)} filters; a mapping takes {MAX_FILTERS}"
    for index, pattern in enumerate(in_file):
        for path, value in walk(pattern):
            # A pattern is objects all the way down to non-empty lists.
            if not any(isinstance(step, int) for step in path) and (not isinstance(value, (dict, list)) or not value):
                yield f"filter {index}: {'.'.join(path)} is neither an object nor a non-empty list"


def pools_are_said_the_same_everywhere():
    outputs = CORE["Outputs"]
    for name, function in of_type(CORE, "AWS::Lambda::Function").items():
        if function["Environment"]["Variables"]["STAGELINE_POOLS"] != outputs["Pools"]["Value"]:
            yield f"STAGELINE_POOLS of {name} and the output Pools differ"
    whole, alone = (outputs[name]["Value"]["Fn::Sub"][0] for name in ("Pools", "DefaultPool"))
    if whole != f"[{alone}${{Further}}]":
        yield "the outputs Pools and DefaultPool differ"
    shape = re.sub(r'"name":"[^"]*"|\$\{\w+\}', "", alone)
    if shape != re.sub(r'"name":"[^"]*"|\$\{\w+\}', "", POOL["Outputs"]["Pool"]["Value"]["Fn::Sub"][0]):
        yield "the output Pool of pool.yaml and DefaultPool of core.yaml do not have the same shape"


def a_pools_queues_are_like_the_default_ones():
    core, pool = of_type(CORE, "AWS::SQS::Queue"), of_type(POOL, "AWS::SQS::Queue")
    for name, queue in pool.items():
        if {**queue, "QueueName": ""} != {**core[name], "QueueName": ""}:
            yield f"{name} of pool.yaml is not like that of core.yaml"
        lane = name.removesuffix("Queue").lower()
        if queue["QueueName"] != {"Fn::Sub": f"${{Prefix}}_${{PoolName}}-{lane}"}:
            yield f"{name} of pool.yaml has a name that the core's roles do not allow"
    for role, lanes in (("DispatcherRole", ("high", "normal", "low")), ("SweeperRole", ("high", "normal", "low", "dead"))):
        text = json.dumps(CORE["Resources"][role])
        for lane in lanes:
            if f"${{Prefix}}_*-{lane}" not in text:
                yield f"{role} may not use the queue {lane} of further pools"


def crates_say_what_the_template_says():
    for crate, function in (("dispatcher", "DispatcherFunction"), ("sweeper", "SweeperFunction")):
        package = tomllib.loads((ROOT / "lambdas" / crate / "Cargo.toml").read_text())["package"]
        deploy = package["metadata"]["lambda"]["deploy"]
        properties = CORE["Resources"][function]["Properties"]
        if (deploy["memory"], deploy["timeout"]) != (properties["MemorySize"], properties["Timeout"]):
            yield f"memory or timeout of lambdas/{crate}/Cargo.toml and of {function} differ"


def data_outlives_the_stack():
    for name, resource in CORE["Resources"].items():
        if resource["Type"] not in ("AWS::DynamoDB::Table", "AWS::S3::Bucket"):
            continue
        if (resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy")) != ("RetainExceptOnCreate", "Retain"):
            yield f"{name} does not outlive its stack"
        if resource["Type"].endswith("Table") and "DeletionProtectionEnabled" not in resource["Properties"]:
            yield f"{name} can be deleted by one call"
