"""What processes get when they run, and what they run in."""

import re
import tomllib

from checking.templates import CORE, ROOT, TEMPLATES, of_type
from deploying.arch import WORKERS


def processes_get_their_variables():
    rust = (ROOT / "shared" / "src" / "aws" / "deployment.rs").read_text()
    listed = re.search(r"VARIABLES: \[&str; \d+\] = \[(.*?)\]", rust, re.S)
    variables = set(re.findall(r'"(STAGELINE_\w+)"', listed[1]))
    config = re.search(r"pub struct Config \{(.*?)\n\}", (ROOT / "worker" / "src" / "config.rs").read_text(), re.S)
    settings = {f"STAGELINE_WORKER_{name.upper()}" for name in re.findall(r"^    pub (\w+):", config[1], re.M)}
    own = {"STAGELINE_SWEEP_PAGES", "STAGELINE_METRICS"}
    given = {name: set(f["Environment"]["Variables"]) for name, f in of_type(CORE, "AWS::Lambda::Function").items()}
    given |= {name: set(re.findall(r"STAGELINE_\w+", TEMPLATES[name].body)) for name in ("workers-ecs", "workers-ec2")}
    for file in ("Dockerfile", "stageline-worker.service", "worker-entrypoint"):
        text = (ROOT / "infra" / file).read_text()
        given[file] = set(re.findall(r"STAGELINE_WORKER_[A-Z_]+", text)) | variables
    for name, found in given.items():
        found = {v for v in found if v.startswith("STAGELINE_") and v != "STAGELINE_WORKER_CONFIG"}
        if missing := variables - found:
            yield f"{name} does not give {sorted(missing)}"
        if unknown := found - variables - settings - own:
            yield f"{name} gives {sorted(unknown)}, which nobody reads"


def events_are_those_that_the_sweeper_knows():
    source = (ROOT / "lambdas" / "sweeper" / "src" / "event.rs").read_text().partition("#[cfg(test)]")[0]
    known = set(re.findall(r'"((?:EC2|ECS) [^"]+)"', source))
    pattern = CORE["Resources"]["InstanceEvents"]["Properties"]["EventPattern"]
    asked = set(pattern["detail-type"])
    if known != asked:
        yield f"the rule InstanceEvents and lambdas/sweeper/src/event.rs differ in {sorted(known ^ asked)}"
    # States are lower-case in EC2's events, and capitals in those of ECS.
    heeded = set(re.findall(r'"([a-z-]+)"', " ".join(re.findall(r"Some\(([^()]*)\) =>", source))))
    states, wishes = ([v for v in pattern["detail"][name] if isinstance(v, str)] for name in ("state", "desiredStatus"))
    if heeded != set(states):
        yield f"the rule InstanceEvents and lambdas/sweeper/src/event.rs differ in {sorted(heeded ^ set(states))}"
    if wishes != ["STOPPED"] or '"STOPPED"' not in source:
        yield "the rule InstanceEvents does not bring the ends of containers that lambdas/sweeper/src/event.rs heeds"
    for name, values in pattern["detail"].items():
        if {"exists": False} not in values:
            yield f"the rule InstanceEvents keeps away every event without {name}"


def images_and_units_fit():
    docker = (ROOT / "infra" / "Dockerfile").read_text()
    channel = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
    if f"ARG RUST_VERSION={channel}\n" not in docker:
        yield f"infra/Dockerfile does not build with Rust {channel}"
    container = of_type(TEMPLATES["workers-ecs"].content, "AWS::ECS::TaskDefinition")["TaskDefinition"]["ContainerDefinitions"][0]
    if f"USER {container['User']}\n" not in docker:
        yield "infra/Dockerfile and workers-ecs.yaml name different users"
    for mount in container["MountPoints"]:
        if f'"{mount["ContainerPath"]}"' not in docker:
            yield f"infra/Dockerfile has no volume {mount['ContainerPath']}"
    unit = (ROOT / "infra" / "stageline-worker.service").read_text()
    for path in re.findall(r"^(?:ExecStart|EnvironmentFile)=(\S+)", unit, re.M):
        if path not in TEMPLATES["workers-ec2"].body:
            yield f"the unit needs {path}, which the user data of workers-ec2.yaml does not make"


def images_are_built_from_what_they_are_given():
    lines = (ROOT / "infra" / "Dockerfile.dockerignore").read_text().splitlines()
    given = [line[1:] for line in lines if line.startswith("!")]

    def is_given(path):
        return any(path == name or path.startswith(f"{name}/") for name in given)

    members = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]
    for folder in sorted({member.partition("/")[0] for member in members}):
        if folder not in given:
            yield f"Dockerfile.dockerignore leaves out {folder}, which has members of the workspace: add !{folder}"
        for source in (ROOT / folder).rglob("*.rs"):
            for path in _included(source):
                if not is_given(path):
                    yield f"Dockerfile.dockerignore leaves out {path}, which {source.relative_to(ROOT)} includes: add !{path}"
    for sources in re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+) \S+$", (ROOT / "infra" / "Dockerfile").read_text(), re.M):
        for path in sources.split():
            if path != "." and not is_given(path):
                yield f"Dockerfile.dockerignore leaves out {path}, which the Dockerfile copies: add !{path}"


def _included(source):
    """What a source file has the compiler read, from the root of the repository; tests are not built for an image."""
    if "tests" in source.relative_to(ROOT).parts or source.stem.endswith("tests"):
        return []
    text = source.read_text().partition("#[cfg(test)]\nmod tests {")[0]
    found = re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', text)
    return [(source.parent / name).resolve().relative_to(ROOT).as_posix() for name in found]


def workers_of_arm64_are_those_of_the_templates():
    for kind, by_arch in WORKERS.items():
        parameters = TEMPLATES[f"workers-{kind}"].parameters
        for name, value in by_arch["arm64"].items():
            if parameters[name]["Default"] != value:
                yield f"{name} of workers-{kind}.yaml and of scripts/deploying/arch.py differ"
        if {name for values in by_arch.values() for name in values} - set(parameters):
            yield f"scripts/deploying/arch.py names parameters that workers-{kind}.yaml has not"
