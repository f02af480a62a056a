"""From the texts of events to messages for the broker, held to the contract that the worker holds them to. Pure.

What is wrong with any event is said of all of them, and nothing of the request goes on. So the worker has never to put
away what was taken here, as long as its clock and its rules are the ones that were asked here.
"""

from __future__ import annotations

import re
from collections import Counter
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import UNSET

from dsl.diagnostics import nearest
from worker.broker.window import Outgoing
from worker.contract.fields import is_array
from worker.contract.partition import event_subject, shared_subject
from worker.contract.reasons import Reason
from worker.contract.strict_reader import Accepted, Rejected
from worker.contract.transport import NOWHERE
from worker.ingest.problems import MOST_FLAWS, ContractError, EventsError, EventTooLargeError, Flaw, OtherTenantError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from dsl.event import Event
    from worker.broker.window import Parts
    from worker.contract.strict_reader import Contract

_FIELD: Final = re.compile(r"(?:CloudEvent )?([a-z_]+(?:\.[^:]{1,200})?): (.*)", re.DOTALL)
_HINTS: Final = {
    Reason.MALFORMED_JSON: "Send JSON in UTF-8 (RFC 8259).",
    Reason.OVERSIZE: "Store the data elsewhere, and send where it is.",
    Reason.TOO_DEEP: "Send flatter data.",
    Reason.INVALID_TEXT: "Leave out U+0000, and write surrogates in pairs.",
    Reason.FROM_THE_FUTURE: "Send when it happened, by a clock that is right.",
    Reason.CONTRACT: "See the `event` declaration of this type in the rules.",
}
_FIELD_HINTS: Final = {
    "occurred_at": "Send when it happened as in 2026-03-01T12:00:00Z; the time of arrival is never taken for it.",
    "event_id": "Give each event an id of its own, and send it again under the same one.",
    "tenant_id": "Name the tenant that the key is of.",
    "payload": "Send an object, or leave it out.",
}
_HINT: Final = "An event has event_id, event_type, user_id, tenant_id, occurred_at, and may have source and payload."
_KINDS: Final = {
    Reason.CONTRACT: ContractError,
    Reason.OVERSIZE: EventTooLargeError,
    Reason.TENANT_MISMATCH: OtherTenantError,
}
"""What is raised where all events are at fault for one reason."""
_LONGEST: Final = 300
"""Characters of a detail."""
_GUESSES: Final = 5
"""Undeclared types of one request for which the meant one is looked for."""


class Held(NamedTuple):
    """What events are held to: the contract, and the types that are declared, None where any will do."""

    contract: Contract
    declared: Collection[str] | None = None


class Naming(NamedTuple):
    """How messages are named: the prefix of their subjects, and the key of their ids, which no one else has."""

    prefix: str
    key: bytes

    def message_id(self, tenant: str, event_id: str) -> str:
        """Return the `Nats-Msg-Id` of an event, which only who has the key can make.

        A stream has one memory of ids for all who publish to it. Under an id that others can make, such as
        `<tenant>:<event id>`, the broker could already hold a message of theirs, and would drop ours as a copy of it.
        """
        return blake2b(f"{tenant}\0{event_id}".encode(), key=self.key, digest_size=16).hexdigest()


def messages_of(elements: Sequence[bytes], held: Held, *, tenant: str, naming: Naming, now: int) -> list[Outgoing]:
    """Return a message for each text of an event; `now` in microseconds.

    Raises:
        EventsError: events cannot be read, or two share an id.
        ContractError: some break the contract of their type, or are of none that is declared.
        OtherTenantError: some are another tenant's.
    """
    # A subject that binds the tenant, and none of its users.
    events, bodies = _read(elements, held.contract, shared_subject(naming.prefix, tenant), now)
    if held.declared is not None:
        _check_declared(events, held.declared)
    _check_ids(events, elements)
    return [
        Outgoing(
            event_subject(naming.prefix, tenant, event.user, event.type), body, naming.message_id(tenant, event.id)
        )
        for event, body in zip(events, bodies, strict=True)
    ]


