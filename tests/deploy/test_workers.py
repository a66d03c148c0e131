"""How workers on ECS leave before their stack does. The emulator has no Application Auto Scaling, so the answers are
AWS's as its documentation has them, in the order in which they are asked for."""

from types import SimpleNamespace

import boto3
from botocore.stub import Stubber
from deploying import ecs
from deploying.trouble import Trouble

CLUSTER, NAME = "sl-default", "sl-default-worker"
TASKS = [f"arn:aws:ecs:us-east-1:1:task/sl-default/{number}" for number in range(2)]
NAMED = {"cluster": CLUSTER, "serviceName": NAME}
OLD, NEW = (f"arn:aws:ecs:us-east-1:1:task-definition/sl-default-worker:{revision}" for revision in (1, 2))


class Fleet:
    """ECS and its scaling, stubbed."""

    def __init__(self, bench):
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        names = ("ecs", "application-autoscaling")
        self.clients = {name: boto3.client(name, region_name="us-east-1", **keys) for name in names}
        self.stubs = {name: Stubber(client) for name, client in self.clients.items()}
        for stub in self.stubs.values():
            stub.activate()
        outputs = {"ClusterName": CLUSTER, "ServiceArn": f"arn:aws:ecs:us-east-1:1:service/{CLUSTER}/{NAME}"}
        self.service = ecs.Service(SimpleNamespace(client=self.clients.__getitem__), outputs)

    def is_in_state(self, status: str):
        self.ecs("describe_services", {"services": [{"status": status}]}, {"cluster": CLUSTER, "services": [NAME]})

    def scaled(self, minimum: int, maximum: int):
        wanted = {
            "ServiceNamespace": "ecs",
            "ResourceId": "service/sl-default/sl-default-worker",
            "ScalableDimension": "ecs:service:DesiredCount",
            "MinCapacity": minimum,
            "MaxCapacity": maximum,
        }
        self.stubs["application-autoscaling"].add_response("register_scalable_target", {}, wanted)

    def scaled_to_nothing(self):
        self.is_in_state("ACTIVE")
        self.scaled(0, 0)
        self.ecs("update_service", {}, {"cluster": CLUSTER, "service": "sl-default-worker", "desiredCount": 0})

    def ecs(self, call: str, answer: dict, wanted: dict):
        self.stubs["ecs"].add_response(call, answer, wanted)

    def listed(self, wanted: str, tasks: list):
        self.ecs("list_tasks", {"taskArns": tasks}, {**NAMED, "desiredStatus": wanted})

    def described(self, tasks: list, *states: str):
        found = [{"taskArn": task, "lastStatus": state, "taskDefinitionArn": OLD} for task, state in zip(tasks, states)]
        self.ecs("describe_tasks", {"tasks": found}, {"cluster": CLUSTER, "tasks": tasks})

    def is_done(self):
        for stub in self.stubs.values():
            stub.assert_no_pending_responses()


def test_workers_of_a_service_are_stopped_and_waited_for(bench):
    fleet = Fleet(bench)
    fleet.scaled_to_nothing()
    fleet.listed("RUNNING", TASKS)
    for task in TASKS:
        fleet.ecs("stop_task", {}, {"cluster": CLUSTER, "task": task, "reason": "the deployment is destroyed"})
    # One has ended, one hands back what it runs; then both have.
    fleet.listed("RUNNING", [])
    fleet.listed("STOPPED", TASKS)
    fleet.described(TASKS, "STOPPED", "DEACTIVATING")
    fleet.listed("RUNNING", [])
    fleet.listed("STOPPED", TASKS)
    fleet.described(TASKS, "STOPPED", "STOPPED")
    fleet.service.send_home(0, 10)
    fleet.is_done()


def test_a_service_that_has_gone_already_is_no_failure(bench):
    fleet = Fleet(bench)
    fleet.is_in_state("INACTIVE")
    fleet.service.send_home(0, 10)
    fleet.is_done()


def test_workers_that_cannot_be_stopped_may_be_as_many_as_before(bench):
    fleet = Fleet(bench)
    fleet.is_in_state("ACTIVE")
    fleet.scaled(0, 0)
    fleet.stubs["ecs"].add_client_error("update_service", "AccessDeniedException")
    fleet.scaled(2, 10)
    try:
        fleet.service.send_home(2, 10)
    except Trouble as trouble:
        assert "stopping the workers of sl-default-worker" in str(trouble), trouble
    else:
        raise AssertionError("a refusal was passed over")
    fleet.is_done()


def deployments(fleet, **running):
    """What the service says of its versions, the one that is wanted first."""
    found = [
        {"status": status, "taskDefinition": definition, "runningCount": running[name]}
        for status, definition, name in (("PRIMARY", NEW, "new"), ("ACTIVE", OLD, "old"))
        if name in running
    ]
    wanted = {"cluster": CLUSTER, "services": [NAME]}
    fleet.ecs("describe_services", {"services": [{"deployments": found}]}, wanted)


def test_workers_of_the_version_before_make_way_once_a_new_one_runs(bench):
    fleet = Fleet(bench)
    deployments(fleet, new=1, old=2)
    fleet.listed("RUNNING", TASKS)
    found = [{"taskArn": TASKS[0], "taskDefinitionArn": OLD}, {"taskArn": TASKS[1], "taskDefinitionArn": NEW}]
    fleet.ecs("describe_tasks", {"tasks": found}, {"cluster": CLUSTER, "tasks": TASKS})
    fleet.ecs("stop_task", {}, {"cluster": CLUSTER, "task": TASKS[0], "reason": "another version is deployed"})
    fleet.service.make_way()
    fleet.is_done()


def test_no_worker_makes_way_for_a_version_that_does_not_run(bench):
    for running in ({"new": 0, "old": 2}, {"new": 2}, {}):
        fleet = Fleet(bench)
        deployments(fleet, **running)
        fleet.service.make_way()
        fleet.is_done()
