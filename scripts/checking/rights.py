"""What each program may do."""

import json
import re
import sys

from checking.templates import CORE, POOL, ROOT, of_type

# What a policy's resource is, by what its expression holds; the first that fits. tests/tests/permissions.rs records
# the calls of each program by the same names.
RESOURCES = (
    ("log", r":log-group:"),
    ("stream", r"TasksStreamArn|/stream/|TasksTable\", \"StreamArn"),
    ("tasks/byDue", r"/index/byDue"),
    ("tasks", r":table/\$\{Name\}\""),
    ("stages", r'"(StagesTable|\$\{Prefix\}-stages)"|table/\$\{Prefix\}-stages'),
    ("control", r'"ControlTable"|table/\$\{Prefix\}-control'),
    ("stream failures", r'"StreamFailuresQueue"'),
    ("dead", r'"DeadQueue"|-dead"'),
    ("lanes", r'"(High|Normal|Low)Queue"|-(high|normal|low)"'),
    ("artifacts", r"/artifacts/\*"),
    ("inputs", r"/inputs/\*"),
    ("bucket", r":s3:::\$\{Name\}\""),
)


def workers_of_each_pool_may_do_the_same():
    def rights(template):
        statements = of_type(template, "AWS::IAM::ManagedPolicy")["WorkerPolicy"]["PolicyDocument"]["Statement"]
        plain = [s["Fn::If"][1] if "Fn::If" in s else s for s in statements]
        return {s["Sid"]: (s["Action"], "Fn::If" in statements[i]) for i, s in enumerate(plain)}

    if rights(CORE) != rights(POOL):
        yield f"WorkerPolicy of core.yaml and of pool.yaml differ:\n  {rights(CORE)}\n  {rights(POOL)}"


def _permissions():
    """What each program may do: program -> resource -> actions."""
    found = {}
    roles = of_type(CORE, "AWS::IAM::Role")
    policies = {
        "dispatcher": roles["DispatcherRole"]["Policies"][0]["PolicyDocument"],
        "sweeper": roles["SweeperRole"]["Policies"][0]["PolicyDocument"],
        "worker": of_type(CORE, "AWS::IAM::ManagedPolicy")["WorkerPolicy"]["PolicyDocument"],
    }
    for program, policy in policies.items():
        for statement in policy["Statement"]:
            statement = statement["Fn::If"][1] if "Fn::If" in statement else statement
            actions, resources = (v if isinstance(v, list) else [v] for v in (statement["Action"], statement["Resource"]))
            for text in map(json.dumps, resources):
                kind = next((name for name, pattern in RESOURCES if re.search(pattern, text)), text)
                found.setdefault(program, {}).setdefault(kind, set()).update(actions)
    return {p: {kind: sorted(actions) for kind, actions in sorted(kinds.items())} for p, kinds in sorted(found.items())}


def permissions_are_those_that_the_tests_compare():
    file = ROOT / "infra" / "permissions.json"
    if "--write" in sys.argv:
        file.write_text(json.dumps(_permissions(), indent=2) + "\n")
    if not file.is_file() or json.loads(file.read_text()) != _permissions():
        yield "infra/permissions.json is not what core.yaml says; write it anew with scripts/check-infra --write"
    known = {name for name, _ in RESOURCES}
    for program, kinds in _permissions().items():
        for kind in set(kinds) - known:
            yield f"a resource of {program} is none that is known: {kind}"
    if any("*" in action for kinds in _permissions().values() for actions in kinds.values() for action in actions):
        yield "a policy allows actions by a star"


def a_queue_of_each_lane_may_be_used_alike():
    for name, resource in CORE["Resources"].items():
        text = json.dumps(resource)
        if resource["Type"] not in ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy"):
            continue
        counts = {lane: len(re.findall(f'"{lane}Queue"', text)) for lane in ("High", "Normal", "Low")}
        if len(set(counts.values())) > 1:
            yield f"{name} does not treat every lane alike: {counts}"
