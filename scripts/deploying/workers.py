"""What workers need beside their stack, which CloudFormation cannot say."""

import time

from botocore import exceptions as boto

from .account import Account, say
from .trouble import of

# IAM tells a new role to others within seconds.
SETTLING_SECONDS = 15


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
