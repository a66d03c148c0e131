"""The functions' code and the workers' package: built, checked, and stored under the hash of its content."""

import gzip
import hashlib
import io
import shutil
import struct
import subprocess
import tarfile
import zipfile
from pathlib import Path

from botocore import exceptions as boto

from . import left
from .account import Account, say
from .trouble import Trouble, of

ROOT = Path(__file__).resolve().parent.parent.parent
FUNCTIONS = ("dispatcher", "sweeper")
# e_machine of the ELF header.
MACHINES = {183: "arm64", 62: "x86_64"}
CLOSED = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


def build(arch: str, profile: str) -> Path:
    """Builds the functions; the folder of their zips."""
    folder = ROOT / "target" / "lambda"
    if not shutil.which("cargo"):
        raise Trouble("cargo is not installed; see https://rustup.rs")
    command = ["cargo", "lambda", "build", "--profile", profile, "--output-format", "zip"]
    command += ["--lambda-dir", str(folder)]
    for function in FUNCTIONS:
        command += ["-p", f"stageline-{function}"]
    command += ["--arm64"] if arch == "arm64" else []
    say(f"Building the functions for {arch} ({profile})")
    if subprocess.run(command, cwd=ROOT, stdout=2).returncode:
        raise Trouble("the functions do not build; the compiler's words are above")
    return folder


def zip_of(folder: Path, function: str) -> Path:
    """Where the function's zip is."""
    path = folder / f"stageline-{function}" / "bootstrap.zip"
    if not path.is_file():
        raise Trouble(f"there is no file {path}\n  leave out --zips to build, or name the folder that has it")
    return path


def machine(program: bytes) -> str | None:
    """Which architecture an ELF program is for; None when it is no such program."""
    if len(program) < 20 or program[:4] != b"\x7fELF":
        return None
    (number,) = struct.unpack_from("<H" if program[5] == 1 else ">H", program, 18)
    return MACHINES.get(number, f"machine {number}")


def check_machine(program: bytes, what: str, arch: str) -> None:
    """Fails when a program is not for the architecture that it will run on."""
    built_for = machine(program)
    if built_for is None:
        raise Trouble(f"{what} is no Linux program")
    if built_for != arch:
        raise Trouble(
            f"{what} is for {built_for} and would run on {arch}\n"
            f"  give --arch {built_for}, or build for {arch} (leave out --zips)"
        )


def key_of_zip(function: str, path: Path, arch: str) -> str:
    """The zip's key. The hash is of the files inside, since the zip also holds their times."""
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(path) as archive:
            check_machine(archive.read("bootstrap"), f"bootstrap in {path}", arch)
            for info in sorted(archive.infolist(), key=lambda info: info.filename):
                digest.update(f"{info.filename}\0{info.file_size}\0".encode())
                digest.update(archive.read(info))
    except (KeyError, zipfile.BadZipFile) as error:
        raise Trouble(f"{path} is no zip with a program `bootstrap` in it: {error}") from error
    return f"{function}/{digest.hexdigest()[:32]}.zip"


def worker_package(program: Path, arch: str) -> tuple[str, bytes]:
    """The workers' package, its key first: the program and its unit, the same bytes for the same content."""
    try:
        binary = program.read_bytes()
    except OSError as error:
        raise Trouble(f"--worker-binary {program}: {error.strerror}") from error
    check_machine(binary, str(program), arch)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        unit = (ROOT / "infra" / "stageline-worker.service").read_bytes()
        for name, content, mode in (
            ("stageline-worker", binary, 0o755),
            ("stageline-worker.service", unit, 0o644),
        ):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), mode
            archive.addfile(info, io.BytesIO(content))
    digest = hashlib.sha256(tar.getvalue()).hexdigest()[:32]
    return f"worker/{digest}.tar.gz", gzip.compress(tar.getvalue(), mtime=0)


def bucket_name(account: Account, prefix: str) -> str:
    """The bucket of a deployment's code."""
    name = f"{prefix}-code-{account.id}-{account.region}"
    if len(name) > 63:
        raise Trouble(f"the bucket's name {name} has more than 63 characters\n  choose a shorter --prefix")
    return name


def make_bucket(account: Account, bucket: str, prefix: str) -> None:
    """The bucket is there, closed to the public, and tagged as this prefix's: the run before may have died in between."""
    s3 = account.client("s3")
    try:
        s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=account.id)
    except boto.ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
            trouble = of(error, f"looking for the bucket {bucket}")
            raise Trouble(f"{trouble}\n  or the name is taken by somebody else: choose another --prefix") from error
        say(f"Making the bucket {bucket}")
        place = {}
        if account.region != "us-east-1":
            place = {"CreateBucketConfiguration": {"LocationConstraint": account.region}}
        try:
            s3.create_bucket(Bucket=bucket, **place)
        except (boto.ClientError, boto.BotoCoreError) as error:
            raise of(error, f"making the bucket {bucket}") from error
    close_bucket(account, bucket)
    tag_bucket(account, bucket, prefix)


def close_bucket(account: Account, bucket: str) -> None:
    """Nothing in it is ever public."""
    s3, closed = account.client("s3"), dict.fromkeys(CLOSED, True)
    try:
        try:
            if s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == closed:
                return
        except boto.ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchPublicAccessBlockConfiguration":
                raise
        s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=closed)
    except (boto.ClientError, boto.BotoCoreError) as error:
        raise of(error, f"closing the bucket {bucket} to the public") from error


def tag_bucket(account: Account, bucket: str, prefix: str) -> None:
    """The tag by which scripts/destroy knows it, beside those that others have put on."""
    tags = left.tags_of(account, bucket) or {}
    if tags.get("stageline") == prefix:
        return
    tags["stageline"] = prefix
    try:
        together = [{"Key": key, "Value": value} for key, value in tags.items()]
        account.client("s3").put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": together})
    except (boto.ClientError, boto.BotoCoreError) as error:
        raise of(error, f"tagging the bucket {bucket}") from error


def upload(account: Account, bucket: str, key: str, content: bytes) -> None:
    """What is there already is not sent again."""
    s3 = account.client("s3")
    try:
        s3.head_object(Bucket=bucket, Key=key)
        return
    except boto.ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchKey"):
            raise of(error, f"looking for s3://{bucket}/{key}") from error
    say(f"Uploading s3://{bucket}/{key}")
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=content)
    except (boto.ClientError, boto.BotoCoreError) as error:
        raise of(error, f"uploading s3://{bucket}/{key}") from error
