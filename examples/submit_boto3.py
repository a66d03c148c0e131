"""Run a simulation with nothing but a DynamoDB client: put a record as an Amplify dashboard would, and
wait for its end.

    pip install boto3
    AWS_ENDPOINT_URL=http://127.0.0.1:4577 AWS_REGION=us-east-1 \
    AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local python examples/submit_boto3.py "echo hello"

The table is STAGELINE_TASKS_TABLE, by default `stageline-tasks`.
"""

import json
import os
import sys
import time
import uuid
from datetime import datetime, timezone

import boto3

ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"}


def main() -> int:
    command = sys.argv[1] if len(sys.argv) > 1 else "echo hello"
    region = os.environ.get("AWS_REGION", "us-east-1")
    name = os.environ.get("STAGELINE_TASKS_TABLE", "stageline-tasks")
    table = boto3.resource("dynamodb", region_name=region).Table(name)
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    task = {
        "__typename": "Task",
        "id": str(uuid.uuid4()),
        "accountId": "example",
        "type": "example",
        "status": "PENDING",
        "dispatchStatus": "PENDING",
        "target": "default/default",
        "command": command,
        "metadata": json.dumps({"dispatch_mode": "cloud"}),
        "createdAt": now,
        "updatedAt": now,
    }
    table.put_item(Item=task)
    while task["status"] not in ENDED:
        time.sleep(0.2)
        task = table.get_item(Key={"id": task["id"]}, ConsistentRead=True)["Item"]
    print(json.dumps(task, indent=2, default=str))
    return 0 if task["status"] == "COMPLETED" else 1


if __name__ == "__main__":
    sys.exit(main())
