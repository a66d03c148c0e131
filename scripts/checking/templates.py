"""The templates that are checked, and ways through them."""

from pathlib import Path

from deploying.template import Template

ROOT = Path(__file__).resolve().parent.parent.parent
TEMPLATES = {name: Template(name) for name in ("core", "pool", "watch", "workers-ecs", "workers-ec2")}
CORE, POOL, WATCH = (TEMPLATES[name].content for name in ("core", "pool", "watch"))


def walk(node, path=()):
    """Every node below, with its path."""
    yield path, node
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from walk(value, (*path, key))


def of_type(template, kind):
    """The template's resources of that type: name -> properties."""
    found = template["Resources"].items()
    return {name: resource["Properties"] for name, resource in found if resource["Type"] == kind}
