"""Publishes events to JetStream: pip install nats-py; NATS_URL=... python publish.py"""

import asyncio
import json
import os
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import nats
from nats.errors import TimeoutError as NoAnswer
from nats.js.client import JetStreamContext
from nats.js.errors import APIError, NoStreamResponseError


def event_subject(tenant: str, user: str, event_type: str) -> str:
    """Return the subject of an event. ValueError: no event may have such a name."""
    for name in (tenant, user, event_type):
        if not 0 < len(name.encode()) <= 512:
            raise ValueError(f"expected 1 to 512 bytes of UTF-8: {name!r}")
    parts = event_type.split(".")
    end = ".".join(map(token, parts)) if all(parts) else token(event_type)
    return f"events.{token(tenant)}.{token(user)}.{end}"


def message_id(tenant: str, event_id: str) -> str | None:
    """Return the Nats-Msg-Id of an event; None where its id fits into no header."""
    text = f"{token(tenant)}:{event_id}"
    return text if text.isascii() and text.isprintable() and text == text.strip() else None


def token(name: str) -> str:
    encoded = quote(name, safe="").replace(".", "%2E").replace("~", "%7E")
    return encoded if len(encoded) <= 120 else "~" + blake2b(name.encode(), digest_size=16).hexdigest()


async def publish(js: JetStreamContext, event: dict[str, Any]) -> None:
    """Publish one event; return once the stream has it."""
    subject = event_subject(event["tenant_id"], event["user_id"], event["event_type"])
    known_as = message_id(event["tenant_id"], event["event_id"])
    await send(js, subject, event, {"Nats-Msg-Id": known_as} if known_as else None)


async def publish_many(js: JetStreamContext, tenant: str, events: list[dict[str, Any]]) -> None:
    """Publish events of any users of one tenant as one message of at most 1 MiB."""
    await send(js, f"events.{token(tenant)}.~batch.batch", events, None)


async def send(js: JetStreamContext, subject: str, body: Any, headers: dict[str, str] | None) -> None:
    delay = 0.1
    while True:
        try:
            await js.publish(subject, json.dumps(body).encode(), headers=headers)
            return
        except (APIError, NoAnswer, NoStreamResponseError):
            # It may have arrived or not: the same ids again do no harm.
            await asyncio.sleep(delay)
            delay = min(2 * delay, 10)


async def main() -> None:
    client = await nats.connect(os.environ.get("NATS_URL", "nats://localhost:4222"))
    event = {
        "event_id": str(uuid4()),  # made once, and kept over retries
        "event_type": "lesson.completed",
        "user_id": "ann@example.com",
        "tenant_id": "acme.io",
        "occurred_at": datetime.now(UTC).isoformat(),
        "source": "app",
        "payload": {"lesson_id": "l1", "duration_seconds": 600},
    }
    js = client.jetstream()
    await publish(js, event)
    await publish_many(js, "acme.io", [{**event, "event_id": str(uuid4()), "user_id": name} for name in ("ben", "zoë")])
    await client.drain()


if __name__ == "__main__":
    asyncio.run(main())
