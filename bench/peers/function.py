"""The peer of the dispatcher's start: the least that a Python function with the same two clients does."""

import os
import urllib.request

import boto3

dynamodb = boto3.client("dynamodb", region_name="us-east-1")
sqs = boto3.client("sqs", region_name="us-east-1")

address = os.environ["AWS_LAMBDA_RUNTIME_API"]
while True:
    event = urllib.request.urlopen(f"http://{address}/2018-06-01/runtime/invocation/next").read()
    request = os.environ.get("AWS_REQUEST_ID", "1")
    urllib.request.urlopen(f"http://{address}/2018-06-01/runtime/invocation/{request}/response", data=b"{}")