def check_sizes(messages: Iterable[Parts], most: int) -> None:
    """Refuse messages that are larger, with their headers, than `most` bytes.

    Raises:
        EventTooLargeError: some are.
    """
    large = [
        (place, size) for place, (_, block, body) in enumerate(messages) if (size := len(block) + len(body)) > most
    ]
    if large:
        hint = EventTooLargeError.hint
        raise EventTooLargeError(
            [Flaw(place, f"{size:,} bytes with its id, more than the broker's {most:,}", hint) for place, size in large]
        )


def _read(elements: Sequence[bytes], contract: Contract, subject: str, now: int) -> tuple[list[Event], Sequence[bytes]]:
    """Return the events, and the body to publish of each."""
    # An array within an array would be read as the events in it.
    if elements and not is_array(elements[0]):
        plain = contract.plain.read([subject] * len(elements), elements, now=now, ends=[NOWHERE] * len(elements))
        if plain is not None:
            return plain.events, elements
    events: list[Event] = []
    bodies: list[bytes] = []
    wrong: list[tuple[int, Rejected]] = []
    for place, element in enumerate(elements):
        found = _look_closely(element, contract, subject, now)
        if isinstance(found, Rejected):
            wrong.append((place, found))
        else:
            events.append(found.event)
            bodies.append(found.envelope or element)
    if wrong:
        reasons = {one.reason for _, one in wrong}
        kind = _KINDS.get(reasons.pop(), EventsError) if len(reasons) == 1 else EventsError
        raise kind([*_said_of(wrong)])
    return events, bodies


def _look_closely(element: bytes, contract: Contract, subject: str, now: int) -> Accepted | Rejected:
    if is_array(element):
        return Rejected(Reason.INVALID_EVENT, "expected an object, got an array", element)
    (found,) = contract.look_closely(subject, element, now=now, end=NOWHERE)
    if isinstance(found, Rejected) and found.reason is Reason.TENANT_MISMATCH:
        return Rejected(found.reason, "tenant_id: not the tenant of this key", element)
    return found


def _said_of(wrong: Iterable[tuple[int, Rejected]]) -> Iterator[Flaw]:
    for place, one in wrong:
        said = _FIELD.fullmatch(one.detail) if one.reason not in _WITHOUT_FIELD else None
        yield _flaw(place, None if said is None else said[1], one.detail if said is None else said[2], one.reason)


_WITHOUT_FIELD: Final = {Reason.MALFORMED_JSON, Reason.OVERSIZE, Reason.TOO_DEEP, Reason.INVALID_TEXT}


def _flaw(place: int, field: str | None, detail: str, reason: Reason = Reason.INVALID_EVENT) -> Flaw:
    hint = _HINTS.get(reason) or _FIELD_HINTS.get(field or "", _HINT)
    return Flaw(place, detail[:_LONGEST], hint, UNSET if field is None else field)


def _check_declared(events: Sequence[Event], declared: Collection[str]) -> None:
    others = [(place, event.type) for place, event in enumerate(events) if event.type not in declared]
    if others:
        names = [*dict.fromkeys(name for _, name in others)][:_GUESSES]
        guesses = {name: nearest(name, declared) for name in names}
        raise ContractError([_undeclared(place, name, guesses.get(name)) for place, name in others])


def _undeclared(place: int, name: str, guess: str | None) -> Flaw:
    hint = f"Did you mean {guess}?" if guess else "Declare it in the rules with `event`, or send without validation."
    return Flaw(place, f"{name[:_LONGEST]} is not declared in the rules", hint, "event_type")


def _check_ids(events: Sequence[Event], elements: Sequence[bytes]) -> None:
    """Refuse two events with one id: the broker would drop the second one, and nothing would say so."""
    counts = Counter([event.id for event in events])
    if len(counts) == len(events):
        return
    first: dict[str, int] = {}
    flaws: list[Flaw] = []
    for place, event in enumerate(events):
        before = first.setdefault(event.id, place)
        if elements[before] != elements[place]:
            flaws.append(_flaw(place, "event_id", f"the same as that of event {before}, which has other content"))
    if flaws:
        raise EventsError(flaws[:MOST_FLAWS])
