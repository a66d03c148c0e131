"""What alarms mean: each is computed for samples, as CloudWatch would for one period."""

import re

from checking.templates import TEMPLATES, of_type

QUIET = {"high": 0, "normal": 0, "low": 0, "empty": 9, "receivedhigh": 0, "receivednormal": 0, "receivedlow": 0}
UNASKED = {**QUIET, "empty": 0, "low": 1}
# SQS says nothing of a queue that nobody has touched for six hours.
SILENT_LANES = {"high": None, "normal": None, "receivedhigh": None, "receivednormal": None}

# By the end of an alarm's name: samples of its metrics, and whether they make it sound. An alarm of one metric has a
# number, None where there is none.
MEANINGS = {
    "oldest-message": [
        ({"high": 0, "normal": 3601, "low": 0}, True),
        ({"high": 0, "normal": 3600, "low": 0}, False),
        ({"high": None, "normal": None, "low": 3601}, True),
        ({"high": None, "normal": None, "low": None}, False),
    ],
    "dead-letters": [(1, True), (0, False), (None, False)],
    "nobody-asks": [
        (UNASKED, True),
        (QUIET, False),
        ({**UNASKED, "empty": 1}, False),
        ({**UNASKED, "receivedlow": 1}, False),
        ({**UNASKED, **SILENT_LANES, "empty": None}, True),
        (dict.fromkeys(UNASKED), False),
    ],
    "iterator-age": [(60_001, True), (60_000, False), (None, False)],
    "dispatcher-errors": [(1, True), (0, False), (None, False)],
    "dispatcher-throttles": [(1, True), (0, False), (None, False)],
    # What lies there is there still when the queue has fallen silent.
    "stream-failures": [(1, True), (0, False), (None, None)],
    "sweeper-still": [(1, False), (0, True), (None, True)],
    "sweeper-errors": [(1, True), (0, False), (None, False)],
    "tasks-write-throttles": [
        ({"writes": 1, "accounts": None, "due": None}, True),
        ({"writes": None, "accounts": 1, "due": None}, True),
        ({"writes": 0, "accounts": None, "due": 0}, False),
        ({"writes": None, "accounts": None, "due": None}, False),
    ],
    "control-write-throttles": [(1, True), (0, False), (None, False)],
    "failed-rate": [
        ({"failed": 6, "completed": 4}, True),
        ({"failed": 5, "completed": 5}, False),
        ({"failed": 10, "completed": None}, True),
        # Too few to tell.
        ({"failed": 9, "completed": 0}, False),
        ({"failed": None, "completed": 100}, False),
        ({"failed": None, "completed": None}, False),
    ],
    "no-worker": [
        ({"backlog": 1, "alive": 0}, True),
        ({"backlog": 0, "alive": 0}, False),
        ({"backlog": 1, "alive": 1}, False),
        # sweeper-still says so.
        ({"backlog": None, "alive": None}, False),
    ],
    # These two scale workers.
    "wake": [
        (UNASKED, True),
        (QUIET, False),
        ({**UNASKED, "receivednormal": 1}, False),
        ({**UNASKED, **SILENT_LANES, "empty": None}, True),
        (dict.fromkeys(UNASKED), False),
    ],
    "idle": [
        ({"high": 0, "normal": 0, "low": 0, "busiest": 2.9}, True),
        ({"high": None, "normal": None, "low": 0, "busiest": 1}, True),
        ({"high": 0, "normal": 0, "low": 0, "busiest": 3}, False),
        ({"high": 0, "normal": 0, "low": 1, "busiest": 1}, False),
        # No worker is there to be let go.
        ({"high": 0, "normal": 0, "low": 0, "busiest": None}, False),
    ],
}
COMPARISONS = {
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
}
# None: the alarm stays as it is.
MISSING = {"breaching": True, "notBreaching": False, "ignore": None}


def _default(value, parameters):
    """A value, or the default of the parameter that it names."""
    return parameters[value["Ref"]]["Default"] if isinstance(value, dict) else value


def _computed(expression, samples):
    """Metric math: functions of a list do without what is missing, everything else has no result then."""
    present = lambda values: [value for value in values if value is not None]  # noqa: E731
    functions = {
        "SUM": lambda values: sum(present(values)) if present(values) else None,
        "MAX": lambda values: max(present(values), default=None),
        "IF": lambda condition, then, otherwise: then if condition else otherwise,
    }
    try:
        return eval(expression.replace(" AND ", " and "), {"__builtins__": {}}, functions | samples)
    except TypeError:
        return None


def _sounds(alarm, parameters, samples):
    """Whether one period of such samples is breaching."""
    value = samples
    if "Metrics" in alarm:
        [expression] = [metric["Expression"] for metric in alarm["Metrics"] if "Expression" in metric]
        if isinstance(expression, dict):
            expression = re.sub(r"\$\{(\w+)\}", lambda m: str(parameters[m[1]]["Default"]), expression["Fn::Sub"])
        value = _computed(expression, samples)
    if value is None:
        return MISSING[alarm["TreatMissingData"]]
    return COMPARISONS[alarm["ComparisonOperator"]](value, _default(alarm["Threshold"], parameters))


def alarms_sound_when_they_should():
    seen = set()
    for name, template in TEMPLATES.items():
        for alarm in of_type(template.content, "AWS::CloudWatch::Alarm").values():
            title = alarm["AlarmName"]["Fn::Sub"]
            kind = next((kind for kind in MEANINGS if title.endswith(f"-{kind}")), None)
            if kind is None:
                yield f"{name}.yaml: scripts/checking/alarms.py does not say what {title} means"
                continue
            seen.add(kind)
            for samples, expected in MEANINGS[kind]:
                if (found := _sounds(alarm, template.parameters, samples)) != expected:
                    yield f"{name}.yaml: {title} of {samples} is {found}, not {expected}"
            # A state that somebody is told of has to be taken back too.
            if "AlarmActions" not in alarm or (kind not in ("wake", "idle") and alarm["AlarmActions"] != alarm.get("OKActions")):
                yield f"{name}.yaml: {title} does not tell of its end whom it tells of its beginning"
    for kind in sorted(set(MEANINGS) - seen):
        yield f"scripts/checking/alarms.py knows the alarm {kind}, which no template makes"
