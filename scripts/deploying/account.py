"""Who deploys, and where to: credentials, region, endpoint."""

import os
import re
import sys

import boto3
from botocore import exceptions as boto
from botocore.config import Config

from .trouble import Trouble, of

LOOPBACK = re.compile(r"^https?://(127\.0\.0\.1|localhost|\[::1\])(:|/|$)")


def say(text: str) -> None:
    """For people: standard output is kept for what programs read."""
    print(text, file=sys.stderr, flush=True)


class Account:
    """One account and region, on AWS or on an emulator."""

    def __init__(self, region: str | None, endpoint: str | None):
        self.endpoint = endpoint
        self.default_credentials = False
        if endpoint:
            os.environ["AWS_ENDPOINT_URL"] = endpoint
            keyless = not os.environ.get("AWS_ACCESS_KEY_ID") and not os.environ.get("AWS_PROFILE")
            # Emulators take any key; never send them a real one that happens to lie around.
            if LOOPBACK.match(endpoint) and keyless:
                os.environ["AWS_ACCESS_KEY_ID"] = os.environ["AWS_SECRET_ACCESS_KEY"] = "test"
                self.default_credentials = True
        try:
            session = boto3.Session()
            found = region or os.environ.get("AWS_REGION") or session.region_name
            self.region = found or ("us-east-1" if endpoint else None)
            if not self.region:
                raise Trouble("no region: give --region, or set AWS_REGION")
            self._check_region(session)
            self.session = boto3.Session(region_name=self.region)
        except boto.BotoCoreError as error:
            raise of(error, "reading the AWS settings") from error
        # Few tries: a person waits for the answer.
        self._config = Config(retries={"mode": "standard", "max_attempts": 4}, connect_timeout=10)
        self._clients: dict = {}
        try:
            who = self.client("sts").get_caller_identity()
        except (boto.BotoCoreError, boto.ClientError) as error:
            where = endpoint or f"AWS in {self.region}"
            trouble = of(error, f"asking {where} who you are")
            raise Trouble(f"no usable credentials for {where}: {trouble}") from error
        self.id, self.arn = who["Account"], who["Arn"]

    def _check_region(self, session: boto3.Session) -> None:
        if self.endpoint:
            return
        known = {
            name
            for partition in session.get_available_partitions()
            for name in session.get_available_regions("cloudformation", partition)
        }
        if known and self.region not in known:
            raise Trouble(
                f"there is no region {self.region}\n  give --region one of: {', '.join(sorted(known))}"
            )

    def introduce(self, prefix: str) -> None:
        """Says what is worked on: a wrong account or region is seen at once."""
        where = f", endpoint {self.endpoint}" if self.endpoint else ""
        say(f"Account {self.id}, region {self.region}{where}, prefix {prefix}")

    def client(self, service: str):
        """A client of the service, made once."""
        if service not in self._clients:
            self._clients[service] = self.session.client(service, config=self._config)
        return self._clients[service]
