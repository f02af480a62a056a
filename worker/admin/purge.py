"""Removing an erased user's messages from the broker's streams: their events, and the announcements of their unlocks.

Tokens of subjects are exact, so a purge by `<prefix>.<tenant>.<user>.>` finds no other user's. A team of the same name
has announcements on subjects of the same form: each is read, and is removed if its scope is `user`. A removed
announcement leaves its subject empty, and no second one comes while the tombstone keeps out the events that could earn
the unlock again.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import msgspec

from worker.broker.api import ApiError, ask, last_message
from worker.broker.errors import OUT_OF_REACH, BrokerAwayError, in_words
from worker.broker.once import connected_once
from worker.contract.partition import token

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from worker.broker.client import BrokerClient
    from worker.settings import Settings

T = TypeVar("T")

CONNECT_SECONDS: Final = 5
"""For one server to take a connection."""


class Purged(NamedTuple):
    """Messages that are gone from the streams."""

    events: int
    announcements: int


class PurgeRefusedError(Exception):
    """The broker does not let messages be removed; the message has its words."""


class _Count(msgspec.Struct):
    purged: int = 0


class _State(msgspec.Struct):
    subjects: dict[str, int] | None = None


class _Info(msgspec.Struct):
    state: _State = msgspec.field(default_factory=_State)
    total: int = 0


class _Announced(msgspec.Struct):
    scope: str = ""
    tenant_id: str = ""
    subject: str = ""


_announced: Final = msgspec.json.Decoder(_Announced)


async def purge_streams(settings: Settings, tenant: str, user: str) -> Purged:
    """Remove a user's events and the announcements of their unlocks. Doing it again is harmless.

    Raises:
        BrokerAwayError: the broker did not answer; some of it may be done.
        PurgeRefusedError: a stream does not allow it; some of it may be done.
    """
    async with _client(settings) as client:
        address = f"{settings.input_prefix}.{token(tenant)}.{token(user)}"
        events = 0
        for subjects in (address, f"{address}.>"):
            events += await _purge(client, settings.input_stream, subjects)
        return Purged(events, await _purge_announcements(client, settings, tenant, user))


async def purge_announcements(settings: Settings, tenant: str, user: str) -> int:
    """Remove the announcements of a user's unlocks; return how many. Doing it again is harmless.

    Raises:
        BrokerAwayError, PurgeRefusedError: as in `purge_streams`.
    """
    async with _client(settings) as client:
        return await _purge_announcements(client, settings, tenant, user)


async def purge_all_announcements(settings: Settings) -> int:
    """Remove every announcement of private servers; return how many.

    Raises:
        BrokerAwayError, PurgeRefusedError: as in `purge_streams`.
    """
    async with _client(settings) as client:
        return await _purge(client, settings.unlock_stream, f"{settings.unlock_prefix}.>")


@asynccontextmanager
async def _client(settings: Settings) -> AsyncGenerator[BrokerClient]:
    try:
        async with connected_once(settings, seconds=CONNECT_SECONDS) as client:
            yield client
    except ApiError as error:
        raise PurgeRefusedError(f"stream {error.what.rpartition('.')[2]}: {error.fault.description}") from error
    except OUT_OF_REACH as error:
        raise BrokerAwayError(in_words(error)) from error


async def _purge_announcements(client: BrokerClient, settings: Settings, tenant: str, user: str) -> int:
    stream, found = settings.unlock_stream, f"{settings.unlock_prefix}.{token(tenant)}.{token(user)}.>"
    purged = 0
    for subject in await _subjects(client, stream, found):
        if await _is_of(client, stream, subject, tenant, user):
            purged += await _purge(client, stream, subject)
    return purged


async def _purge(client: BrokerClient, stream: str, subjects: str) -> int:
    return (await _ask(client, f"STREAM.PURGE.{stream}", _Count(), {"filter": subjects})).purged


async def _subjects(client: BrokerClient, stream: str, subjects: str) -> list[str]:
    """Return the subjects of a stream that a filter lets pass, however many."""
    found: set[str] = set()
    more = True
    while more:
        asked = {"subjects_filter": subjects, "offset": len(found)}
        page = await _ask(client, f"STREAM.INFO.{stream}", _Info(), asked)
        known = len(found)
        found.update(page.state.subjects or ())
        more = known < len(found) < page.total
    return sorted(found)


async def _is_of(client: BrokerClient, stream: str, subject: str, tenant: str, user: str) -> bool:
    """Tell whether the announcement on a subject is a user's; a team may have the same name."""
    there = await last_message(client, stream, subject)
    try:
        said = _announced.decode(b"" if there is None else there.data)
    except msgspec.DecodeError:
        return False
    return (said.scope, said.tenant_id, said.subject) == ("user", tenant, user)


async def _ask(client: BrokerClient, what: str, missing: T, asked: Mapping[str, object]) -> T:
    """Ask JetStream, for an answer of the type of `missing`; return that if there is no such stream."""
    try:
        return await ask(client, what, type(missing), asked)
    except ApiError as error:
        if error.is_missing:
            return missing
        raise
