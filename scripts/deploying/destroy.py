"""scripts/destroy: the stacks of a deployment, and its data only when that is asked for and typed."""

import argparse
import os
import sys

from botocore import exceptions as boto

from . import code, ecs, left, options
from .account import Account, say
from .stack import Deployed, Stack, of_prefix
from .trouble import Trouble, of

TABLES = ("tasks", "stages", "control")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Reads and checks the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/destroy",
        description="Deletes a deployment's stacks: workers, pools, alarms, functions and queues. Tables and buckets "
        "stay, and scripts/deploy --import takes them over again.",
    )
    add = parser.add_argument
    add("--prefix", default="stageline", help="the deployment's prefix (default stageline)")
    add("--region", help="default AWS_REGION, AWS_DEFAULT_REGION, or the profile's")
    add("--endpoint-url", default=os.environ.get("AWS_ENDPOINT_URL"), help="an emulator (default AWS_ENDPOINT_URL)")
    add("--delete-data", action="store_true", help="delete tables and buckets too, for good; the prefix has to be typed")
    add("--pool", metavar="NAME", help="only this pool and its workers; scripts/deploy then tells the core")
    add("--dry-run", action="store_true", help="print what would be deleted")
    said = parser.parse_args(arguments)
    options.check_prefix(said.prefix)
    if said.pool and said.delete_data:
        parser.error("a pool has no data of its own; leave out --delete-data")
    return said


