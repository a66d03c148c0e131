"""What goes wrong, and that it is said what and what to do."""

from bench import elf
from deploying import options
from deploying.options import host
from deploying.trouble import Trouble
from proxy import Proxy


def test_no_credentials_are_named(bench):
    said = bench.refused(endpoint=None, AWS_REGION="eu-central-1")
    assert "no usable credentials for AWS in eu-central-1" in said and "AWS_PROFILE" in said, said
    said = bench.refused(endpoint=None, AWS_REGION="eu-central-1", AWS_PROFILE="nobody")
    assert "no usable credentials" in said and "nobody" in said, said


def test_a_wrong_region_is_named(bench):
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    said = bench.refused("--region", "eu-central-9", endpoint=None, **keys)
    assert "there is no region eu-central-9" in said and "eu-central-1" in said, said
    said = bench.refused(endpoint=None, **keys)
    assert "no region: give --region" in said, said


def test_an_emulator_that_does_not_answer_is_named(bench):
    said = bench.refused(endpoint="http://127.0.0.1:9")
    assert "no answer while" in said and "does the emulator run" in said, said


def test_a_missing_permission_is_named_at_each_step_and_the_next_run_finishes(bench):
    steps = {
        "HeadBucket": "s3:ListBucket",
        "CreateBucket": "s3:CreateBucket",
        "GetBucketPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
        "PutBucketPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
        "GetBucketTagging": "s3:GetBucketTagging",
        "PutBucketTagging": "s3:PutBucketTagging",
        "PutObject": "s3:PutObject",
        "DescribeStacks": "cloudformation:DescribeStacks",
        "CreateChangeSet": "cloudformation:CreateChangeSet",
        "ExecuteChangeSet": "cloudformation:ExecuteChangeSet",
    }
    for action, permission in steps.items():
        proxy = Proxy(bench.endpoint)
        proxy.refused = {action}
        # Whether a bucket's name is taken may be unknown: then only the code's bucket is looked for.
        said = bench.refused("--parameter", "Artifacts=none", endpoint=proxy.url)
        proxy.close()
        assert f"missing permission {permission}" in said, f"{action}:\n{said}"
    bench.deploy("--parameter", "Artifacts=none")
    assert bench.status("core") == "UPDATE_COMPLETE"
    (bucket,) = bench.buckets()
    assert bench.tags_of_bucket(bucket) == {"stageline": bench.prefix} and bench.is_closed(bucket)


def test_a_name_that_is_taken_is_said_before_anything_is_made(bench):
    bench.client("dynamodb").create_table(
        TableName=f"{bench.prefix}-stages",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    said = bench.refused()
    assert f"the name is already taken: {bench.prefix}-stages" in said, said
    assert bench.status("core") is None and not bench.buckets()
    # A stranger's table is never deleted.
    said = bench.run("destroy", "--delete-data", typed=bench.prefix)
    assert "does not carry the tag" in said and bench.tables() == {f"{bench.prefix}-stages"}, said


def test_a_stack_that_is_stuck_is_named_with_the_way_out(bench):
    bench.deploy()
    for state, way_out in {
        "UPDATE_ROLLBACK_FAILED": "aws cloudformation continue-update-rollback --stack-name",
        "ROLLBACK_FAILED": "aws cloudformation delete-stack --stack-name",
        "DELETE_FAILED": "--retain-resources",
    }.items():
        proxy = Proxy(bench.endpoint)
        proxy.change["DescribeStacks"] = lambda answer, state=state: answer.replace(
            b"UPDATE_COMPLETE<", state.encode() + b"<"
        )
        said = bench.refused(endpoint=proxy.url)
        proxy.close()
        assert f"is in state {state}" in said and f"{way_out}" in said, said


def test_code_for_the_wrong_architecture_is_never_uploaded(bench):
    other = {"arm64": "x86_64", "x86_64": "arm64"}[host()]
    said = bench.run("deploy", "--no-smoke", "--zips", bench.zips(other), fails=True)
    assert f"is for {other} and would run on {host()}" in said and f"--arch {other}" in said, said
    said = bench.run("deploy", "--no-smoke", "--zips", bench.zips(program=b"#!/bin/sh\n"), fails=True)
    assert "is no Linux program" in said, said
    empty = bench.folder / "empty"
    for function in ("dispatcher", "sweeper"):
        (empty / f"stageline-{function}").mkdir(parents=True)
        (empty / f"stageline-{function}" / "bootstrap.zip").write_bytes(elf(host()))
    said = bench.run("deploy", "--zips", empty, fails=True)
    assert "is no zip with a program" in said, said
    said = bench.run("deploy", "--zips", bench.folder / "nothing", fails=True)
    assert "there is no file" in said, said
    assert not bench.buckets() and bench.status("core") is None


def test_a_later_run_is_for_the_architecture_of_the_core(bench):
    other = {"arm64": "x86_64", "x86_64": "arm64"}[host()]
    zips = bench.zips(other)
    bench.run("deploy", "--no-smoke", "--zips", zips, "--arch", other)
    said = bench.run("deploy", "--no-smoke", "--zips", zips)
    assert f"{bench.prefix}-core is as it should be" in said, said
    said = bench.refused()
    assert f"is for {host()} and would run on {other}" in said, said


def test_what_is_said_wrongly_is_told_before_anything_is_built(bench):
    for arguments, words in (
        (("--parameter", "LeaseSeconds"), "--parameter is NAME=VALUE"),
        (("--pool", "GPU"), "--pool is 1 to 30 lower-case letters"),
        (("--targets", "a/*"), "--targets is for --pool"),
        (("--worker-parameter", "A=1"), "--worker-parameter is for --workers"),
        (("--worker-binary", "x", "--workers", "ecs"), "--worker-binary is for --workers ec2"),
        (("--prefix", "Sim"), "--prefix is 2 to 31 lower-case letters"),
    ):
        try:
            options.parse(list(arguments))
        except Trouble as trouble:
            assert words in str(trouble), trouble
        else:
            raise AssertionError(f"{arguments} was taken")
    said = bench.refused("--parameter", "Nonsense=1")
    assert "core.yaml has no parameter Nonsense" in said, said
    said = bench.refused("--pool", "gpu", "--targets", "a/*")
    assert "there is no core" in said, said
