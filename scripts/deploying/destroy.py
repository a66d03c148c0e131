"""scripts/destroy: the stacks of a deployment, and its data only when that is asked for and typed."""

import argparse
import os
import sys

from botocore import exceptions as boto

from . import code, options
from .account import Account, say
from .stack import Stack, of_prefix
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
    add("--dry-run", action="store_true", help="print what would be deleted")
    said = parser.parse_args(arguments)
    options.check_prefix(said.prefix)
    return said


class Destruction:
    """One run of scripts/destroy."""

    def __init__(self, said: argparse.Namespace):
        self.said = said
        self.account = Account(said.region, said.endpoint_url or None)
        say(f"Account {self.account.id}, region {self.account.region}, prefix {said.prefix}")

    def run(self) -> None:
        """Everything that was asked for."""
        stacks = self.ordered()
        tables, buckets = self.tables(), self.buckets()
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
        for name in stacks:
            say(f"Deleting the stack {name}")
            Stack(self.account, name).delete()
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

    def ordered(self) -> list[str]:
        """The stacks, those that use others first."""
        prefix = self.said.prefix
        order = (f"{prefix}-workers-", f"{prefix}-watch", f"{prefix}-pool-", f"{prefix}-core")
        rank = {name: next((n for n, start in enumerate(order) if name.startswith(start)), None) for name in of_prefix(self.account, prefix)}
        return [name for name, _ in sorted(((n, r) for n, r in rank.items() if r is not None), key=lambda pair: (pair[1], pair[0]))]

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
        """The buckets that a deployment of this prefix made: its core says so, or their tag does."""
        said, found = self.said, []
        core = Stack(self.account, f"{said.prefix}-core").get()
        made = core is not None and core.parameters.get("Artifacts") == "create"
        artifacts = core.outputs.get("ArtifactBucketName") if made else None
        artifacts = artifacts or f"{said.prefix}-artifacts-{self.account.id}-{self.account.region}"
        for name in (code.bucket_name(self.account, said.prefix), artifacts):
            tags = self.bucket_tags(name)
            if tags is not None and (self.is_ours(tags) or (made and name == artifacts)):
                found.append(name)
        return found

    def bucket_tags(self, name: str) -> list[dict] | None:
        """Its tags; None when there is no such bucket of this account."""
        s3 = self.account.client("s3")
        try:
            return s3.get_bucket_tagging(Bucket=name, ExpectedBucketOwner=self.account.id)["TagSet"]
        except boto.ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("NoSuchBucket", "404"):
                return None
            if code == "NoSuchTagSet":
                return []
            raise of(error, f"looking for the bucket {name}") from error

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
