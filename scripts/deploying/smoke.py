"""The smoke task: one task through the table, the stream, the dispatcher and the queue, and out again."""

import json
import re
import time
import uuid

from botocore import exceptions as boto

from .account import Account, say
from .trouble import Trouble, of

# A new stream mapping of AWS takes a minute until it reads.
PATIENCE_SECONDS = 240


def target_of(pool: str) -> str:
    """A target that the pool takes: its first pattern without stars and choices."""
    pattern = json.loads(pool)["targets"][0]
    segments = [re.sub(r"^\[([^,\]]*).*\]$", r"\1", segment) for segment in pattern.split("/")]
    return "/".join("smoke" if segment in ("*", "**") else segment.replace("*", "smoke") for segment in segments)


def run(account: Account, tasks: str, pool: str, prefix: str) -> None:
    """Puts a task of the engine `demo`, waits until it is queued or done, ends and removes it."""
    dynamodb = account.client("dynamodb")
    name = {"id": {"S": f"smoke-{uuid.uuid4()}"}}
    target = target_of(pool)
    params = json.dumps({"items": 1, "seconds": 0})
    record = {
        **name,
        "status": {"S": "PENDING"},
        "engine": {"S": "demo"},
        "target": {"S": target},
        "params": {"S": params},
        "type": {"S": "smoke"},
        # If this program dies on the next line, the record goes by itself.
        "expiresAt": {"N": str(int(time.time()) + 86_400)},
    }
    try:
        dynamodb.put_item(TableName=tasks, Item=record)
        say(f"Smoke task {name['id']['S']} for {target}")
        seen = _wait(dynamodb, tasks, name, {"PENDING"}, prefix)
        if seen["status"]["S"] in ("QUEUED", "RUNNING"):
            # Without a worker it would wait for ever; one that has it may be quicker than this.
            dynamodb.update_item(
                TableName=tasks,
                Key=name,
                UpdateExpression="SET cancelRequested = :yes",
                ConditionExpression="attribute_exists(id)",
                ExpressionAttributeValues={":yes": {"BOOL": True}},
            )
            seen = _wait(dynamodb, tasks, name, {"PENDING", "QUEUED", "RUNNING"}, prefix)
        end = seen["status"]["S"]
        if end == "FAILED":
            reason = seen.get("statusReason", {}).get("M", {})
            words = reason.get("message", {}).get("S", "no reason")
            raise Trouble(f"deployed, but the smoke task failed: {words}\n  correct it and run this again")
        by = seen.get("workerNodeId", {}).get("S")
        say(f"Smoke task {end.lower()}: table, stream, dispatcher and queue work" + (f", and so does the worker {by}" if by else ""))
    except (boto.ClientError, boto.BotoCoreError) as error:
        raise of(error, "the smoke task") from error
    finally:
        try:
            dynamodb.delete_item(TableName=tasks, Key=name)
        except (boto.ClientError, boto.BotoCoreError):
            say(f"The smoke task {name['id']['S']} stays in {tasks} until it expires")


def _wait(dynamodb, tasks: str, name: dict, still: set, prefix: str) -> dict:
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        seen = dynamodb.get_item(TableName=tasks, Key=name, ConsistentRead=True).get("Item")
        if seen is None:
            raise Trouble("deployed, but somebody removed the smoke task\n  run this again")
        status = seen.get("status", {}).get("S", "PENDING")
        if status not in still:
            return seen
        if time.monotonic() > until:
            raise Trouble(
                f"deployed, but the smoke task is still {status} after {PATIENCE_SECONDS} s\n"
                f"  look at the log group /aws/lambda/{prefix}-dispatcher and at the queue {prefix}-stream-failures; "
                "--no-smoke leaves this out"
            )
        time.sleep(0.3)
