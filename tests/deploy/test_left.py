"""What a destroyed deployment leaves, found again by its tags whatever its name. The emulator puts no tags on a bucket of
a stack: here they are put on as AWS does."""

import json

from deploying import left
from proxy import Proxy


def made(bench, name: str, make: bool = False):
    """As if the core of this prefix had made the bucket."""
    tags = {"stageline": bench.prefix, left.STACK_TAG: f"{bench.prefix}-core", left.RESOURCE_TAG: "ArtifactBucket"}
    put(bench, name, tags, make)


def put(bench, name: str, tags: dict, make: bool = True):
    s3 = bench.client("s3")
    if make:
        s3.create_bucket(Bucket=name)
    s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": [{"Key": key, "Value": tags[key]} for key in tags]})


def adopted(bench, name: str):
    """Another deployment's core has adopted the bucket."""
    content = {
        "Parameters": {"Artifacts": {"Type": "String"}, "ArtifactBucketName": {"Type": "String"}},
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
    }
    given = {"Artifacts": "adopt", "ArtifactBucketName": name}
    bench.client("cloudformation").create_stack(
        StackName=f"other-{bench.prefix}",
        TemplateBody=json.dumps(content),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
    )
    bench.client("cloudformation").get_waiter("stack_create_complete").wait(
        StackName=f"other-{bench.prefix}", WaiterConfig={"Delay": 1}
    )


def test_a_bucket_with_a_name_of_its_own_is_found_when_the_core_has_gone(bench):
    own, brought, shared = (f"{bench.prefix}-{name}" for name in ("own", "brought", "shared"))
    bench.deploy("--parameter", f"ArtifactBucketName={own}")
    made(bench, own)
    put(bench, brought, {"stageline": bench.prefix})
    made(bench, shared, make=True)
    adopted(bench, shared)
    bench.client("s3").put_object(Bucket=own, Key="artifacts/kept", Body=b"kept")
    bench.run("destroy")
    said = bench.run("destroy", "--delete-data", "--dry-run")
    code = next(name for name in bench.buckets() if "-code-" in name)
    assert f"Looking for tables and buckets of {bench.prefix}" in said and f"{bench.prefix}-artifacts-" in said, said
    deleted = {line.split()[2] for line in said.splitlines() if line.startswith("delete  bucket")}
    assert deleted == {own, code}, said
    assert f"The bucket {shared} has been adopted by the stack other-{bench.prefix}: it is left alone" in said, said
    bench.run("destroy", "--delete-data", typed=bench.prefix)
    assert bench.buckets() == {brought, shared} and not bench.tables()


def test_a_bucket_with_a_name_of_its_own_is_taken_over_and_is_left_alone_while_adopted(bench):
    own = f"{bench.prefix}-own"
    bench.deploy("--parameter", f"ArtifactBucketName={own}")
    made(bench, own)
    bench.run("destroy")
    said = bench.deploy("--import")
    assert f"Taking over the bucket {own}" in said and bench.outputs("core")["ArtifactBucketName"] == own, said
    # To an emulator it is adopted now, which it was not by whoever made it.
    said = bench.run("destroy", "--delete-data", typed=bench.prefix)
    assert f"adopted by the stack {bench.prefix}-core: it is left alone" in said and own in bench.buckets(), said
    assert f"stageline={bench.prefix}" in said, said


def test_a_bucket_that_cannot_be_found_has_to_be_named_to_be_taken_over(bench):
    bench.deploy()
    bench.run("destroy")
    (usual,) = (name for name in bench.buckets() if "-artifacts-" in name)
    bench.client("s3").delete_bucket(Bucket=usual)
    said = bench.refused("--import")
    assert f"neither {usual} nor" in said and "repeat --parameter ArtifactBucketName=" in said, said
    both = [f"{bench.prefix}-{name}" for name in ("one", "two")]
    for name in both:
        made(bench, name, make=True)
    said = bench.refused("--import")
    assert f"several buckets are of {bench.prefix}: {', '.join(both)}" in said, said
    assert bench.status("core") is None
    # Whoever may not list the buckets is told what was not looked for.
    proxy = Proxy(bench.endpoint)
    proxy.refused = {"ListBuckets"}
    said = bench.run("destroy", "--delete-data", "--dry-run", endpoint=proxy.url)
    proxy.close()
    assert "cannot be listed (s3:ListAllMyBuckets)" in said and both[0] not in said, said
    bench.deploy("--import", "--parameter", f"ArtifactBucketName={both[1]}")
    assert bench.outputs("core")["ArtifactBucketName"] == both[1]


def test_only_tags_that_nobody_else_can_put_on_tell_who_made_a_bucket(bench):
    ours = {"stageline": "sl", left.STACK_TAG: "sl-core", left.RESOURCE_TAG: "ArtifactBucket"}
    assert left.is_made_by(ours, "sl", False) and left.is_made_by({"stageline": "sl"}, "sl", True)
    for name in ours:
        assert not left.is_made_by({**ours, name: "another"}, "sl", False), name
        assert not left.is_made_by({key: ours[key] for key in ours if key != name}, "sl", False), name
    assert not left.is_made_by({}, "sl", True)
