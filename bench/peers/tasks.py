"""The peer: Celery, tuned, with the tasks that Stageline is measured with.

BENCH_BROKER is `redis` or `sqs`, BENCH_ENDPOINT the address of either. On SQS the results are in DynamoDB on the
same emulator, since a task of Stageline's has its result in a table too.
"""

import os
import time
from urllib.parse import urlsplit

import celery
import celery.signals

ENDPOINT = os.environ["BENCH_ENDPOINT"]
QUEUE = "bench-celery"

if os.environ["BENCH_BROKER"] == "redis":
    app = celery.Celery("bench", broker=f"{ENDPOINT}/0", backend=f"{ENDPOINT}/1")
else:
    address = urlsplit(ENDPOINT)
    app = celery.Celery(
        "bench",
        broker=f"sqs://local:local@{address.hostname}:{address.port}",
        backend=f"dynamodb://local:local@{address.hostname}:{address.port}/bench-celery",
    )
    app.conf.broker_transport_options = {
        "is_secure": False,
        "region": "us-east-1",
        "predefined_queues": {QUEUE: {"url": os.environ["BENCH_QUEUE_URL"]}},
        # As long as Stageline's worker waits.
        "wait_time_seconds": 20,
        "polling_interval": 0,
    }

app.conf.update(
    task_default_queue=QUEUE,
    # A worker that dies must not lose a task; Stageline's does not either.
    task_acks_late=True,
    # Full batches of ten from SQS for sixteen threads.
    worker_prefetch_multiplier=4,
    worker_hijack_root_logger=False,
    worker_send_task_events=False,
    # Stageline's record says when a task runs.
    task_track_started=os.environ.get("BENCH_TRACK_STARTED") == "1",
    broker_connection_retry_on_startup=True,
    result_expires=86400,
)


@celery.signals.worker_ready.connect
def ready(**_):
    with open(os.environ["BENCH_READY"], "w"):
        pass


@app.task
def noop():
    return {}


@app.task(bind=True)
def progress(self, updates, seconds):
    for done in range(1, updates + 1):
        self.update_state(state="PROGRESS", meta={"done": done, "total": updates})
        time.sleep(seconds)
    return {}