class Destruction:
    """One run of scripts/destroy."""

    def __init__(self, said: argparse.Namespace):
        self.said = said
        self.account = Account(said.region, said.endpoint_url or None)
        self.account.introduce(said.prefix)

    def run(self) -> None:
        """Everything that was asked for."""
        stacks = self.ordered()
        tables, buckets = ([], []) if self.said.pool else (self.tables(), self.buckets())
        delete_data = self.said.delete_data
        for name in stacks:
            print(f"delete  stack   {name}")
        for kind, names in (("table", tables), ("bucket", buckets)):
            for name in names:
                print(f"{'delete' if delete_data else 'keep':<7} {kind:<7} {name}")
        sys.stdout.flush()
        if self.said.dry_run:
            return
        if not stacks and not (delete_data and (tables or buckets)):
            say("There is nothing to delete")
            return
        if delete_data and (tables or buckets):
            self.confirm()
        for name, deployed in stacks.items():
            say(f"Deleting the stack {name}")
            if "ServiceArn" in deployed.outputs:
                given = deployed.parameters
                ecs.Service(self.account, deployed.outputs).send_home(int(given["MinWorkers"]), int(given["MaxWorkers"]))
            Stack(self.account, name).delete()
        if self.said.pool and self.said.pool != "default":
            say("Now run scripts/deploy, which tells the core that the pool has gone")
        if delete_data:
            for name in tables:
                self.delete_table(name)
            for name in buckets:
                self.delete_bucket(name)

    def confirm(self) -> None:
        """The prefix, typed."""
        print(f"This deletes every task and every file of {self.said.prefix} for good. Type the prefix: ", end="", flush=True)
        if sys.stdin.readline().strip() != self.said.prefix:
            raise Trouble("that is not the prefix; nothing was deleted")

    def ordered(self) -> dict[str, Deployed]:
        """The stacks, those that use others first."""
        prefix, pool = self.said.prefix, self.said.pool
        order = (f"{prefix}-workers-", f"{prefix}-watch", f"{prefix}-pool-", f"{prefix}-core")
        found = of_prefix(self.account, prefix)
        if pool:
            of_pool = (f"{prefix}-workers-{pool}-ecs", f"{prefix}-workers-{pool}-ec2", f"{prefix}-pool-{pool}")
            found = {name: deployed for name, deployed in found.items() if name in of_pool}
        rank = {name: next((n for n, start in enumerate(order) if name.startswith(start)), None) for name in found}
        ranked = sorted((r, name) for name, r in rank.items() if r is not None)
        return {name: found[name] for _, name in ranked}

    # ---- Data: only what carries the tag of this prefix is ours. --------------------------------------

    def tables(self) -> list[str]:
        """The tables that a deployment of this prefix made."""
        dynamodb, found = self.account.client("dynamodb"), []
        for table in TABLES:
            name = f"{self.said.prefix}-{table}"
            try:
                arn = dynamodb.describe_table(TableName=name)["Table"]["TableArn"]
                tags = dynamodb.list_tags_of_resource(ResourceArn=arn)["Tags"]
            except dynamodb.exceptions.ResourceNotFoundException:
                continue
            except (boto.ClientError, boto.BotoCoreError) as error:
                raise of(error, f"looking for the table {name}") from error
            if self.is_ours(tags):
                found.append(name)
            else:
                say(f"The table {name} does not carry the tag stageline={self.said.prefix}: it is left alone")
        return found

    def buckets(self) -> list[str]:
        """The buckets that a deployment of this prefix made: its core says so, or their tags do."""
        account, prefix, found = self.account, self.said.prefix, []
        usual = [code.bucket_name(account, prefix), left.default_bucket(account, prefix)]
        say(
            f"Looking for tables and buckets of {prefix}: {', '.join(f'{prefix}-{table}' for table in TABLES)}; "
            f"{', '.join(usual)}; buckets of any name whose tags say that {prefix}-core made them"
        )
        core = Stack(account, f"{prefix}-core").get()
        made = core.outputs.get("ArtifactBucketName") if core and core.parameters.get("Artifacts") == "create" else None
        adopters = left.adopters(account)
        for name in dict.fromkeys([*usual, *([made] if made else []), *left.buckets(account, prefix)]):
            tags = left.tags_of(account, name)
            # An emulator may tag nothing, but its core knows what it made.
            if tags is None or (tags.get("stageline") != prefix and name != made):
                continue
            if name in adopters:
                # Somebody counts on it, whoever made it. When that stack is gone, only the tags speak.
                say(
                    f"The bucket {name} has been adopted by the stack {adopters[name]}: it is left alone\n"
                    f"  it carries the tag stageline={prefix}: take that away if it is to stay when the stack has gone"
                )
                continue
            found.append(name)
        return found

    def is_ours(self, tags: list[dict]) -> bool:
        """Whether something carries the tag of this prefix."""
        return {"Key": "stageline", "Value": self.said.prefix} in tags

    def delete_table(self, name: str) -> None:
        """Takes its protection away, and it."""
        dynamodb = self.account.client("dynamodb")
        say(f"Deleting the table {name}")
        try:
            if dynamodb.describe_table(TableName=name)["Table"].get("DeletionProtectionEnabled"):
                dynamodb.update_table(TableName=name, DeletionProtectionEnabled=False)
                # A table that is being updated refuses to be deleted.
                dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 2, "MaxAttempts": 150})
            dynamodb.delete_table(TableName=name)
            dynamodb.get_waiter("table_not_exists").wait(TableName=name, WaiterConfig={"Delay": 2})
        except (boto.ClientError, boto.BotoCoreError) as error:
            raise of(error, f"deleting the table {name}") from error

    def delete_bucket(self, name: str) -> None:
        """Every version of every object, and it."""
        s3 = self.account.client("s3")
        say(f"Deleting the bucket {name}")
        try:
            while True:
                page = s3.list_object_versions(Bucket=name, MaxKeys=1000)
                found = page.get("Versions", []) + page.get("DeleteMarkers", [])
                if not found:
                    break
                gone = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in found]
                answer = s3.delete_objects(Bucket=name, Delete={"Objects": gone, "Quiet": True})
                if answer.get("Errors"):
                    first = answer["Errors"][0]
                    raise Trouble(f"s3://{name}/{first['Key']} cannot be deleted: {first['Code']} {first.get('Message', '')}")
            s3.delete_bucket(Bucket=name)
        except (boto.ClientError, boto.BotoCoreError) as error:
            raise of(error, f"deleting the bucket {name}") from error


def main() -> int:
    """The program."""
    try:
        Destruction(parse(sys.argv[1:])).run()
        return 0
    except Trouble as trouble:
        say(f"error: {trouble}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; run this again to finish")
        return 130


if __name__ == "__main__":
    sys.exit(main())
