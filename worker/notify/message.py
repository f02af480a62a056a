"""Announcements as deliveries: which endpoint wants one, and the body that it gets. Pure.

The body of a delivery is the same however often it is sent: it is made of the announcement and of the time at which
the broker stored it, and of nothing else.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dsl.calendar import format_instant
from worker.contract.partition import token
from worker.contract.trace import trace_of_headers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.contract.message import Message
    from worker.contract.trace import Trace
    from worker.notify.endpoints import Wanted

PLAIN: Final = "und"
"""Language of a title that has none."""
_FORGETTING: Final = frozenset({"erased", "withheld"})
"""Kinds whose deliveries are logged without the subject: its user is gone, or may be."""


class Announced(msgspec.Struct):
    """What an announcement says, as far as the notifier has to know."""

    kind: str
    revision: int
    unlock_id: str
    tenant_id: str
    scope: str
    subject: str
    achievement: str
    tier: str | None = None
    occurrence: str | None = None
    origin: str | None = None
    title: dict[str, str] | None = None
    about: str | None = None
    status: str = ""
    renamed_from: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What the achievement is called and, where it was renamed, its first name, which its subjects have."""
        return (self.achievement,) if self.renamed_from is None else (self.achievement, self.renamed_from)


class Item(NamedTuple):
    """One announcement, with what the broker knows of it."""

    announced: Announced
    body: bytes
    stored_at: int
    """Microseconds since the epoch, of the broker."""
    seq: int
    trace: Trace | None = None
    """Of the event that earned the unlock."""

    @property
    def subject(self) -> tuple[str, str, str]:
        """Tenant, scope and subject."""
        return self.announced.tenant_id, self.announced.scope, self.announced.subject


class Delivery(NamedTuple):
    """What is sent in one request."""

    id: str
    """The same for each copy."""
    type: str
    body: bytes
    items: tuple[Item, ...]
    """One, or those of a digest in the order of the stream."""

    @property
    def user(self) -> tuple[str, str, str] | None:
        """Tenant, scope and subject for the log; None where the log must not name it."""
        if any(item.announced.kind in _FORGETTING for item in self.items):
            return None
        return self.items[0].subject


_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_decode: Final = msgspec.json.Decoder(Announced).decode
_raw: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode: Final = msgspec.json.Encoder().encode


def read_item(message: Message, prefix: str) -> Item | None:
    """Return the announcement that a message holds; None for anything else that has come to the stream.

    A permission to publish is one for subjects: an announcement counts on the subject of its own unlock alone. The
    broker itself writes other things there, where a producer asks for its answer on such a subject.
    """
    try:
        said = _decode(message.body)
    except (msgspec.DecodeError, RecursionError):
        return None
    if _UUID.fullmatch(said.unlock_id) is None:  # it becomes a header
        return None
    tokens = (token(said.tenant_id), token(said.subject), token(said.names[-1]), said.unlock_id)
    own = ".".join((prefix, *tokens))
    if message.subject != (own if said.revision == 1 else f"{own}.{said.revision}"):
        return None
    return Item(said, message.body, message.sent_at, message.seq, trace_of_headers(message.block))


def is_wanted(said: Announced, wanted: Wanted) -> bool:
    """Tell whether an endpoint gets an announcement. One without an origin (`erased`, `withheld`) has any."""
    if wanted.tenants is not None and said.tenant_id not in wanted.tenants:
        return False
    if said.kind not in wanted.kinds or (said.origin is not None and said.origin not in wanted.origins):
        return False
    if wanted.achievements is None:
        return True
    return any(one in wanted.achievements or f"{one}.{said.tier}" in wanted.achievements for one in said.names)


def webhook_id(said: Announced) -> str:
    """Return the id of a delivery: that of the unlock, with the revision where it is a correction."""
    return said.unlock_id if said.revision == 1 else f"{said.unlock_id}_{said.revision}"


def single(item: Item, languages: Sequence[str] | None = None) -> Delivery:
    """Return the delivery of one announcement."""
    said = item.announced
    kind = f"unlock.{said.kind}"
    body = _body(kind, item.stored_at, msgspec.Raw(_in_languages(item, languages)))
    return Delivery(webhook_id(said), kind, body, (item,))


def digest(items: Sequence[Item], languages: Sequence[str] | None = None) -> Delivery:
    """Return one delivery of several announcements of a subject, in their order; of one alone, as `single` does."""
    if len(items) == 1:
        return single(items[0], languages)
    ids = "\0".join(webhook_id(item.announced) for item in items)
    name = f"digest_{blake2b(ids.encode(), digest_size=16).hexdigest()}"
    first = items[0].announced
    unlocks = [{"type": f"unlock.{item.announced.kind}", "id": webhook_id(item.announced)} for item in items]
    data = {
        "tenant_id": first.tenant_id,
        "scope": first.scope,
        "subject": first.subject,
        "user_id": first.subject if first.scope == "user" else None,
        "unlocks": [
            {**about, "data": msgspec.Raw(_in_languages(item, languages))}
            for about, item in zip(unlocks, items, strict=True)
        ],
    }
    body = _body("unlock.digest", items[-1].stored_at, msgspec.Raw(_encode(data)))
    return Delivery(name, "unlock.digest", body, tuple(items))


def _body(kind: str, stored_at: int, data: msgspec.Raw) -> bytes:
    return _encode({"type": kind, "timestamp": format_instant(stored_at), "data": data})


def _in_languages(item: Item, languages: Sequence[str] | None) -> bytes:
    """Return an announcement whose title is in some languages alone; every other byte stays."""
    title = item.announced.title
    if languages is None or title is None:
        return item.body
    chosen = {language: title[language] for language in languages if language in title}
    if not chosen:
        return item.body
    return _encode(_raw(item.body) | {"title": msgspec.Raw(_encode(chosen))})


def title_of(said: Announced, languages: Sequence[str] | None) -> str:
    """Return the title in the first of some languages that it has, else any; the achievement's name where it has none.

    For a text to a person.
    """
    title = said.title or {}
    for language in (*(languages or ()), PLAIN, "en"):
        if language in title:
            return title[language]
    return next(iter(title.values()), said.achievement)


# -- windows of digests ------------------------------------------------------------------------------------------------


def window_of(item: Item, wait: int) -> tuple[int, int]:
    """Return begin and end (microseconds, the end not included) of the window that an announcement is in.

    Windows of `wait` milliseconds lie side by side, so that an announcement is in one whatever else there is: what a
    digest holds can be found again after a crash. Those of different subjects end at different times.
    """
    size = wait * 1000
    shift = int.from_bytes(blake2b("\0".join(item.subject).encode(), digest_size=8).digest()) % size
    begin = (item.stored_at - shift) // size * size + shift
    return begin, begin + size
