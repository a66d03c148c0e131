"""Sends tasks to the Celery worker and waits until the last result is there. Prints one JSON object.

    produce.py noop COUNT
    produce.py progress COUNT UPDATES SECONDS
"""

import json
import os
import sys
import time

from tasks import app, noop, progress

LIMIT = 120


def finished(sent):
    """How many of these results are there, without a request for each."""
    if os.environ["BENCH_BROKER"] == "redis":
        return app.backend.client.dbsize()
    left, count = {}, 0
    while True:
        page = app.backend.client.scan(
            TableName=app.backend.table_name,
            Select="COUNT",
            FilterExpression="contains(#r, :s)",
            ExpressionAttributeNames={"#r": "result"},
            ExpressionAttributeValues={":s": {"B": b"SUCCESS"}},
            **left,
        )
        count += page["Count"]
        if "LastEvaluatedKey" not in page:
            return count
        left = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def main():
    kind, count = sys.argv[1], int(sys.argv[2])
    before = finished(0)
    begun = time.time()
    for _ in range(count):
        if kind == "noop":
            noop.delay()
        else:
            progress.delay(int(sys.argv[3]), float(sys.argv[4]))
    sent = time.time()
    while finished(count) - before < count:
        if time.time() - begun > LIMIT:
            sys.exit(f"{finished(count) - before} of {count} results after {LIMIT} s")
        time.sleep(0.1)
    print(json.dumps({"seconds": time.time() - begun, "sending": sent - begun}))


main()
