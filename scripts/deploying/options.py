"""What can be said to scripts/deploy."""

import argparse
import os
import platform
import re
import shlex
from pathlib import Path

from .trouble import Trouble

EPILOG = """\
eval "$(scripts/deploy --env)" makes this shell a client of the deployment that is there, and deploys nothing.

Running it again is how to update; with nothing to change it changes nothing. One that was interrupted is
finished by running it again.
"""

PREFIX = "stageline"
# What --env goes with: which deployment, and which pool of it.
ASKING = {"prefix", "region", "endpoint_url", "pool", "env"}


def parse(arguments: list[str]) -> argparse.Namespace:
    """Reads and checks the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/deploy",
        description="Deploys Stageline into one account and region, on AWS or on an emulator.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--prefix", default=PREFIX, help="first part of every resource's name (default stageline)")
    add("--region", help="default AWS_REGION, AWS_DEFAULT_REGION, or the profile's")
    add("--endpoint-url", default=os.environ.get("AWS_ENDPOINT_URL"), help="deploy to an emulator (default AWS_ENDPOINT_URL)")
    add("--function-endpoint-url", help='what the functions themselves call, when it is not --endpoint-url; "none" leaves it to the emulator')
    add("--arch", choices=["arm64", "x86_64"], help="of the functions and the workers (default what is deployed, else arm64; with an endpoint, else this machine's)")
    add("--profile", default="function", help="cargo profile of the build (default function)")
    add("--zips", type=Path, help="deploy FOLDER/stageline-*/bootstrap.zip instead of building", metavar="FOLDER")
    add("--parameter", action="append", default=[], metavar="NAME=VALUE", help="a parameter of infra/core.yaml; may be repeated")
    add("--watch-parameter", action="append", default=[], metavar="NAME=VALUE", help="a parameter of infra/watch.yaml (alarms); may be repeated")
    add("--alarm-topic", metavar="ARN", help="SNS topic for the alarms of the core, of the pool default, and of --pool (default what is deployed)")
    add("--tag", action="append", default=[], metavar="NAME=VALUE", help="a tag of every stack and so of every resource; may be repeated; stays until NAME= without a value takes it away")
    add("--import", action="store_true", dest="imports", help="take over the tables and the bucket that a destroyed deployment of this prefix left")
    add("--pool", metavar="NAME", help="deploy one more pool and tell the core of it; with --workers, their pool")
    add("--targets", metavar="PATTERNS", help="the pool's target patterns, separated by spaces; needed once")
    add("--pool-parameter", action="append", default=[], metavar="NAME=VALUE", help="a parameter of infra/pool.yaml; may be repeated")
    add("--workers", choices=["ecs", "ec2"], help="deploy workers of the pool")
    add("--worker-parameter", action="append", default=[], metavar="NAME=VALUE", help="a parameter of infra/workers-*.yaml, such as VpcId and SubnetIds; may be repeated")
    add("--worker-binary", type=Path, metavar="FILE", help="for --workers ec2: the worker's program for its instances")
    add("--replace-busy", action="store_true", help="for --workers ecs: stop workers of the version before, which hand back what they run, instead of waiting until they are idle")
    add("--no-smoke", action="store_true", help="leave out the smoke task")
    add("--smoke", action="store_true", help="run it also in a table that is adopted")
    add("--env", action="store_true", help="deploy nothing: print shell exports for a worker or the CLI of the deployment that is there; with --pool, for a worker of that pool")
    add("--dry-run", action="store_true", help="show what would change; builds, uploads and creates nothing")
    options = parser.parse_args(arguments)
    if options.env:
        check_asks_only(parser, options)
    return settled(options)


def check_asks_only(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Fails when what is only read is told how to be deployed."""
    said = [name for name, value in vars(options).items() if name not in ASKING and value != parser.get_default(name)]
    found = ["--import" if name == "imports" else "--" + name.replace("_", "-") for name in said]
    if found:
        raise Trouble(
            f"--env only prints the variables of the deployment that is there; {', '.join(found)} would be for deploying\n"
            "  deploy without --env first, then: " + command(options, "--env")
        )


def command(options: argparse.Namespace, *more: str) -> str:
    """This program for the same deployment."""
    words = ["scripts/deploy"]
    words += ["--prefix", options.prefix] if options.prefix != PREFIX else []
    words += ["--region", options.region] if options.region else []
    words += ["--endpoint-url", options.endpoint_url] if options.endpoint_url else []
    return shlex.join([*words, *more])


def settled(options: argparse.Namespace) -> argparse.Namespace:
    """Fills in what follows from something else."""
    check_prefix(options.prefix)
    if options.pool is not None and not re.fullmatch(r"[a-z][a-z0-9-]{0,29}", options.pool):
        raise Trouble(f"--pool is 1 to 30 lower-case letters, digits and hyphens, starting with a letter: {options.pool}")
    if options.targets and options.pool in (None, "default"):
        raise Trouble("--targets is for --pool NAME; those of the pool default: --parameter DefaultTargets=...")
    if options.worker_parameter and not options.workers:
        raise Trouble("--worker-parameter is for --workers ecs or ec2")
    if options.worker_binary and options.workers != "ec2":
        raise Trouble("--worker-binary is for --workers ec2")
    if options.replace_busy and options.workers != "ecs":
        raise Trouble("--replace-busy is for --workers ecs; instances of EC2 are replaced by an instance refresh (docs/deploy.md)")
    for name in ("parameter", "watch_parameter", "pool_parameter", "worker_parameter", "tag"):
        setattr(options, name, pairs(getattr(options, name), name))
    options.endpoint_url = options.endpoint_url or None
    options.arch_said = options.arch is not None
    if options.endpoint_url:
        options.arch = options.arch or host()
        options.function_endpoint_url = options.function_endpoint_url or options.endpoint_url
    options.arch = options.arch or "arm64"
    if options.function_endpoint_url in (None, "none"):
        options.function_endpoint_url = ""
    return options


def check_prefix(prefix: str) -> None:
    """A prefix is a part of names of every kind, so it is what all of them allow."""
    if not re.fullmatch(r"[a-z][a-z0-9-]{1,30}", prefix):
        raise Trouble(f"--prefix is 2 to 31 lower-case letters, digits and hyphens, starting with a letter: {prefix}")


def pairs(texts: list[str], option: str) -> dict[str, str]:
    """NAME=VALUE as a dictionary."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise Trouble(f"--{option.replace('_', '-')} is NAME=VALUE: {text}")
        found[name] = value
    return found


def host() -> str:
    """This machine's architecture, as Lambda calls it."""
    return "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
