"""Removing an erased user's messages from the broker's streams: their events, and the announcements of their unlocks.

Tokens of subjects are exact, so a purge by `<prefix>.<tenant>.<user>.>` finds no other user's. The announcements of a
team of the same name stand on subjects of the same form: each is read, and goes where its scope is `user`. What is gone
leaves room for a second announcement on its subject, and none comes: the unlock is gone from the database, and the
tombstone keeps out the events that could earn it again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from nats.errors import Error as NatsError

from worker.broker.connection import connected_once, said_by
from worker.broker.streams import REQUEST_SECONDS, BrokerAwayError
from worker.contract.partition import token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nats.aio.client import Client

    from worker.settings import Settings

_MISSING: Final = frozenset({"stream not found", "no message found"})


CONNECT_SECONDS: Final = 5
"""For one server to take a connection."""


class Purged(NamedTuple):
    """Messages that are gone from the streams."""

    events: int
    announcements: int


class PurgeRefusedError(Exception):
    """The broker does not let messages be removed; the message says what it said."""


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
    try:
        async with connected_once(settings, seconds=CONNECT_SECONDS) as client:
            address = f"{token(tenant)}.{token(user)}"
            events = 0
            for subjects in (f"{settings.input_prefix}.{address}", f"{settings.input_prefix}.{address}.>"):
                events += await _purge(client, settings.input_stream, subjects)
            filtered = f"{settings.unlock_prefix}.{address}.>"
            announcements = 0
            for subject in await _subjects(client, settings.unlock_stream, filtered):
                if await _is_of(client, settings.unlock_stream, subject, tenant, user):
                    announcements += await _purge(client, settings.unlock_stream, subject)
    except (NatsError, OSError, TimeoutError) as error:
        raise BrokerAwayError(said_by(error)) from error
    return Purged(events, announcements)


async def _purge(client: Client, stream: str, subjects: str) -> int:
    answer = await _ask(client, f"STREAM.PURGE.{stream}", {"filter": subjects})
    return int(answer.get("purged", 0))


async def _subjects(client: Client, stream: str, subjects: str) -> list[str]:
    """Return the subjects of a stream's messages that a filter lets pass, however many."""
    found: dict[str, int] = {}
    more = True
    while more:
        asked = {"subjects_filter": subjects, "offset": len(found)}
        answer = await _ask(client, f"STREAM.INFO.{stream}", asked)
        page: dict[str, int] = answer.get("state", {}).get("subjects") or {}
        known = len(found)
        found.update(page)
        more = known < len(found) < int(answer.get("total", 0))
    return sorted(found)


async def _is_of(client: Client, stream: str, subject: str, tenant: str, user: str) -> bool:
    """Tell whether what was announced on a subject is a user's; a team may have the same name."""
    answer = await _ask(client, f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject})
    try:
        said = _announced.decode(msgspec.json.decode(json.dumps(answer["message"]["data"]), type=bytes))
    except (KeyError, TypeError, msgspec.DecodeError):
        return False
    return (said.scope, said.tenant_id, said.subject) == ("user", tenant, user)


async def _ask(client: Client, what: str, asked: Mapping[str, object]) -> dict[str, Any]:
    """Ask the API of JetStream; {} where there is no such stream or message."""
    message = await client.request(f"$JS.API.{what}", json.dumps(asked).encode(), timeout=REQUEST_SECONDS)
    answer: dict[str, Any] = json.loads(message.data)
    fault = answer.get("error")
    if fault is None:
        return answer
    said = str(fault.get("description", ""))
    if said in _MISSING:
        return {}
    raise PurgeRefusedError(f"stream {what.rpartition('.')[2]}: {said}")
