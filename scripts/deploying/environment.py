"""scripts/deploy --env: the shell exports of the deployment that is there. Asks, and changes nothing."""

import json
import shlex
from argparse import Namespace

from . import options
from .account import Account, say
from .stack import USABLE, Stack
from .trouble import Trouble

# Variable -> output of the core.
VARIABLES = {
    "STAGELINE_TASKS_TABLE": "TasksTableName",
    "STAGELINE_ACCOUNT_INDEX": "AccountIndexName",
    "STAGELINE_STAGES_TABLE": "StagesTableName",
    "STAGELINE_CONTROL_TABLE": "ControlTableName",
    "STAGELINE_POOLS": "Pools",
    "STAGELINE_FOREIGN_DISPATCH_MODES": "ForeignDispatchModes",
    "STAGELINE_LEASE_SECONDS": "LeaseSeconds",
}
# The first is the CLI's, the second a worker's. A core without a bucket has no such output.
ARTIFACTS = dict.fromkeys(("STAGELINE_ARTIFACTS_URL", "STAGELINE_WORKER_ARTIFACTS_URL"), "ArtifactsUrl")


def show(said: Namespace) -> None:
    """Prints them; with --pool also the variable that makes a worker one of that pool."""
    account = Account(said.region, said.endpoint_url)
    account.introduce(said.prefix)
    found = exports(account, outputs_of_core(account, said))
    if said.pool:
        pools = [pool["name"] for pool in json.loads(found["STAGELINE_POOLS"])]
        if said.pool not in pools:
            raise Trouble(
                f"there is no pool {said.pool} in {said.prefix}; there is {', '.join(pools)}\n"
                f"  make it: {options.command(said)} --pool {said.pool} --targets PATTERNS"
            )
        found["STAGELINE_WORKER_POOL"] = said.pool
    for name, value in found.items():
        print(f"export {name}={shlex.quote(value)}")


def outputs_of_core(account: Account, said: Namespace) -> dict[str, str]:
    """What the core puts out: also while it is updated, and after an update that failed."""
    core = Stack(account, f"{said.prefix}-core")
    there = core.get()
    if there is None:
        raise Trouble(
            f"there is no deployment {said.prefix} in account {account.id}, region {account.region}\n"
            "  give the --prefix, --region or --endpoint-url of the one that is meant; "
            f"to make this one: {options.command(said)}"
        )
    if not there.stands or not there.outputs:
        raise Trouble(
            f"the stack {core.name} is in state {there.status} and has no variables\n"
            f"  finish it, or see what is in its way: {options.command(said)}"
        )
    if there.status not in USABLE:
        say(f"The stack {core.name} is in state {there.status}: these are its variables as they are now")
    return there.outputs


def exports(account: Account, outputs: dict[str, str]) -> dict[str, str]:
    """What a worker or the CLI needs in its environment."""
    missing = [output for output in VARIABLES.values() if output not in outputs]
    if missing:
        raise Trouble(
            f"the core has no output {', '.join(missing)}: another version deployed it\n"
            "  take the variables from that version's scripts/deploy, or update it with this one's"
        )
    found = {"AWS_REGION": account.region, "AWS_DEFAULT_REGION": account.region}
    if account.endpoint:
        found["AWS_ENDPOINT_URL"] = account.endpoint
    if account.default_credentials:
        found |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    named = {**VARIABLES, **ARTIFACTS}
    return found | {name: outputs[output] for name, output in named.items() if output in outputs}
