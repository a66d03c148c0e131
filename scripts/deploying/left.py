"""Which bucket of tasks' files a deployment of a prefix has made: also when its core is gone, and whatever its name."""

from botocore import exceptions as boto

from .account import Account, say
from .trouble import Trouble, of

# Tags of CloudFormation itself, which nobody else can put on: they tell a bucket that a stack has made from one that
# somebody brought along and tagged.
STACK_TAG, RESOURCE_TAG = "aws:cloudformation:stack-name", "aws:cloudformation:logical-id"


def default_bucket(account: Account, prefix: str) -> str:
    """The bucket's name where nobody has chosen another."""
    return f"{prefix}-artifacts-{account.id}-{account.region}"


def tags_of(account: Account, bucket: str) -> dict[str, str] | None:
    """The bucket's tags; None when there is no such bucket of this account."""
    try:
        answer = account.client("s3").get_bucket_tagging(Bucket=bucket, ExpectedBucketOwner=account.id)
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}
    except boto.ClientError as error:
        code = error.response["Error"]["Code"]
        # A long prefix makes a default name that no bucket can have.
        if code in ("NoSuchBucket", "404", "InvalidBucketName"):
            return None
        if code == "NoSuchTagSet":
            return {}
        raise of(error, f"reading the tags of the bucket {bucket}") from error
    except boto.BotoCoreError as error:
        raise of(error, f"reading the tags of the bucket {bucket}") from error


def buckets(account: Account, prefix: str) -> list[str]:
    """The artifact buckets of this region that a core of the prefix has made, by their tags."""
    s3, found, silent = account.client("s3"), [], 0
    try:
        # Only pages say in which region a bucket is.
        pages = s3.get_paginator("list_buckets").paginate(PaginationConfig={"PageSize": 1000})
        there = [bucket for page in pages for bucket in page.get("Buckets", [])]
    except (boto.ClientError, boto.BotoCoreError) as error:
        say(f"The account's buckets cannot be listed (s3:ListAllMyBuckets): one with a name of its own is not found ({error})")
        return []
    for bucket in there:
        if bucket.get("BucketRegion", account.region) != account.region:
            continue
        try:
            tags = tags_of(account, bucket["Name"])
        except Trouble:
            # Others' buckets may refuse to tell theirs.
            silent += 1
            continue
        if tags and is_made_by(tags, prefix, bucket["Name"] == default_bucket(account, prefix)):
            found.append(bucket["Name"])
    if silent:
        say(f"{silent} buckets do not tell their tags (s3:GetBucketTagging) and are passed over")
    return found


def is_made_by(tags: dict[str, str], prefix: str, has_default_name: bool) -> bool:
    """Whether a core of the prefix has made the bucket of these tags."""
    if tags.get("stageline") != prefix:
        return False
    by_core = tags.get(STACK_TAG) == f"{prefix}-core" and tags.get(RESOURCE_TAG) == "ArtifactBucket"
    return has_default_name or by_core


def adopters(account: Account) -> dict[str, str]:
    """Buckets that a stack of any prefix has adopted, and that stack."""
    found = {}
    try:
        for page in account.client("cloudformation").get_paginator("describe_stacks").paginate():
            for stack in page["Stacks"]:
                given = {p["ParameterKey"]: p.get("ParameterValue", "") for p in stack.get("Parameters", [])}
                if given.get("Artifacts") == "adopt":
                    found[given.get("ArtifactBucketName", "")] = stack["StackName"]
    except (boto.ClientError, boto.BotoCoreError) as error:
        raise of(error, "listing the stacks") from error
    return found
