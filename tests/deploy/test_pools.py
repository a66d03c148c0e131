"""How many pools a core can be told of, and what of a new one is known before it is made."""

import json

from deploying import pools
from deploying.trouble import Trouble


def test_a_pool_too_many_is_refused_before_it_is_made_and_is_in_nobodys_way(bench):
    bench.deploy("--parameter", "Artifacts=none")
    many = " ".join(f"department-{number}/*" for number in range(160))
    said = bench.refused("--pool", "large", "--targets", many)
    assert "large" in said and "4 KB" in said and "--targets" in said, said
    assert f"scripts/destroy --prefix {bench.prefix} --pool NAME" in said, said
    assert bench.status("pool-large") is None
    # One that is there may become too large as well.
    bench.deploy("--pool", "gpu", "--targets", "*/gpu-required")
    before = bench.stack("pool-gpu").get("LastUpdatedTime")
    said = bench.refused("--pool", "gpu", "--targets", many)
    assert "the pools gpu need" in said and bench.stack("pool-gpu").get("LastUpdatedTime") == before, said
    bench.deploy()
    assert names_of_pools(bench) == ["default", "gpu"]


def names_of_pools(bench) -> list[str]:
    return [pool["name"] for pool in json.loads(bench.outputs("core")["Pools"])]


def test_one_pool_goes_by_itself_and_the_core_is_told_by_the_next_run(bench):
    bench.deploy("--parameter", "Artifacts=none")
    for pool in ("gpu", "gpu-large"):
        bench.deploy("--pool", pool, "--targets", f"*/{pool}")
    said = bench.run("destroy", "--pool", "gpu", "--dry-run")
    assert said.splitlines()[1:] == [f"delete  stack   {bench.prefix}-pool-gpu"], said
    said = bench.run("destroy", "--pool", "gpu")
    assert "Now run scripts/deploy" in said, said
    assert (bench.status("pool-gpu"), bench.status("pool-gpu-large")) == (None, "CREATE_COMPLETE")
    assert bench.status("core") is not None and len(bench.tables()) == 3
    bench.deploy()
    assert names_of_pools(bench) == ["default", "gpu-large"]
    assert "leave out --delete-data" in bench.run("destroy", "--pool", "gpu-large", "--delete-data", fails=True)


def test_a_dry_run_of_a_pool_shows_the_core_with_it(bench):
    bench.deploy("--parameter", "Artifacts=none")
    pool = ("--pool", "gpu", "--targets", "*/gpu-required training/*")
    said = bench.deploy("--dry-run", *pool)
    assert f"New: the stack {bench.prefix}-pool-gpu" in said and f"Changes of the stack {bench.prefix}-core" in said, said
    assert "Modify  DispatcherFunction" in said and bench.status("pool-gpu") is None, said
    known = pools.entry(bench.outputs("core"), bench.prefix, "gpu", pool[3])
    bench.deploy(*pool)
    assert bench.outputs("pool-gpu")["Pool"] == known
    said = bench.deploy("--dry-run", "--pool", "gpu")
    assert f"The stack {bench.prefix}-core is as it should be" in said, said


def test_an_entry_of_a_pool_that_cannot_be_known_is_not_made_up(bench):
    elsewhere = '{"name":"default","targets":["default/*"],"queues":{"high":"http://127.0.0.1:9/0/other"}}'
    for core in ({}, {"DefaultPool": elsewhere}):
        assert pools.entry(core, "sl", "gpu", "a/*") is None, core
    on_aws = elsewhere.replace("http://127.0.0.1:9/0/other", "https://sqs.eu-west-1.amazonaws.com/1/sl-default-high")
    assert pools.entry({"DefaultPool": on_aws}, "sl", "gpu", "a/* b/*") == (
        '{"name":"gpu","targets":["a/*","b/*"],"queues":{"high":"https://sqs.eu-west-1.amazonaws.com/1/sl_gpu-high"}}'
    )


def test_pools_fit_until_their_bytes_do_not(bench):
    # The order is that of their names, so that a run without a change changes nothing.
    assert pools.joined({"b": "2", "a": "1"}, "sl") == "1,2"
    assert pools.joined({"a": "x" * pools.MAX_BYTES}, "sl")
    for entry in ("x" * (pools.MAX_BYTES + 1), "é" * (pools.MAX_BYTES // 2 + 1)):
        try:
            pools.joined({"a": entry}, "sl")
        except Trouble as trouble:
            assert "--prefix sl --pool NAME" in str(trouble), trouble
        else:
            raise AssertionError("too many bytes were taken")
