"""Webhooks of others that sign as Standard Webhooks says: verified, and made an event by a few paths. Pure.

The id of a webhook is the id of its event: a copy, or a replay by a third party, counts once.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING, Final

import msgspec

from dsl.calendar import format_instant
from worker.contract.fields import MAX_ID_BYTES, SPACE
from worker.ingest.problems import EventsError, Flaw
from worker.notify.signature import signed_headers
from worker.serve.problems import UnauthorizedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.ingest.config import Webhook

TOLERANCE_SECONDS: Final = 300
"""That the timestamp of an attempt may differ from our clock."""
MOST_SIGNATURES: Final = 10
MOST_DIGITS: Final = 12
_BAD: Final = "the webhook is not signed by a secret that is known here"
_HINT: Final = "Sign as Standard Webhooks says, with a secret of this webhook, and the time of this attempt."
_MICROSECONDS: Final = 1_000_000
_LAST_SECOND: Final = 253_402_300_799
"""Of the year 9999."""

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_text = msgspec.json.Decoder(str | int).decode


class _Envelope(msgspec.Struct, omit_defaults=True):
    event_id: str
    event_type: str
    user_id: str
    tenant_id: str
    occurred_at: str
    source: str
    payload: msgspec.Raw


def verified_id(webhook: Webhook, headers: Mapping[str, str], body: bytes, now: int) -> str:
    """Return the id of a webhook that one of its secrets has signed; `now` in seconds.

    Raises:
        UnauthorizedError: none has, or at another time.
    """
    found = (headers.get(name, "") for name in ("webhook-id", "webhook-timestamp", "webhook-signature"))
    webhook_id, timestamp, given = found
    if not webhook_id or not (timestamp.isascii() and timestamp.isdigit()) or len(timestamp) > MOST_DIGITS:
        raise UnauthorizedError(_BAD, _HINT)
    expected = signed_headers(webhook.keys, webhook_id, int(timestamp), body)["webhook-signature"].split(" ")
    signatures = given.split(" ")[:MOST_SIGNATURES]
    if not any(_are_equal(one, other) for one in signatures for other in expected):
        raise UnauthorizedError(_BAD, _HINT)
    if abs(int(timestamp) - now) > TOLERANCE_SECONDS:
        raise UnauthorizedError(f"the webhook was signed more than {TOLERANCE_SECONDS} s from now", _HINT)
    return webhook_id


def _are_equal(one: str, other: str) -> bool:
    return compare_digest(one.encode(errors="replace"), other.encode())


def envelope_of(name: str, webhook: Webhook, webhook_id: str, body: bytes) -> bytes:
    """Return our envelope for a webhook; `name` becomes its source.

    Raises:
        EventsError: the body has not what the paths of the configuration lead to.
    """
    if not 1 <= len(webhook_id.encode(errors="replace")) <= MAX_ID_BYTES:
        raise _error("webhook-id", f"expected 1 to {MAX_ID_BYTES} bytes")
    kind = webhook.event_type if webhook.type is None else _said(body, webhook.type)
    payload = body.strip(SPACE.encode()) if webhook.payload is None else bytes(_at(body, webhook.payload))
    if not payload.startswith(b"{"):
        raise _error(webhook.payload or "body", "expected an object")
    envelope = _Envelope(
        event_id=webhook_id,
        event_type=kind or "",
        user_id=_said(body, webhook.user),
        tenant_id=webhook.tenant,
        occurred_at=_instant(body, webhook.time),
        source=name,
        payload=msgspec.Raw(payload),
    )
    return msgspec.json.encode(envelope)


def _said(body: bytes, path: str) -> str:
    """Return a text, or a whole number as text."""
    try:
        return str(_text(_at(body, path)))
    except (msgspec.DecodeError, ValueError):
        raise _error(path, "expected a text or a whole number") from None


def _instant(body: bytes, path: str) -> str:
    try:
        said = _text(_at(body, path))
    except (msgspec.DecodeError, ValueError):
        said = ""
    if isinstance(said, str):
        return said  # the contract looks at it
    if not 0 <= said <= _LAST_SECOND:
        raise _error(path, "expected an instant of RFC 3339, or whole seconds since 1970")
    return format_instant(said * _MICROSECONDS)


def _at(body: bytes, path: str) -> msgspec.Raw:
    """Return the JSON at a path, as it is written."""
    found = msgspec.Raw(body)
    for name in path.split("."):
        try:
            found = _fields(found)[name]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
            raise _error(path, "missing") from None
    return found


def _error(field: str, detail: str) -> EventsError:
    return EventsError([Flaw(0, detail, "Does the configuration of this webhook fit what is sent?", field)])
