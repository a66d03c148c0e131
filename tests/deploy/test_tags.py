"""The tags of a deployment's stacks."""

from deploying.stack import merged


def test_a_tag_that_was_given_once_stays_until_it_is_taken_away(bench):
    ours, quiet = {"stageline": bench.prefix}, ("--parameter", "Artifacts=none")
    bench.deploy(*quiet, "--tag", "Team=sim", "--tag", "Stage=test")
    said = bench.deploy()
    assert f"The stack {bench.prefix}-core is as it should be" in said, said
    assert bench.tags("core") == bench.tags("watch") == ours | {"Team": "sim", "Stage": "test"}
    bench.deploy("--tag", "Cost=7", "--tag", "Stage=live", "--tag", "Team=")
    assert bench.tags("core") == bench.tags("watch") == ours | {"Cost": "7", "Stage": "live"}
    # A new stack has what the core has.
    bench.deploy("--pool", "gpu", "--targets", "*/gpu-required")
    assert bench.tags("pool-gpu") == ours | {"Cost": "7", "Stage": "live"}


def test_tags_are_merged_and_those_of_aws_are_left_to_aws(bench):
    there = {"aws:cloudformation:stack-name": "other", "Empty": "", "Team": "sim"}
    assert merged(there, {"stageline": "sl"}) == {"Empty": "", "Team": "sim", "stageline": "sl"}
    assert merged(there, {"Team": "", "Empty": "1", "Nobody": ""}) == {"Empty": "1"}
