"""What can go wrong with AWS, and what to do about it: every failure is named before the program ends."""

import re

from botocore import exceptions as boto


class Trouble(Exception):
    """A failure with words for a person: what, and what to do next."""


# Text of AWS -> what to do. The first that matches; {0} and {1} are its groups.
ADVICE = [
    (
        r"not authorized to perform:? ([\w-]+:\w+)(?: on resource:? (\S+))?",
        "missing permission {0}{on}: have it added to your user or role; docs/deploy.md lists what deploying needs",
    ),
    (r"API: ([\w-]+:\w+) Access Denied", "missing permission {0}: have it added to your user or role; docs/deploy.md lists what deploying needs"),
    (
        r"(?i)ECS service linked role",
        "the account has never used ECS, whose role is missing: aws iam create-service-linked-role --aws-service-name "
        "ecs.amazonaws.com (permission iam:CreateServiceLinkedRole), wait a minute, and run this again",
    ),
    (
        r"Requires capabilities",
        "the stack makes IAM roles: deploy with scripts/deploy, which says that this is wanted",
    ),
    (
        r"already exists",
        "the name is already taken: choose another --prefix. If it is what an earlier deployment of this prefix left "
        "(tables, bucket), take it over with --import; if it is a role's or a queue's, remove it or its stack",
    ),
    (
        r"deleted recently|must wait 60 seconds",
        "SQS gives a queue's name free a minute after its end: wait a minute and run this again",
    ),
    (
        r"(?i)conflicting conditional operation|OperationAborted",
        "S3 is still removing a bucket of that name, which can take an hour: run this again later",
    ),
    (
        r"(?i)limit ?exceeded|quota|TooMany",
        "a quota of the account is used up: ask for more in Service Quotas, or remove what is not needed, and run this again",
    ),
    (r"(?i)rule (\w+) failed", "the parameters do not fit together: correct them and run this again"),
    (
        r"NoSuchKey|NoSuchBucket|S3 Error",
        "the function's code is not where the template says: run this again, which uploads it",
    ),
    (
        r"InvalidClientTokenId|UnrecognizedClientException|security token included in the request is invalid",
        "the keys are not valid for this region: they are wrong or revoked, or the region is not enabled for the account "
        "(Account settings, AWS Regions)",
    ),
    (r"ExpiredToken|token .*expired|session .*expired", "the credentials have expired: log in again (aws sso login, or new keys)"),
    (r"SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID, or this machine's clock is wrong"),
    (r"Throttling|Rate exceeded", "AWS asks for patience: run this again in a minute"),
]


# Operation of S3 -> the permission that it needs, where that has another name.
S3_ACTIONS = {
    "HeadBucket": "s3:ListBucket",
    "HeadObject": "s3:GetObject",
    "GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "GetBucketTagging": "s3:GetBucketTagging",
    "PutBucketTagging": "s3:PutBucketTagging",
}


def advice(text: str) -> str | None:
    """What to do about words of AWS; None when they are not known."""
    for pattern, what in ADVICE:
        found = re.search(pattern, text)
        if found:
            groups = [group or "" for group in found.groups()] + ["", ""]
            resource = groups[1].rstrip(".,)\"'") if groups[1] else ""
            return what.format(*groups, on=f" on {resource}" if resource else "")
    return None


def of(error: Exception, doing: str) -> Trouble:
    """The failure of a call, with what to do about it."""
    if isinstance(error, (boto.NoCredentialsError, boto.PartialCredentialsError)):
        do = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        return Trouble(f"no usable credentials while {doing}: {error}\n  {do}")
    if isinstance(error, boto.ProfileNotFound):
        return Trouble(f"no usable credentials: {error}\n  set AWS_PROFILE to one of: aws configure list-profiles")
    if isinstance(error, (boto.TokenRetrievalError, boto.UnauthorizedSSOTokenError, boto.SSOTokenLoadError)):
        return Trouble(f"no usable credentials: {error}\n  log in again: aws sso login")
    if isinstance(error, (boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.ConnectionClosedError)):
        do = "is the region's name right, does the emulator run, is there a network?"
        return Trouble(f"no answer while {doing}: {error}\n  {do}")
    if isinstance(error, boto.ClientError):
        return Trouble(of_client(error, doing))
    return Trouble(f"{doing}: {error}")


def of_client(error: boto.ClientError, doing: str) -> str:
    """The words for an error that AWS answered."""
    code = error.response.get("Error", {}).get("Code", "")
    known = advice(str(error))
    # S3 says "Access Denied" and not what for.
    if known is None and (code in ("AccessDenied", "403", "Forbidden", "AllAccessDisabled")):
        action = S3_ACTIONS.get(error.operation_name)
        known = (
            f"missing permission {action or f'for {error.operation_name}'}: have it added to your user or role; "
            "docs/deploy.md lists what deploying needs"
        )
    return f"{doing}: {error}" + (f"\n  {known}" if known else "")
