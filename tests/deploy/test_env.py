"""What --env prints, and that it changes nothing."""

import json
import shlex

from deploying import options
from deploying.trouble import Trouble
from proxy import Proxy


def exports(said: str) -> dict:
    """The variables that a shell would get."""
    lines = (line for line in said.splitlines() if line.startswith("export "))
    return dict(shlex.split(line)[1].split("=", 1) for line in lines)


def test_env_only_asks_and_prints_the_variables_of_what_is_there(bench):
    proxy = Proxy(bench.endpoint)
    said = bench.run("deploy", "--env", endpoint=proxy.url, fails=True)
    assert f"there is no deployment {bench.prefix}" in said and f"scripts/deploy --prefix {bench.prefix}" in said, said
    assert bench.status("core") is None and not bench.buckets() and not exports(said), said
    told = bench.deploy()
    assert f'eval "$(scripts/deploy --prefix {bench.prefix} --endpoint-url {bench.endpoint} --env)"' in told, told
    before, core = bench.stack("core"), bench.outputs("core")
    found = exports(bench.run("deploy", "--env", endpoint=proxy.url))
    proxy.close()
    assert found["AWS_ENDPOINT_URL"] == proxy.url and found["AWS_REGION"] == "us-east-1", found
    for variable, output in (
        ("STAGELINE_TASKS_TABLE", "TasksTableName"),
        ("STAGELINE_ACCOUNT_INDEX", "AccountIndexName"),
        ("STAGELINE_STAGES_TABLE", "StagesTableName"),
        ("STAGELINE_CONTROL_TABLE", "ControlTableName"),
        ("STAGELINE_POOLS", "Pools"),
        ("STAGELINE_FOREIGN_DISPATCH_MODES", "ForeignDispatchModes"),
        ("STAGELINE_LEASE_SECONDS", "LeaseSeconds"),
        ("STAGELINE_ARTIFACTS_URL", "ArtifactsUrl"),
        ("STAGELINE_WORKER_ARTIFACTS_URL", "ArtifactsUrl"),
    ):
        assert found[variable] == core[output], variable
    assert core["ArtifactsUrl"].startswith("s3://"), core
    assert bench.stack("core") == before
    assert proxy.seen, "the proxy saw it"
    others = {seen for seen in proxy.seen if seen != "GetCallerIdentity" and not seen.startswith("Describe")}
    assert not others, others


def test_env_of_a_core_without_a_bucket_names_no_store_and_of_a_pool_names_the_pool(bench):
    bench.deploy("--parameter", "Artifacts=none")
    found = exports(bench.run("deploy", "--env"))
    assert "STAGELINE_TASKS_TABLE" in found and not [name for name in found if "ARTIFACTS" in name], found
    assert "STAGELINE_WORKER_POOL" not in found, found
    said = bench.run("deploy", "--env", "--pool", "gpu", fails=True)
    assert "there is no pool gpu" in said and "--pool gpu --targets" in said and not exports(said), said
    assert bench.status("pool-gpu") is None
    bench.deploy("--pool", "gpu", "--targets", "*/gpu-required")
    found = exports(bench.run("deploy", "--env", "--pool", "gpu"))
    assert found["STAGELINE_WORKER_POOL"] == "gpu" and json.loads(found["STAGELINE_POOLS"])[1]["name"] == "gpu", found


def test_env_is_printed_whatever_the_state_while_the_core_stands(bench):
    bench.deploy("--parameter", "Artifacts=none")
    for state, is_there in {
        "UPDATE_ROLLBACK_FAILED": True,
        "UPDATE_FAILED": True,
        "UPDATE_IN_PROGRESS": True,
        "ROLLBACK_COMPLETE": False,
        "DELETE_FAILED": False,
    }.items():
        proxy = Proxy(bench.endpoint)
        proxy.change["DescribeStacks"] = lambda answer, state=state: answer.replace(
            b"UPDATE_COMPLETE<", state.encode() + b"<"
        )
        said = bench.run("deploy", "--env", endpoint=proxy.url, fails=not is_there)
        proxy.close()
        assert f"is in state {state}" in said and "Traceback" not in said, said
        assert ("STAGELINE_POOLS" in exports(said)) == is_there, said
        assert is_there or f"scripts/deploy --prefix {bench.prefix}" in said, said


def test_env_takes_nothing_that_is_for_deploying(bench):
    here = ["--endpoint-url", "", "--env"]
    for arguments in (
        ("--dry-run",),
        ("--workers", "ecs"),
        ("--zips", "folder"),
        ("--import",),
        ("--parameter", "LeaseSeconds=7"),
        ("--watch-parameter", "A=1"),
        ("--pool-parameter", "A=1"),
        ("--worker-parameter", "A=1"),
        ("--worker-binary", "file"),
        ("--targets", "a/*"),
        ("--tag", "A=1"),
        ("--alarm-topic", "arn"),
        ("--arch", "arm64"),
        ("--profile", "release"),
        ("--function-endpoint-url", "none"),
        ("--smoke",),
        ("--no-smoke",),
    ):
        try:
            options.parse([*here, *arguments])
        except Trouble as trouble:
            assert f"; {arguments[0]} would be for deploying" in str(trouble), trouble
        else:
            raise AssertionError(f"{arguments} was taken")
    said = options.parse([*here, "--prefix", "sim", "--region", "eu-west-1", "--pool", "gpu"])
    assert options.command(said, "--env") == "scripts/deploy --prefix sim --region eu-west-1 --env"
