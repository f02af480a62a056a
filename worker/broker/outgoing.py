"""Recorded events as the messages that a producer would publish. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from worker.broker.window import Outgoing
from worker.contract.partition import event_subject, raw_subject, shared_subject, token

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class _Head(msgspec.Struct, frozen=True):
    """The fields of an event that its subject and message id need."""

    event_id: str
    event_type: str
    user_id: str
    tenant_id: str


_head = msgspec.json.Decoder(_Head)
_heads = msgspec.json.Decoder(list[_Head])


def outgoing(lines: Iterable[bytes], prefix: str, *, dedup: bool = True) -> Iterator[Outgoing]:
    """Yield a message for each line; `dedup` gives each the id by which the broker drops copies.

    An array whose events are all of one tenant goes to `<prefix>.<tenant>.~batch.batch`. Other arrays, and what is no
    event, go to `<prefix>.raw`, which names no tenant: the worker judges them.
    """
    for line in lines:
        head = _read_head(line)
        if head is None:
            tenant = _tenant_of(line)
            yield Outgoing(raw_subject(prefix) if tenant is None else shared_subject(prefix, tenant), line)
            continue
        subject = event_subject(prefix, head.tenant_id, head.user_id, head.event_type)
        yield Outgoing(subject, line, message_id(head.tenant_id, head.event_id) if dedup else None)


def _read_head(line: bytes) -> _Head | None:
    """Return what a subject is made from, None if there is no subject: its tokens may not be empty."""
    try:
        head = _head.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return head if head.tenant_id and head.user_id and head.event_type else None


def _tenant_of(line: bytes) -> str | None:
    """Return the tenant of an array's events, None if they have several, or one of them is no event."""
    try:
        tenants = {head.tenant_id for head in _heads.decode(line)}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return tenants.pop() or None if len(tenants) == 1 else None


def message_id(tenant: str, event: str) -> str | None:
    """Return the `Nats-Msg-Id` of an event, None if it gets none. It begins with the tenant, to keep tenants apart.

    The tenant is written as in a subject, without a colon, so that the first colon ends it. A header cannot carry line
    breaks, or white space at its ends; an event with such an id gets no message id, and the ledger drops its copies.
    """
    text = f"{token(tenant)}:{event}"
    plain = text.isascii() and text.isprintable() and text == text.strip()
    return text if plain else None
