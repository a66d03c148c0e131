"""A stack of CloudFormation: in which state it is, what would change, and changing it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from botocore import exceptions as boto

from . import changes
from .account import Account, say
from .template import Template
from .trouble import Trouble, advice, of

# Longer than our stacks take; a stack that is busy for longer is stuck.
PATIENCE_SECONDS = 1_800
# A service on ECS waits for workers that protect themselves. CloudFormation goes back after three hours, which may take
# as long again.
ECS_PATIENCE_SECONDS = 7 * 3_600
USABLE = {
    "CREATE_COMPLETE",
    "UPDATE_COMPLETE",
    "UPDATE_ROLLBACK_COMPLETE",
    "IMPORT_COMPLETE",
    "IMPORT_ROLLBACK_COMPLETE",
}
STUCK = {
    "UPDATE_ROLLBACK_FAILED": "an update failed, and so did going back. Correct the cause below, then:\n"
    "  aws cloudformation continue-update-rollback --stack-name {name}\n"
    "  (with --resources-to-skip for what is gone for good), and run this again",
    "ROLLBACK_FAILED": "the first deployment failed, and so did taking it back. Remove what is left, then run this again:\n"
    "  aws cloudformation delete-stack --stack-name {name}",
    "CREATE_FAILED": "the first deployment failed and was left as it is. Remove it, then run this again:\n"
    "  aws cloudformation delete-stack --stack-name {name}",
    "DELETE_FAILED": "it could not be deleted. Correct the cause below, then run scripts/destroy again, or:\n"
    "  aws cloudformation delete-stack --stack-name {name} --retain-resources LOGICAL_ID",
    "IMPORT_ROLLBACK_FAILED": "taking over existing resources failed, and so did going back:\n"
    "  aws cloudformation continue-update-rollback --stack-name {name}",
}


@dataclass
class Deployed:
    """A stack as it is."""

    status: str
    parameters: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def stands(self) -> bool:
        """Whether what it made is there: also while it is updated, and after an update that failed."""
        return self.status in USABLE or self.status.startswith(("UPDATE_", "IMPORT_"))


class Stack:
    """One stack, by name."""

    def __init__(
        self, account: Account, name: str, tags: dict[str, str] | None = None, tags_of_others: dict[str, str] | None = None
    ):
        self.account, self.name = account, name
        self.tags, self.tags_of_others = tags or {}, tags_of_others or {}
        self.cloudformation = account.client("cloudformation")
        # An emulator is done at once.
        self.period = 0.2 if account.endpoint else 3.0
        self.patience = PATIENCE_SECONDS
        # What is done again and again while it is waited for.
        self.meanwhile: Callable[[], None] = lambda: None

    # ---- What there is ------------------------------------------------------------------------------

    def get(self) -> Deployed | None:
        """The stack as it is; None when there is none."""
        try:
            found = self.cloudformation.describe_stacks(StackName=self.name)["Stacks"][0]
        except boto.ClientError as error:
            if "does not exist" in str(error):
                return None
            raise of(error, f"looking for the stack {self.name}") from error
        except boto.BotoCoreError as error:
            raise of(error, f"looking for the stack {self.name}") from error
        if found["StackStatus"] == "DELETE_COMPLETE":
            return None
        return Deployed(
            found["StackStatus"],
            {p["ParameterKey"]: p.get("ParameterValue", "") for p in found.get("Parameters", [])},
            {o["OutputKey"]: o["OutputValue"] for o in found.get("Outputs", [])},
            {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])},
        )

    def outputs(self) -> dict[str, str]:
        """Its outputs."""
        found = self.get()
        if found is None or found.status not in USABLE:
            raise Trouble(f"there is no stack {self.name} to use\n  deploy it first: scripts/deploy")
        return found.outputs

    def ready(self, dry_run: bool = False) -> Deployed | None:
        """Waits until the stack can be changed, and removes what a failed first deployment left."""
        waited = 0.0
        while True:
            found = self.get()
            if found is None or found.status == "REVIEW_IN_PROGRESS":
                return None
            if found.status in USABLE:
                return found
            if found.status in STUCK:
                what = STUCK[found.status].format(name=self.name)
                raise Trouble(f"the stack {self.name} is in state {found.status}: {what}{self.reasons()}")
            if found.status == "ROLLBACK_COMPLETE":
                if dry_run:
                    say(f"The stack {self.name} is what is left of a failed first deployment; it would be removed first")
                    raise Trouble("nothing can be shown before that: run this again without --dry-run")
                say(f"Removing the stack {self.name}: its first deployment failed and left nothing in it")
                self.delete()
                continue
            if waited == 0.0:
                say(f"Waiting: the stack {self.name} is in state {found.status}")
            if waited > self.patience:
                raise Trouble(
                    f"the stack {self.name} is still in state {found.status}\n"
                    f"  look at its events in the console; aws cloudformation cancel-update-stack ends an update"
                )
            self.meanwhile()
            time.sleep(self.period)
            waited += self.period

    def reasons(self, since: object = None) -> str:
        """What failed, and what to do about it; empty when nothing did."""
        found = []
        try:
            events = self.cloudformation.describe_stack_events(StackName=self.name)["StackEvents"]
            for event in reversed(events):
                reason = event.get("ResourceStatusReason", "")
                # Others were only stopped by the first that failed.
                if "FAILED" in event["ResourceStatus"] and "cancelled" not in reason:
                    found.append((event["Timestamp"], event["LogicalResourceId"], reason))
            # What CloudFormation finds before it begins is told elsewhere.
            if any("DescribeEvents" in reason for _, _, reason in found):
                events = self.cloudformation.describe_events(StackName=self.name)["OperationEvents"]
                for event in events:
                    if event.get("ValidationStatus") == "FAILED":
                        reason = event.get("ValidationStatusReason", "")
                        found.append((event["Timestamp"], event.get("LogicalResourceId", ""), reason))
        except (boto.ClientError, boto.BotoCoreError):
            say("Why it failed cannot be read (cloudformation:DescribeStackEvents, cloudformation:DescribeEvents)")
        lines, known = [], []
        for at, resource, reason in found:
            if since is not None and at < since:
                continue
            lines.append(f"\n  {resource}: {reason}")
            what = advice(reason)
            if what and what not in known:
                known.append(what)
        return "".join(lines[-10:]) + "".join(f"\n  {what}" for what in known)

    # ---- Changing it --------------------------------------------------------------------------------

    def deploy(
        self,
        template: Template,
        given: dict[str, str],
        *,
        dry_run: bool = False,
        body: str | None = None,
        imports: bool = False,
    ) -> bool:
        """Makes the stack what the template says; whether anything changed. What is not given stays as it is."""
        there = self.ready(dry_run)
        name = f"deploy-{time.time_ns()}"
        parameters = [{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()]
        if there:
            kept = [key for key in template.parameters if key in there.parameters and key not in given]
            parameters += [{"ParameterKey": key, "UsePreviousValue": True} for key in kept]
        request = {
            "StackName": self.name,
            "ChangeSetName": name,
            "ChangeSetType": "UPDATE" if there else "CREATE",
            "TemplateBody": body or template.body,
            "Parameters": parameters,
            "Capabilities": ["CAPABILITY_NAMED_IAM"],
            # A change set takes away what it does not name. A new stack begins with those of the others.
            "Tags": [
                {"Key": key, "Value": value}
                for key, value in merged(there.tags if there else self.tags_of_others, self.tags).items()
            ],
            **({"ImportExistingResources": True} if imports else {}),
        }
        try:
            self.cloudformation.create_change_set(**request)
            found = self._created(name)
            if found is None:
                return False
            if dry_run:
                self._show(found, bool(there))
                return True
            say(f"{'Updating' if there else 'Creating'} the stack {self.name}")
            begun = self._begun()
            self.cloudformation.execute_change_set(StackName=self.name, ChangeSetName=name)
        except (boto.ClientError, boto.BotoCoreError) as error:
            raise of(error, f"the stack {self.name}") from error
        finally:
            if dry_run:
                self._forget(name, bool(there))
        status = self._settled()
        if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"):
            return True
        raise Trouble(f"the stack {self.name} did not deploy and is in state {status}:{self.reasons(begun)}")

    def _created(self, name: str) -> list | None:
        """The change set's changes once it is there; None when there are none."""
        while True:
            answer = self.cloudformation.describe_change_set(StackName=self.name, ChangeSetName=name)
            if answer["Status"] == "CREATE_COMPLETE":
                found = answer["Changes"]
                while token := answer.get("NextToken"):
                    answer = self.cloudformation.describe_change_set(
                        StackName=self.name, ChangeSetName=name, NextToken=token
                    )
                    found += answer["Changes"]
                return found
            if answer["Status"] == "FAILED":
                reason = answer.get("StatusReason", "")
                self.cloudformation.delete_change_set(StackName=self.name, ChangeSetName=name)
                if "didn't contain changes" in reason or "No updates are to be performed" in reason:
                    say(f"The stack {self.name} is as it should be")
                    return None
                do = advice(reason)
                raise Trouble(f"the stack {self.name} cannot be changed so: {reason}" + (f"\n  {do}" if do else ""))
            time.sleep(self.period)

    def _show(self, found: list, exists: bool) -> None:
        print(f"{'Changes of' if exists else 'New:'} the stack {self.name}")
        for change in found:
            print(changes.line(change["ResourceChange"]))

    def _forget(self, name: str, exists: bool) -> None:
        """A change set of a new stack leaves an empty stack behind."""
        try:
            self.cloudformation.delete_change_set(StackName=self.name, ChangeSetName=name)
            if not exists:
                self.cloudformation.delete_stack(StackName=self.name)
        except (boto.ClientError, boto.BotoCoreError):
            pass

    def _begun(self):
        """When the operation that is now executed began, by AWS's own clock: after the latest event."""
        events = self.cloudformation.describe_stack_events(StackName=self.name)["StackEvents"]
        return events[0]["Timestamp"] if events else None

    def _settled(self) -> str:
        waited = 0.0
        while True:
            found = self.get()
            status = found.status if found else "DELETE_COMPLETE"
            if not status.endswith("IN_PROGRESS"):
                return status
            if waited > self.patience:
                raise Trouble(f"the stack {self.name} is still in state {status}\n  run this again: it waits for it")
            self.meanwhile()
            time.sleep(self.period)
            waited += self.period

    def delete(self) -> None:
        """Deletes it, without what its template keeps."""
        try:
            self.cloudformation.delete_stack(StackName=self.name)
            while (found := self.get()) is not None:
                if found.status == "DELETE_FAILED":
                    what = STUCK["DELETE_FAILED"].format(name=self.name)
                    raise Trouble(f"the stack {self.name} is in state DELETE_FAILED: {what}{self.reasons()}")
                time.sleep(self.period)
        except (boto.ClientError, boto.BotoCoreError) as error:
            raise of(error, f"deleting the stack {self.name}") from error


def merged(there: dict[str, str], said: dict[str, str]) -> dict[str, str]:
    """The tags of a stack that has these, when those are said: one that is said to be empty goes."""
    ours = {key: value for key, value in there.items() if not key.startswith("aws:")}
    return {key: value for key, value in {**ours, **said}.items() if value or key not in said}


def of_prefix(account: Account, prefix: str) -> dict[str, Deployed]:
    """Every stack of the deployment, by name. A stack says itself which prefix it belongs to."""
    try:
        pages = account.client("cloudformation").get_paginator("describe_stacks").paginate()
        names = [stack["StackName"] for page in pages for stack in page["Stacks"]]
    except (boto.ClientError, boto.BotoCoreError) as error:
        raise of(error, "listing the stacks") from error
    found = {}
    for name in names:
        if name.startswith(f"{prefix}-") and (deployed := Stack(account, name).get()):
            if deployed.parameters.get("Prefix") == prefix:
                found[name] = deployed
    return found
