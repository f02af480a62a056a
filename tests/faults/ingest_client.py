"""A sender that may be killed: batches of events over HTTP, each again until it is answered with 202.

`python -m tests.faults.ingest_client ADDRESS KEY NOTES` sends without end. It notes the number of each batch that was
taken, and begins behind those: what it had sent and not noted when it was killed, it sends again.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import httpx

from tests.integration.engine import event

if TYPE_CHECKING:
    from collections.abc import Iterator

LANES: Final = 3
"""Batches that are under way at a time."""
EVENTS: Final = 20
"""In a batch."""
PAUSE: Final = 0.05
"""Before the same is sent again; the answer may ask for more, and a test has no time for that."""
SECONDS: Final = 10.0


def events_of(batch: int) -> list[dict[str, Any]]:
    """Return the events of a batch: the same ones whenever it is sent."""
    return [event(batch % 1000, user=f"u{each % 7}", id=f"{batch}-{each}", at=each) for each in range(EVENTS)]


def ids_of(batch: int) -> Iterator[str]:
    """Yield the ids that a batch has in the ledger."""
    for one in events_of(batch):
        yield f"client#{one['event_id']}" if batch % LANES == 2 else one["event_id"]


def content_of(batch: int) -> tuple[str, bytes]:
    """Return the media type and the body of a batch: each lane has a form of its own."""
    events = events_of(batch)
    match batch % LANES:
        case 0:
            return "application/json", json.dumps(events).encode()
        case 1:
            return "application/x-ndjson", b"\n".join(json.dumps(one).encode() for one in events)
        case _:
            return "application/cloudevents-batch+json", json.dumps([_cloud_event(one) for one in events]).encode()


def _cloud_event(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": one["event_id"],
        "source": "client",
        "type": one["event_type"],
        "subject": one["user_id"],
        "time": one["occurred_at"],
        "data": one["payload"],
    }


def taken(notes: Path) -> list[int]:
    """Return the batches that were taken; the last line of a sender that was killed may be cut."""
    lines = notes.read_bytes().split(b"\n")[:-1] if notes.exists() else []
    return [int(line) for line in lines if line.isdigit()]


async def _send(client: httpx.AsyncClient, notes: Path, lane: int) -> None:
    batch = max((one for one in taken(notes) if one % LANES == lane), default=lane - LANES) + LANES
    while True:
        kind, body = content_of(batch)
        status = 0
        with suppress(httpx.HTTPError):
            answer = await client.post("/v1/events", content=body, headers={"Content-Type": kind})
            status = answer.status_code
        if status == 202:
            with notes.open("ab", buffering=0) as file:
                file.write(b"%d\n" % batch)
            batch += LANES
        elif status in {0, 503}:
            await anyio.sleep(PAUSE)
        else:
            raise AssertionError(f"{status} for batch {batch}")


async def main(address: str, key: str, notes: Path) -> None:
    """Send until killed."""
    if notes.exists() and not notes.read_bytes().endswith(b"\n"):
        with notes.open("ab") as file:
            file.write(b"\n")
    async with (
        httpx.AsyncClient(base_url=address, headers={"Authorization": f"Bearer {key}"}, timeout=SECONDS) as client,
        anyio.create_task_group() as tasks,
    ):
        for lane in range(LANES):
            tasks.start_soon(_send, client, notes, lane)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2], Path(sys.argv[3]))
