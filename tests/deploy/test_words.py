"""AWS's words, and what is said about them. The texts are AWS's own, as it answers them."""

from deploying import code, trouble
from deploying.smoke import target_of

WORDS = [
    (
        "User: arn:aws:sts::123456789012:assumed-role/dev/ann is not authorized to perform: iam:CreateRole on resource: "
        "arn:aws:iam::123456789012:role/stageline-core-DispatcherRole-1 because no identity-based policy allows it",
        "missing permission iam:CreateRole on arn:aws:iam::123456789012:role/stageline-core-DispatcherRole-1",
    ),
    (
        "Resource handler returned message: \"User: arn:aws:iam::1:user/u is not authorized to perform: dynamodb:CreateTable on "
        "resource: arn:aws:dynamodb:eu-west-1:1:table/stageline-tasks because no identity-based policy allows the action\"",
        "missing permission dynamodb:CreateTable on arn:aws:dynamodb:eu-west-1:1:table/stageline-tasks",
    ),
    ("API: s3:PutBucketPolicy Access Denied", "missing permission s3:PutBucketPolicy"),
    ("stageline-default-high already exists in stack arn:aws:cloudformation:eu-west-1:1:stack/other/1", "already taken"),
    ("Resource of type 'AWS::DynamoDB::Table' with identifier 'stageline-tasks' already exists.", "--import"),
    ("You must wait 60 seconds after deleting a queue before you can create another with the same name.", "a minute"),
    ("Account limit exceeded: Maximum 10 roles", "Service Quotas"),
    ("An error occurred (ExpiredToken) when calling GetCallerIdentity: The security token included is expired", "log in again"),
    ("An error occurred (UnrecognizedClientException): The security token included in the request is invalid.", "region is not enabled"),
    ("An error occurred (SignatureDoesNotMatch) when calling the GetCallerIdentity operation", "clock is wrong"),
    ("Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist.", "run this again"),
]


def test_words_of_aws_are_followed_by_what_to_do(bench):
    for text, words in WORDS:
        said = trouble.advice(text)
        assert said and words in said, f"{text}\n -> {said}"
    assert trouble.advice("Something that nobody has seen before") is None


def test_each_pattern_has_a_target_that_it_takes(bench):
    for pattern, target in (
        ("default/*", "default/smoke"),
        ("[datasets,training]/*", "datasets/smoke"),
        ("*/gpu-required", "smoke/gpu-required"),
        ("a/b/c", "a/b/c"),
    ):
        assert target_of('{"targets":["%s"]}' % pattern) == target, pattern


def test_an_architecture_is_read_from_the_program(bench):
    from bench import elf

    assert code.machine(elf("arm64")) == "arm64" and code.machine(elf("x86_64")) == "x86_64"
    assert code.machine(b"#!/bin/sh") is None and code.machine(b"") is None
