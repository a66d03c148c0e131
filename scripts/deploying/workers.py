"""What workers need beside their stack, which CloudFormation cannot say."""

import time

from botocore import exceptions as boto

from .account import Account, say
from .trouble import Trouble, of

# IAM tells a new role to others within seconds.
SETTLING_SECONDS = 15
# A worker has two minutes from TERM to KILL (StopTimeout of workers-ecs.yaml), and ECS some time around them.
LEAVING_SECONDS = 300
PERIOD_SECONDS = 3
# What DescribeTasks takes at a time.
MOST_TASKS = 100


def make_role_of_ecs(account: Account) -> None:
    """The role by which ECS starts tasks. An account that has never used ECS has none, and no cluster without it."""
    try:
        account.client("iam").create_service_linked_role(AWSServiceName="ecs.amazonaws.com")
    except boto.ClientError as error:
        # It is nearly always there already. Whoever may not make it needs that only where it is not, and the stack's
        # failure says so; an emulator does without.
        if error.response["Error"]["Code"] not in ("InvalidInput", "EntityAlreadyExists", "EntityAlreadyExistsException"):
            say(f"Not made, and needed only if it is not there: the service-linked role of ECS ({error})")
        return
    except boto.BotoCoreError as error:
        raise of(error, "making the service-linked role of ECS") from error
    if not account.endpoint:
        say("Made the service-linked role of ECS, which this account did not have")
        time.sleep(SETTLING_SECONDS)


def keep_busy_instances(account: Account, group: str) -> None:
    """No group ends instances, which may be busy, only to even out its zones."""
    try:
        account.client("autoscaling").suspend_processes(AutoScalingGroupName=group, ScalingProcesses=["AZRebalance"])
    except (boto.ClientError, boto.BotoCoreError) as error:
        if not account.endpoint:
            raise of(error, f"suspending AZRebalance of the group {group}") from error
        say(f"This emulator suspends no AZRebalance: {error}")


def send_home(account: Account, cluster: str, service: str) -> None:
    """Stops the workers of a service on ECS, and waits until they have handed back what they ran. With their stack, the
    role goes by which they do that, and a service that is deleted does not wait for them."""
    name = service.rpartition("/")[2]
    ecs, scaling = account.client("ecs"), account.client("application-autoscaling")
    try:
        # Nothing brings new ones meanwhile.
        scaling.register_scalable_target(
            ServiceNamespace="ecs",
            ResourceId=f"service/{cluster}/{name}",
            ScalableDimension="ecs:service:DesiredCount",
            MinCapacity=0,
            MaxCapacity=0,
        )
        ecs.update_service(cluster=cluster, service=name, desiredCount=0)
        # Those that protect themselves heed nothing but this.
        staying = _tasks(ecs, cluster, name, "RUNNING")
        for task in staying:
            ecs.stop_task(cluster=cluster, task=task, reason="the deployment is destroyed")
        if staying:
            say(f"Waiting for {len(staying)} workers of {name} to hand back what they run")
        waited = 0.0
        while _still_there(ecs, cluster, _tasks(ecs, cluster, name, "RUNNING") + _tasks(ecs, cluster, name, "STOPPED")):
            if waited > LEAVING_SECONDS:
                raise Trouble(f"workers of {name} are still there after {LEAVING_SECONDS} s\n  run this again: it waits for them")
            time.sleep(PERIOD_SECONDS)
            waited += PERIOD_SECONDS
    except (ecs.exceptions.ServiceNotFoundException, ecs.exceptions.ServiceNotActiveException, ecs.exceptions.ClusterNotFoundException):
        # An earlier run came so far.
        return
    except (boto.ClientError, boto.BotoCoreError) as error:
        raise of(error, f"stopping the workers of {name}") from error


def _tasks(ecs, cluster: str, service: str, wanted: str) -> list[str]:
    """The tasks that are to run, or that are to have stopped: ECS lists the latter for an hour."""
    pages = ecs.get_paginator("list_tasks").paginate(cluster=cluster, serviceName=service, desiredStatus=wanted)
    return [task for page in pages for task in page["taskArns"]]


def _still_there(ecs, cluster: str, tasks: list[str]) -> bool:
    """Whether one of them has not ended."""
    for start in range(0, len(tasks), MOST_TASKS):
        found = ecs.describe_tasks(cluster=cluster, tasks=tasks[start : start + MOST_TASKS])["tasks"]
        if any(task["lastStatus"] != "STOPPED" for task in found):
            return True
    return False
