"""Workers of a pool on ECS that run: how they leave, before their stack does or for a new version."""

import time

from botocore import exceptions as boto

from .account import Account, say
from .trouble import Trouble, of

# A worker has two minutes from TERM to KILL (StopTimeout of workers-ecs.yaml), and ECS some time around them.
LEAVING_SECONDS = 300
PERIOD_SECONDS = 3
# What DescribeTasks takes at a time.
MOST_TASKS = 100


class Service:
    """The service of a stack of infra/workers-ecs.yaml, from its outputs."""

    def __init__(self, account: Account, outputs: dict[str, str]):
        self.ecs, self.scaling = account.client("ecs"), account.client("application-autoscaling")
        self.cluster, self.name = outputs["ClusterName"], outputs["ServiceArn"].rpartition("/")[2]

    def send_home(self, minimum: int, maximum: int) -> None:
        """Stops every worker, and waits until they have handed back what they ran. With their stack, the role goes by
        which they do that, and a service that is deleted does not wait for them. If that comes to nothing, there may be
        from `minimum` to `maximum` workers again, as before."""
        try:
            found = self.ecs.describe_services(cluster=self.cluster, services=[self.name])["services"]
            if not found or found[0]["status"] != "ACTIVE":
                # An earlier run came so far.
                return
            # Nothing brings new ones meanwhile.
            self._scale(0, 0)
            try:
                self.ecs.update_service(cluster=self.cluster, service=self.name, desiredCount=0)
                staying = self._tasks("RUNNING")
                self._stop(staying, "the deployment is destroyed")
                self._wait_for_all(len(staying))
            except BaseException:
                self._scale(minimum, maximum)
                raise
        except self.ecs.exceptions.ClusterNotFoundException:
            return
        except (boto.ClientError, boto.BotoCoreError) as error:
            raise of(error, f"stopping the workers of {self.name}") from error

    def _wait_for_all(self, staying: int) -> None:
        """Until none is left. ECS lists those that have stopped for an hour."""
        if staying:
            say(f"Waiting for {staying} workers of {self.name} to hand back what they run")
        waited = 0.0
        while any(task["lastStatus"] != "STOPPED" for task in self._described(self._tasks("RUNNING") + self._tasks("STOPPED"))):
            if waited > LEAVING_SECONDS:
                raise Trouble(f"workers of {self.name} are still there after {LEAVING_SECONDS} s\n  run this again: it stops them again")
            time.sleep(PERIOD_SECONDS)
            waited += PERIOD_SECONDS

    def _scale(self, minimum: int, maximum: int) -> None:
        """How many workers there may be."""
        self.scaling.register_scalable_target(
            ServiceNamespace="ecs",
            ResourceId=f"service/{self.cluster}/{self.name}",
            ScalableDimension="ecs:service:DesiredCount",
            MinCapacity=minimum,
            MaxCapacity=maximum,
        )

    def make_way(self) -> None:
        """Stops workers of another version than the one that is being deployed, once one of that runs; also on the way
        back. Otherwise they are waited for, since busy ones protect themselves."""
        try:
            found = self.ecs.describe_services(cluster=self.cluster, services=[self.name])["services"]
            deployments = found[0]["deployments"] if found else []
            wanted = next((one for one in deployments if one["status"] == "PRIMARY"), None)
            if wanted is None or len(deployments) < 2 or wanted["runningCount"] == 0:
                return
            tasks = self._described(self._tasks("RUNNING"))
            former = [task["taskArn"] for task in tasks if task["taskDefinitionArn"] != wanted["taskDefinition"]]
            if former:
                say(f"Stopping {len(former)} workers of the other version: new ones go on with what they hand back")
            self._stop(former, "another version is deployed")
        except (boto.ClientError, boto.BotoCoreError) as error:
            raise of(error, f"stopping the former workers of {self.name}") from error

    def _tasks(self, wanted: str) -> list[str]:
        """The tasks that are to run, or that are to have stopped."""
        pages = self.ecs.get_paginator("list_tasks")
        pages = pages.paginate(cluster=self.cluster, serviceName=self.name, desiredStatus=wanted)
        return [task for page in pages for task in page["taskArns"]]

    def _described(self, tasks: list[str]) -> list[dict]:
        """What is known of tasks."""
        found = []
        for start in range(0, len(tasks), MOST_TASKS):
            found += self.ecs.describe_tasks(cluster=self.cluster, tasks=tasks[start : start + MOST_TASKS])["tasks"]
        return found

    def _stop(self, tasks: list[str], why: str) -> None:
        """By hand, which no protection withstands: each worker gets its TERM, and drains."""
        for task in tasks:
            self.ecs.stop_task(cluster=self.cluster, task=task, reason=why)
