"""What each program may do."""

import json
import re
import sys

from checking.templates import CORE, POOL, ROOT, TEMPLATES, of_type

# What a policy's resource is, by what its expression holds; the first that fits. tests/tests/permissions.rs records
# the calls of each program by the same names.
RESOURCES = (
    ("log", r":log-group:"),
    ("stream", r"TasksStreamArn|/stream/|TasksTable\", \"StreamArn"),
    ("tasks/byDue", r"/index/byDue"),
    ("tasks", r":table/\$\{(Tasks|)(Table|)Name\}\""),
    ("stages", r'"StagesTable"|table/\$\{StagesTableName\}'),
    ("control", r'"ControlTable"|table/\$\{ControlTableName\}'),
    ("stream failures", r'"StreamFailuresQueue"'),
    ("dead", r'"DeadQueue"|-dead"'),
    ("lanes", r'"(High|Normal|Low)Queue"|-(high|normal|low)"'),
    ("artifacts", r"/artifacts/\*"),
    ("inputs", r"/inputs/\*"),
    ("bucket", r":s3:::\$\{(ArtifactBucket|)Name\}\""),
    ("log", r'"LogGroup", "Arn"'),
    ("images", r":repository/\*"),
    ("own task", r":task/\$\{Name\}/\*"),
    ("package", r"\$\{WorkerPackageBucket\}/\$\{WorkerPackageKey\}"),
    ("own group", r":autoScalingGroupName/\$\{Prefix\}-\$\{PoolName\}-workers"),
)
# This action has no resource.
ANYWHERE = ('"*"', ["ecr:GetAuthorizationToken"])
# The policies of AWS's own that a role has, and whose they are.
MANAGED = {
    ("workers-ecs", "TaskRole"): [{"Ref": "WorkerPolicyArn"}],
    # Sessions of Systems Manager, in place of ssh.
    ("workers-ec2", "Role"): [
        {"Ref": "WorkerPolicyArn"},
        {"Fn::Sub": "arn:${AWS::Partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"},
    ],
}
# Who may do what: each role and each policy of the templates, by the name that it has in infra/permissions.json.
PROGRAMS = {
    ("core", "DispatcherRole"): "dispatcher",
    ("core", "SweeperRole"): "sweeper",
    ("core", "WorkerPolicy"): "worker",
    ("pool", "WorkerPolicy"): "worker",
    ("workers-ecs", "ExecutionRole"): "start of a container",
    ("workers-ecs", "TaskRole"): "worker in a container, besides",
    ("workers-ec2", "Role"): "worker on an instance, besides",
}


def _chosen(node):
    """What a condition chooses where it holds."""
    return node["Fn::If"][1] if isinstance(node, dict) and "Fn::If" in node else node


def _holders():
    """Everything that rights are given to: template, name, properties."""
    for kind in ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy", "AWS::IAM::Policy", "AWS::IAM::UserPolicy", "AWS::IAM::RolePolicy"):
        for template, content in TEMPLATES.items():
            for name, properties in of_type(content.content, kind).items():
                yield template, name, properties


def _rights(properties):
    """The rights of a role or a policy: resource -> actions."""
    documents = [policy["PolicyDocument"] for policy in _chosen(properties.get("Policies", []))]
    documents += [properties["PolicyDocument"]] if "PolicyDocument" in properties else []
    found = {}
    for statement in (_chosen(statement) for document in documents for statement in document["Statement"]):
        actions, resources = (v if isinstance(v, list) else [v] for v in (statement["Action"], statement["Resource"]))
        for text in map(json.dumps, resources):
            kind = next((name for name, pattern in RESOURCES if re.search(pattern, text)), text)
            found.setdefault(kind, set()).update(actions)
    return {kind: sorted(actions) for kind, actions in sorted(found.items())}


def _permissions():
    """What each program may do: program -> resource -> actions."""
    return {PROGRAMS[t, name]: _rights(p) for t, name, p in _holders() if (t, name) in PROGRAMS}


def workers_of_each_pool_may_do_the_same():
    core, pool = (_rights(of_type(t, "AWS::IAM::ManagedPolicy")["WorkerPolicy"]) for t in (CORE, POOL))
    if core != pool:
        yield f"WorkerPolicy of core.yaml and of pool.yaml differ:\n  {core}\n  {pool}"


def rights_are_only_those_that_are_listed():
    for template, name, properties in _holders():
        where = f"{template}.yaml {name}"
        if (template, name) not in PROGRAMS:
            yield f"{where}: scripts/checking/rights.py does not know whose rights these are"
        if properties.get("ManagedPolicyArns", []) != MANAGED.get((template, name), []):
            yield f"{where} has policies of others that scripts/checking/rights.py does not list"
        known = {kind for kind, _ in RESOURCES}
        for kind, actions in _rights(properties).items():
            if kind not in known and (kind, actions) != ANYWHERE:
                yield f"{where}: a resource is none that is known: {kind}"
            if any("*" in action for action in actions):
                yield f"{where} allows actions by a star: {actions}"


def permissions_are_those_that_the_tests_compare():
    file = ROOT / "infra" / "permissions.json"
    if "--write" in sys.argv:
        file.write_text(json.dumps(_permissions(), indent=2, sort_keys=True) + "\n")
    if not file.is_file() or json.loads(file.read_text()) != _permissions():
        yield "infra/permissions.json is not what the templates say; write it anew with scripts/check-infra --write"


def names_that_stay_keep_what_cannot_be_changed():
    # IAM changes no description of a policy, and CloudFormation replaces no policy that has a name: with other words no
    # deployment that is there could be brought up to date.
    words = {
        "core": "What a worker of ${Prefix} in ${AWS::Region} may do",
        "pool": "What a worker of pool ${PoolName} of ${Prefix} in ${AWS::Region} may do",
    }
    for name, expected in words.items():
        policy = of_type(TEMPLATES[name].content, "AWS::IAM::ManagedPolicy")["WorkerPolicy"]
        if policy["Description"] != {"Fn::Sub": expected}:
            yield f"{name}.yaml: the description of WorkerPolicy cannot be changed; leave it as it was: {expected}"


def a_queue_of_each_lane_may_be_used_alike():
    for name, resource in CORE["Resources"].items():
        text = json.dumps(resource)
        if resource["Type"] not in ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy"):
            continue
        counts = {lane: len(re.findall(f'"{lane}Queue"', text)) for lane in ("High", "Normal", "Low")}
        if len(set(counts.values())) > 1:
            yield f"{name} does not treat every lane alike: {counts}"
