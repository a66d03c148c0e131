"""Metrics, alarms and dashboards."""

import json
import re
import sys

from checking.templates import CORE, POOL, ROOT, TEMPLATES, WATCH, of_type, walk

# What the filters of the workers' logs count.
LOG_NAMESPACE = {"Fn::Sub": "Stageline/${Prefix}"}
# The metrics of AWS that we use, with their dimensions; an index of a table has one more.
METRICS = {
    "AWS/SQS": (
        {"QueueName"},
        {"ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible", "NumberOfEmptyReceives", "NumberOfMessagesReceived"},
    ),
    "AWS/Lambda": ({"FunctionName"}, {"IteratorAge", "Errors", "Throttles", "Invocations", "Duration"}),
    "AWS/DynamoDB": ({"TableName"}, {"WriteThrottleEvents", "ConsumedWriteCapacityUnits"}),
    "AWS/ECS": ({"ClusterName", "ServiceName"}, {"CPUUtilization"}),
    "AWS/EC2": ({"AutoScalingGroupName"}, {"CPUUtilization"}),
    "AWS/AutoScaling": ({"AutoScalingGroupName"}, {"GroupInServiceInstances"}),
}


def alarms_of_the_default_pool_are_those_of_every_pool():
    def plain(text):
        text = re.sub(r'\{"Fn::GetAtt": \["(\w+)Queue", "QueueName"\]\}', lambda m: f'"QUEUE-{m[1].lower()}"', text)
        text = re.sub(r'\{"Fn::Sub": "\$\{Prefix\}-default-(high|normal|low|dead)"\}', r'"QUEUE-\1"', text)
        return re.sub(r'\{"Fn::Sub": ("(?:[^"\\]|\\.)*")\}', r"\1", text.replace("${PoolName}", "default"))

    for name, alarm in of_type(POOL, "AWS::CloudWatch::Alarm").items():
        ours, default = (plain(json.dumps(a)) for a in (alarm, of_type(WATCH, "AWS::CloudWatch::Alarm").get(name)))
        if ours != default:
            yield f"{name} of pool.yaml and of watch.yaml differ:\n  {ours}\n  {default}"


def metrics_exist():
    for name, template in TEMPLATES.items():
        for path, node in walk(template.content):
            if not isinstance(node, dict) or not {"Namespace", "MetricName"} <= set(node):
                continue
            where = f"{name}.yaml {'.'.join(map(str, path))}"
            if node["Namespace"] == LOG_NAMESPACE:
                if node["MetricName"] not in _counted_in_logs():
                    yield f"{where}: no filter of workers-ecs.yaml counts {node['MetricName']}"
                continue
            if isinstance(node["Namespace"], dict):
                keys = [node["MetricName"], node["Namespace"]]
                for found in (key["Fn::FindInMap"] for key in keys):
                    if found[1] not in template.content["Mappings"][found[0]]:
                        yield f"{where}: the mapping {found[0]} has no {found[1]}"
                continue
            dimensions, metrics = METRICS.get(node["Namespace"], (set(), set()))
            if node["MetricName"] not in metrics:
                yield f"{where}: {node['Namespace']} has no metric {node['MetricName']} that we know"
            has = {dimension["Name"] for dimension in node["Dimensions"]}
            if has - {"GlobalSecondaryIndexName"} != dimensions or (has != dimensions and "TableName" not in has):
                yield f"{where}: {node['Namespace']} has other dimensions"


def _counted_in_logs():
    """The metrics that the filters of the workers' logs make."""
    filters = of_type(TEMPLATES["workers-ecs"].content, "AWS::Logs::MetricFilter").values()
    made = [transformation for filter in filters for transformation in filter["MetricTransformations"]]
    return {t["MetricName"] for t in made if t["MetricNamespace"] == LOG_NAMESPACE}


def _board():
    """The dashboard of watch.yaml, with the names that it takes from elsewhere in their place."""
    body, names = of_type(WATCH, "AWS::CloudWatch::Dashboard")["Dashboard"]["DashboardBody"]["Fn::Sub"]
    for name, value in names.items():
        path = value["Fn::FindInMap"]
        body = body.replace(f"${{{name}}}", WATCH["Mappings"][path[0]][path[1]][path[2]])
    # Every substitution that stands alone in the text is a number there.
    return json.loads(re.sub(r"\$\{IteratorAgeMilliseconds\}", "1", body))


def _searched(expression):
    """Namespace and metric of a search. What follows them is not in quotes, or it would be a whole name."""
    found = re.search(r"SEARCH\('\{([\w/]+),[\w,]+\} MetricName=\"(\w+)\" QueueName=\$?[\w{}]+'", expression)
    return found.groups() if found else ("a search that finds nothing", expression)


