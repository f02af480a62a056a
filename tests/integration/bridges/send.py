"""Sends lines of standard input to a bus: `kafka ADDRESS TOPIC` or `sqs URL`. The bus is made first."""

from __future__ import annotations

import sys


def kafka(address: str, topic: str) -> None:
    from confluent_kafka import Producer  # noqa: PLC0415  # pyright: ignore[reportMissingImports]
    from confluent_kafka.admin import AdminClient, NewTopic  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    admin = AdminClient({"bootstrap.servers": address})
    for made in admin.create_topics([NewTopic(topic, 1, 1)]).values():
        made.result(30)
    producer = Producer({"bootstrap.servers": address})
    for line in sys.stdin:
        producer.produce(topic, value=line.rstrip("\n"))
        # One after the other: the broker of these tests counts a batch as one message in its offsets.
        assert producer.flush(30) == 0


def sqs(address: str) -> None:
    import boto3  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    client = boto3.client("sqs", endpoint_url=address, region_name="eu-central-1")
    url = client.create_queue(QueueName="lessons")["QueueUrl"]
    for line in sys.stdin:
        client.send_message(QueueUrl=url, MessageBody=line.rstrip("\n"))
    print(url)


if __name__ == "__main__":
    {"kafka": kafka, "sqs": sqs}[sys.argv[1]](*sys.argv[2:])
