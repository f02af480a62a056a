"""What a dead letter says of itself, as far as it can be read: for a line of the log. Pure, and total."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from worker.contract.partition import bound_by, name_of

MOST_BYTES: Final = 64 * 1024
"""Of a body that is read once more; a larger one is named by its place in the stream alone."""
MOST_CHARACTERS: Final = 128
"""Of each name."""


class LooseEvent(NamedTuple):
    """Id and tenant of an event that could not be taken; None for what it does not say."""

    event_id: str | None
    tenant: str | None


class _Loose(msgspec.Struct, frozen=True, gc=False):
    event_id: object = None
    tenant_id: object = None


_decode: Final = msgspec.json.Decoder(_Loose).decode


def loose_event(prefix: str, subject: str, body: bytes) -> LooseEvent:
    """Return what the bytes of an event say, whatever they are.

    The subject goes first for the tenant: the broker has checked who may publish on it. `prefix` is that of the input.
    """
    said = _read(body) if len(body) <= MOST_BYTES else _Loose()
    bound = bound_by(prefix, subject).tenant
    tenant = name_of(bound) or bound if bound else _text(said.tenant_id)
    return LooseEvent(_text(said.event_id), tenant)


def _read(body: bytes) -> _Loose:
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Loose()


def _text(value: object) -> str | None:
    return value[:MOST_CHARACTERS] if isinstance(value, str) and value else None
