"""Our templates as data."""

import json
from pathlib import Path

import yaml

from .code import ROOT
from .trouble import Trouble

# CreateChangeSet takes no more inline. scripts/check-infra holds every template below it.
MAX_BYTES = 51_200


class Template:
    """One file of infra/."""

    def __init__(self, name: str):
        self.path: Path = ROOT / "infra" / f"{name}.yaml"
        self.body = self.path.read_text()
        self.content = yaml.load(self.body, Loader)
        self.parameters: dict = self.content["Parameters"]

    def check(self, given: dict[str, str]) -> None:
        """Fails for a parameter that there is not."""
        for name in given:
            if name not in self.parameters:
                there = ", ".join(sorted(self.parameters))
                raise Trouble(f"{self.path.name} has no parameter {name}\n  it has {there}")

    def with_literal_names(self, names: dict[str, tuple[str, str]]) -> str:
        """The body with names as literals: {logical id: (property, name)}. What is to be imported must have such."""
        content = json.loads(json.dumps(self.content))
        for logical_id, (name, value) in names.items():
            content["Resources"][logical_id]["Properties"][name] = value
        return json.dumps(content, separators=(",", ":"))


# cfn-lint reads templates too, and takes a second to be imported.
class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """YAML with the short forms of CloudFormation's functions."""


def _function(loader: Loader, name: str, node: yaml.Node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if name == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}


Loader.add_multi_constructor("!", _function)
