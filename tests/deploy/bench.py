"""What a test of the deployment has at hand: a prefix of its own, programs to run, and eyes."""

import os
import shutil
import struct
import subprocess
import sys
import tempfile
import uuid
import zipfile
from pathlib import Path

import boto3
from deploying.options import host

ROOT = Path(__file__).parents[2]
REGION = "us-east-1"
SECONDS = 300


class Skipped(Exception):
    """The test cannot be run here, and why."""


class Bench:
    def __init__(self, endpoint: str, test: str):
        self.endpoint = endpoint
        self.prefix = f"t{uuid.uuid4().hex[:10]}"
        self.folder = Path(tempfile.mkdtemp(prefix="stageline-deploy-"))
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        self.session = boto3.Session(region_name=REGION, **keys)
        self.clients: dict = {}

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def client(self, service: str):
        if service not in self.clients:
            self.clients[service] = self.session.client(service, endpoint_url=self.endpoint)
        return self.clients[service]

    # ---- Programs -----------------------------------------------------------------------------------

    def environment(self, **more) -> dict:
        """Nothing of this machine's AWS settings."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "STAGELINE_"))}
        nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
        module = {"PYTHONPATH": str(ROOT / "scripts"), "PYTHONDONTWRITEBYTECODE": "1", "AWS_EC2_METADATA_DISABLED": "true"}
        return clean | nowhere | module | more

    def start(self, program: str, *arguments, endpoint: str | None = "", **environment) -> subprocess.Popen:
        """A program of scripts/deploying, started. `endpoint=None` is AWS itself."""
        command = [sys.executable, "-m", f"deploying.{program}", "--prefix", self.prefix, *map(str, arguments)]
        if endpoint is not None:
            command += ["--endpoint-url", endpoint or self.endpoint]
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment(**environment),
        )

    def run(self, program: str, *arguments, typed: str = "", fails: bool = False, **more) -> str:
        """Runs it to its end; what it said."""
        process = self.start(program, *arguments, **more)
        said, _ = process.communicate(typed, timeout=SECONDS)
        assert (process.returncode != 0) == fails, f"{program} {arguments} ended with {process.returncode}:\n{said}"
        return said

    def deploy(self, *arguments, **more) -> str:
        """Deploys functions that do nothing."""
        return self.run("deploy", "--zips", self.zips(), "--no-smoke", *arguments, **more)

    def refused(self, *arguments, **more) -> str:
        """A deployment that has to fail; its words. A failure that nobody thought of has a traceback."""
        said = self.deploy(*arguments, fails=True, **more)
        assert "Traceback" not in said and "error: " in said, said
        return said

    # ---- Code ---------------------------------------------------------------------------------------

    def zips(self, arch: str | None = None, program: bytes | None = None) -> Path:
        """A folder of functions: programs of that architecture with nothing in them."""
        folder = self.folder / f"zips-{arch or 'own'}-{len(program or b'')}"
        for function in ("dispatcher", "sweeper"):
            path = folder / f"stageline-{function}" / "bootstrap.zip"
            if not path.is_file():
                path.parent.mkdir(parents=True)
                with zipfile.ZipFile(path, "w") as archive:
                    archive.writestr("bootstrap", program or elf(arch or host()) + function.encode())
        return folder

    def real_zips(self) -> Path:
        """The functions as they were last built."""
        for folder in (os.environ.get("STAGELINE_TEST_ZIPS"), ROOT / "target" / "lambda"):
            if folder and (Path(folder) / "stageline-sweeper" / "bootstrap.zip").is_file():
                return Path(folder)
        raise Skipped("the functions have not been built: cargo lambda build (scripts/deploy does)")

    # ---- Eyes ---------------------------------------------------------------------------------------

    def stack(self, part: str) -> dict | None:
        try:
            return self.client("cloudformation").describe_stacks(StackName=f"{self.prefix}-{part}")["Stacks"][0]
        except self.client("cloudformation").exceptions.ClientError:
            return None

    def status(self, part: str) -> str | None:
        stack = self.stack(part)
        return stack and stack["StackStatus"]

    def outputs(self, part: str) -> dict:
        return {o["OutputKey"]: o["OutputValue"] for o in self.stack(part)["Outputs"]}

    def resources(self, part: str) -> dict:
        found = self.client("cloudformation").list_stack_resources(StackName=f"{self.prefix}-{part}")
        return {r["LogicalResourceId"]: r["PhysicalResourceId"] for r in found["StackResourceSummaries"]}

    def tables(self) -> set:
        # A page has 100, and the tests side by side make more.
        pages = self.client("dynamodb").get_paginator("list_tables").paginate()
        return {name for page in pages for name in page["TableNames"] if name.startswith(self.prefix)}

    def buckets(self) -> set:
        return {b["Name"] for b in self.client("s3").list_buckets()["Buckets"] if b["Name"].startswith(self.prefix)}

    def tags_of_bucket(self, name: str) -> dict:
        return {tag["Key"]: tag["Value"] for tag in self.client("s3").get_bucket_tagging(Bucket=name)["TagSet"]}

    def is_closed(self, name: str) -> bool:
        return all(self.client("s3").get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"].values())

    def tags(self, part: str) -> dict:
        return {tag["Key"]: tag["Value"] for tag in self.stack(part).get("Tags", [])}

    def is_protected(self, table: str) -> bool:
        answer = self.client("dynamodb").describe_table(TableName=f"{self.prefix}-{table}")
        return answer["Table"].get("DeletionProtectionEnabled", False)


def elf(arch: str) -> bytes:
    """The header of a 64-bit program for it, little-endian."""
    machine = {"arm64": 183, "x86_64": 62}[arch]
    return b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 2, machine) + bytes(44)