def both_dashboards_show_the_same():
    ours = set()
    for widget in _board()["widgets"]:
        before = []
        for metric in widget["properties"].get("metrics", []):
            if isinstance(metric[0], dict):
                ours.add(_searched(metric[0]["expression"]))
                continue
            names = [part for part in metric if isinstance(part, str)]
            # "..." repeats what comes before the last name, "." one name.
            names = before[: 1 - len(names)] + names[1:] if names[0] == "..." else names
            before = [old if name == "." else name for name, old in zip(names, before + names[len(before) :])]
            ours.add((before[0].replace("Prefix", "prefix"), before[1]))
    grafana = json.loads((ROOT / "infra" / "grafana.json").read_text())
    targets = [target for panel in grafana["panels"] for target in panel.get("targets", [])]
    cloudwatch = [target for target in targets if target["datasource"]["type"] == "cloudwatch"]
    theirs = {_searched(t["expression"]) if "expression" in t else (t["namespace"], t["metricName"]) for t in cloudwatch}
    if ours != theirs:
        yield f"the dashboard of watch.yaml and grafana.json differ in {sorted(ours ^ theirs, key=str)}"
    variables = {variable["name"] for variable in grafana["templating"]["list"]}
    used = set(re.findall(r"\$\{?(?!__|PROP)([a-z]\w*)", json.dumps(grafana["panels"])))
    if used != variables:
        yield f"grafana.json uses the variables {sorted(used)}, and has {sorted(variables)}"
    taken = set()
    for panel in grafana["panels"]:
        place = panel["gridPos"]
        area = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        if area & taken or place["x"] + place["w"] > 24:
            yield f"grafana.json: the panel {panel['title']} lies on another, or outside"
        taken |= area


def what_we_publish_is_what_the_dashboards_show():
    table = ROOT / "docs" / "metrics.md"
    if not table.is_file():
        print("!! NOT CHECKED: docs/metrics.md is not there, so names of our own metrics are not", file=sys.stderr)
        return
    published = set(re.findall(r"^\| `(\w+)` \|", table.read_text(), re.M))
    named = {names["Name"] for key, names in WATCH["Mappings"]["Product"].items() if key not in ("Namespace", "Dimension")}
    text = (ROOT / "infra" / "grafana.json").read_text()
    named |= {re.sub(r"_bucket$", "", name) for name in re.findall(r"\bstageline_\w+", text)}
    if unknown := named - published:
        yield f"docs/metrics.md has no {sorted(unknown)}, which watch.yaml or grafana.json shows"


def metric_math_uses_what_it_defines():
    for name, template in TEMPLATES.items():
        for path, node in walk(template.content):
            if not (isinstance(node, list) and path and path[-1] == "Metrics" and node and isinstance(node[0], dict)):
                continue
            where = f"{name}.yaml {path[1]}"
            expressions = [m["Expression"] for m in node if "Expression" in m]
            text = " ".join(e["Fn::Sub"] if isinstance(e, dict) else e for e in expressions)
            used = set(re.findall(r"\b[a-z]\w*\b", re.sub(r"\$\{\w+\}", "", text)))
            defined = {m["Id"] for m in node if "MetricStat" in m}
            if used != defined:
                yield f"{where}: the expression uses {sorted(used)}, and there are {sorted(defined)}"
            if [m["ReturnData"] for m in node].count(True) != 1:
                yield f"{where}: exactly one result has to be returned"
            # CloudWatch takes ten in an alarm.
            if len(node) > 10:
                yield f"{where}: {len(node)} metrics; an alarm takes ten"


def what_is_watched_exists():
    made = json.dumps(CORE["Resources"])
    for path, node in walk(WATCH["Resources"]):
        if isinstance(node, dict) and node.get("Name") in ("QueueName", "FunctionName"):
            name = node["Value"].get("Fn::Sub")
            if name and json.dumps(name) not in made:
                yield f"watch.yaml {path[0]} watches {name}, which core.yaml does not make"
    alarms = {alarm["AlarmName"]["Fn::Sub"] for alarm in of_type(WATCH, "AWS::CloudWatch::Alarm").values()}
    shown = {arn.partition(":alarm:")[2] for arn in _board()["widgets"][0]["properties"]["alarms"]}
    if shown != alarms:
        yield f"the dashboard does not show every alarm, or shows others: {sorted(shown ^ alarms)}"
    taken = set()
    for widget in _board()["widgets"]:
        area = {(x, y) for x in range(widget["x"], widget["x"] + widget["width"]) for y in range(widget["y"], widget["y"] + widget["height"])}
        if area & taken or widget["x"] + widget["width"] > 24:
            yield f"the widget {widget['properties']['title']} lies on another, or outside"
        taken |= area
    for alarm in alarms:
        row = f"`{alarm.replace('${Prefix}-', '').replace('default-', 'POOL-')}`"
        if row not in (ROOT / "docs" / "deploy.md").read_text():
            yield f"docs/deploy.md has no row for the alarm {row}"
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    sections = dict(re.findall(r"^### `([\w-]+)`\n(.*?)(?=^##|\Z)", runbook, re.M | re.S))
    names = {alarm.replace("${Prefix}-", "").replace("default-", "POOL-") for alarm in alarms}
    for name in sorted(names ^ set(sections)):
        yield f"docs/runbook.md has no section for the alarm {name}, or one for an alarm that there is not"
    for name, text in sections.items():
        if "**Means**" not in text or len(text.split()) < 20:
            yield f"docs/runbook.md does not say what {name} means and what to do"
