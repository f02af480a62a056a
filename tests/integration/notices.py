"""Announcements on a real stream, and a notifier beside a test."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid5

import anyio
import anyio.lowlevel
import nats
from nats.js.errors import NotFoundError

from tests.integration.engine import PATIENCE
from worker.broker.connection import Connection
from worker.engine.announcement import (
    Claimed,
    Correction,
    Words,
    announcement,
    correction,
    correction_subject,
    unlock_subject,
)
from worker.notify.endpoints import read_endpoints
from worker.notify.service import Ways, consumer_of, run
from worker.notify.stats import NotifyStats

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
    from pathlib import Path

    from worker.broker.durable import ConsumerState
    from worker.notify.endpoints import Endpoint
    from worker.settings import Settings
    from worker.traces.spans import Spans

SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # of the examples of Standard Webhooks
ENVIRONMENT: Final = {"SECRET": SECRET}
_NAMES: Final = UUID("0c5c7f1e-6a8e-4d59-9f4f-000000000000")
NOW: Final = 1_776_000_000_000_000


def claimed(number: int, *, subject: str = "u1", origin: str = "live", tenant: str = "t1") -> Claimed:
    """Return the unlock of a number."""
    return Claimed(
        unlock_id=uuid5(_NAMES, str(number)),
        tenant_id=tenant,
        scope="user",
        subject=subject,
        achievement=f"a{number}",
        tier="",
        occurrence="",
        version=1,
        earned_at=NOW,
        event_id=f"e{number}",
        granted_at=NOW,
        reward='{"xp": 10}',
        origin=origin,
    )


def revoked(one: Claimed, revision: int = 2) -> Correction:
    """Return the revocation of an unlock."""
    return Correction(
        unlock_id=one.unlock_id,
        revision=revision,
        kind="revoked",
        tenant_id=one.tenant_id,
        scope=one.scope,
        subject=one.subject,
        achievement=one.achievement,
        tier=one.tier,
        occurrence=one.occurrence,
        origin=one.origin,
        granted_at=one.granted_at,
        reward=one.reward,
        status_before="granted",
        status="revoked",
        version_before=1,
        version=1,
        earned_before=NOW,
        earned_at=NOW,
        event_before=one.event_id,
        event_id=one.event_id,
        by_hand_before=False,
        by_hand=False,
        actor="ann",
        reason="cheated",
        decided_at=NOW,
        withheld=False,
    )


def message_of(settings: Settings, one: Claimed | Correction) -> tuple[str, bytes]:
    """Return subject and body of an announcement."""
    if isinstance(one, Correction):
        return correction_subject(settings.unlock_prefix, one), correction(one)
    name = str(one.unlock_id)
    return unlock_subject(settings.unlock_prefix, one, name), announcement(one, name, Words())


async def make_stream(settings: Settings) -> None:
    """Make the stream of announcements, as a worker does."""
    client = await nats.connect(settings.nats_url)
    try:
        jetstream = client.jetstream()
        try:
            await jetstream.stream_info(settings.unlock_stream)
        except NotFoundError:
            await jetstream.add_stream(name=settings.unlock_stream, subjects=[f"{settings.unlock_prefix}.>"])
    finally:
        await client.close()


async def publish(settings: Settings, *many: Claimed | Correction | tuple[str, bytes]) -> None:
    """Publish announcements in order, or other messages by subject and body."""
    client = await nats.connect(settings.nats_url)
    try:
        jetstream = client.jetstream(publish_async_max_pending=1000)
        for one in many:
            subject, body = message_of(settings, one) if isinstance(one, Claimed | Correction) else one
            await jetstream.publish_async(subject, body)
        await jetstream.publish_async_completed()
    finally:
        await client.close()


def endpoint(port: int, name: str = "app", more: str = "") -> str:
    """Return an endpoint of the file that names a receiver on this machine."""
    return f"""
[endpoint.{name}]
url = "http://hooks.example:{port}/{name}"
secret = {{ env = "SECRET" }}
insecure = true
allow_networks = ["127.0.0.0/8"]
{more}
"""


def endpoints(folder: Path, *texts: str) -> Sequence[Endpoint]:
    """Return the endpoints of some texts."""
    path = folder / "notify.toml"
    path.write_text("\n".join(texts), encoding="utf-8")
    return read_endpoints(path, ENVIRONMENT)


async def here(host: str, port: int) -> list[str]:
    """Resolve every name to this machine."""
    del host, port
    await anyio.lowlevel.checkpoint()
    return ["127.0.0.1"]


class Notified(NotifyStats):
    """Stats that can be waited for."""

    async def reach(self, endpoint: str, name: str, number: int) -> None:
        """Wait until a count has come so far."""
        with anyio.fail_after(PATIENCE):
            while self.count(endpoint, name) < number:  # noqa: ASYNC110 - counts have no signal
                await anyio.sleep(0.01)

    def count(self, endpoint: str, name: str) -> int:
        """Return a count of attempts by outcome, or of another kind."""
        one = self.endpoints[endpoint]
        return int(getattr(one, name)) if hasattr(one, name) else one.attempts[name]


@asynccontextmanager
async def notifier(
    settings: Settings, chosen: Iterable[Endpoint], spans: Spans | None = None
) -> AsyncGenerator[Notified]:
    """Run a notifier beside a block, from when every endpoint has its consumer, and stop it behind the block."""
    chosen = [*chosen]
    stats, stop, ready = Notified(one.name for one in chosen), anyio.Event(), anyio.Event()
    async with anyio.create_task_group() as tasks:

        async def work() -> None:
            await run(settings, chosen, stop=stop, stats=stats, ways=Ways(here, ready.set), spans=spans)

        tasks.start_soon(work)
        with anyio.fail_after(PATIENCE):
            await ready.wait()
        yield stats
        stop.set()


async def state_of(settings: Settings, name: str = "app") -> ConsumerState | None:
    """Return what the broker knows of an endpoint's consumer."""
    connection = Connection(settings)
    await connection.open()
    try:
        return await consumer_of(lambda: connection.client, settings, name).state()
    finally:
        await connection.close()


async def until_state(settings: Settings, fits: Callable[[ConsumerState], bool], name: str = "app") -> ConsumerState:
    """Wait until the state of an endpoint's consumer fits."""
    with anyio.fail_after(PATIENCE):
        while True:
            state = await state_of(settings, name)
            if state is not None and fits(state):
                return state
            await anyio.sleep(0.05)
