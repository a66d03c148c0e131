"""Which architecture a deployment has, and what its workers are told of it."""

from argparse import Namespace

from .stack import Deployed
from .trouble import Trouble

IMAGES = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-"
# By kind of workers and architecture. scripts/check-infra compares those of arm64 with the templates' defaults.
WORKERS = {
    "ecs": {"arm64": {"Architecture": "ARM64"}, "x86_64": {"Architecture": "X86_64"}},
    "ec2": {
        "arm64": {"ImageId": f"{IMAGES}arm64", "InstanceTypes": "c7g.*,c8g.*,m7g.*,m8g.*,r7g.*,r8g.*"},
        "x86_64": {"ImageId": f"{IMAGES}x86_64", "InstanceTypes": "c7a.*,c7i.*,m7a.*,m7i.*,r7a.*,r7i.*"},
    },
}


def of_deployment(said: Namespace, core: Deployed | None) -> str:
    """What was said, else what the core has, else the default: a later run does not turn a deployment around."""
    chosen = said.parameter.get("FunctionArchitecture")
    if said.arch_said:
        if chosen not in (None, said.arch):
            raise Trouble(f"--arch {said.arch} and --parameter FunctionArchitecture={chosen} differ\n  leave out the second")
        return said.arch
    deployed = core.parameters.get("FunctionArchitecture") if core else None
    return chosen or deployed or said.arch


def of_workers(kind: str, arch: str, there: Deployed | None, arch_said: bool) -> dict[str, str]:
    """The parameters that follow from the architecture. What somebody chose for the workers that are there stays."""
    by_arch = WORKERS[kind]
    if there is None:
        return by_arch[arch]
    # Their image may be another than the functions', and nothing here can tell.
    if kind == "ecs" and not arch_said:
        return {}
    ours = {name: {values[name] for values in by_arch.values()} for name in by_arch[arch]}
    return {name: value for name, value in by_arch[arch].items() if there.parameters.get(name) in ours[name]}
