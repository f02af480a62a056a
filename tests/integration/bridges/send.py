"""Sends lines of standard input to a bus: `kafka ADDRESS TOPIC` or `sqs ADDRESS`. Topic and queue are made first."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any


def kafka(address: str, topic: str) -> None:
    client: Any = import_module("confluent_kafka")
    admin: Any = import_module("confluent_kafka.admin")
    where = {"bootstrap.servers": address}
    administrator = admin.AdminClient(where)
    if topic not in administrator.list_topics(timeout=10).topics:
        for made in administrator.create_topics([admin.NewTopic(topic, 1, 1)]).values():
            made.result(30)
    producer = client.Producer(where)
    for line in sys.stdin:
        producer.produce(topic, value=line.rstrip("\n"))
        # One after the other: the broker of these tests counts a batch as one message in its offsets.
        if producer.flush(30):
            raise TimeoutError(address)


def sqs(address: str) -> None:
    client: Any = import_module("boto3").client("sqs", endpoint_url=address, region_name="eu-central-1")
    url: str = client.create_queue(QueueName="lessons")["QueueUrl"]
    for line in sys.stdin:
        client.send_message(QueueUrl=url, MessageBody=line.rstrip("\n"))


if __name__ == "__main__":
    {"kafka": kafka, "sqs": sqs}[sys.argv[1]](*sys.argv[2:])
