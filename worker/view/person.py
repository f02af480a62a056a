"""The document of `ach export`: all that is stored about one person, and its JSON Schema. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from worker.engine.answer import Shown

FORMAT: Final = "ach.export/1"

_Instant = Annotated[str, Meta(description="RFC 3339 in UTC.", extra_json_schema={"format": "date-time"})]
_Json = Annotated[Any, Meta(description="As it was received.")]


class Tombstone(Struct, frozen=True, kw_only=True):
    """The person was erased; nothing else is left."""

    erased_at: _Instant


class LiftedTombstone(Struct, frozen=True, kw_only=True):
    """The person was erased, and later events were taken again."""

    erased_at: _Instant
    lifted_at: _Instant
    reason: Annotated[str, Meta(description="In the words of the operator.")]


class PersonEvent(Struct, frozen=True, kw_only=True):
    """One event of the ledger."""

    event_id: str
    event_type: str
    occurred_at: Annotated[str, Meta(description="As the producer wrote it, or the same instant in UTC.")]
    source: str | None
    payload: Annotated[Any, Meta(description="As the producer wrote it; null where there was none.")]
    received_at: _Instant
    published_at: Annotated[_Instant | None, Meta(description="When the broker stored its message.")]
    region: str | None
    stream_seq: Annotated[int, Meta(ge=0, description="Of its message; 0 where it came another way.")]


class PersonNaming(Struct, frozen=True, kw_only=True):
    """One event of another user that names the person; what else it says is not the person's."""

    event_id: str
    event_type: str
    occurred_at: _Instant


class PersonDecision(Struct, frozen=True, kw_only=True):
    """One decision about an unlock; event and instant are its evidence."""

    decided_at: _Instant
    decision: Literal[
        "granted", "settling", "withdrawn", "amended", "contested", "restored", "revoked", "granted_by_hand"
    ]
    version: Annotated[int, Meta(ge=1, description="Of the rule.")]
    final: bool
    earned_at: _Instant
    event_id: Annotated[str, Meta(description="Empty where an operator decided without an event.")]
    by_operator: Annotated[bool, Meta(description="Whether an operator decided, and not the engine.")]
    reason: Annotated[str | None, Meta(description="In the words of the operator.")]


class PersonUnlock(Struct, frozen=True, kw_only=True):
    """One unlock with all decisions about it. Of a withdrawn one only the decisions are left."""

    achievement: str
    tier: str | None
    occurrence: str | None
    unlock_id: str | None
    version: int | None
    status: Literal["settling", "granted", "silent", "announced", "contested", "revoked", "withdrawn"]
    earned_at: _Instant | None
    event_id: str | None
    settles_at: _Instant | None
    granted_at: _Instant | None
    announced_at: _Instant | None
    contested_at: _Instant | None
    revoked_at: _Instant | None
    by_hand: bool | None
    origin: str | None
    revision: int | None
    reward: Annotated[Any, Meta(description="An object; null where it was withdrawn.")]
    history: list[PersonDecision]


class PersonCorrection(Struct, frozen=True, kw_only=True):
    """A change of a granted unlock that is not announced yet; the history of the unlock has all of them."""

    unlock_id: str
    revision: Annotated[int, Meta(ge=2)]
    kind: str
    achievement: str
    tier: str | None
    occurrence: str | None
    status_before: str
    status: str
    reason: str | None
    decided_at: _Instant


class PersonReveal(Struct, frozen=True, kw_only=True):
    """A hidden achievement that the person was shown."""

    achievement: str
    tier: str | None
    revealed_at: _Instant


class PersonLetter(Struct, frozen=True, kw_only=True):
    """A message that could not become an event and names the person; without its contents if it names others too."""

    dead_letter_id: int
    reason: str
    died_at: _Instant
    stream: str
    stream_seq: int
    element: int
    replayed_at: _Instant | None
    names_others: bool
    detail: str | None
    nats_subject: str | None
    headers: _Json
    body: Annotated[str | None, Meta(description="Null where it is not UTF-8, too.")]
    body_base64: Annotated[str | None, Meta(description="The body where it is not UTF-8.")]


class PersonDelivery(Struct, frozen=True, kw_only=True):
    """An attempt to deliver an announcement about the person to an endpoint, of the last 30 days."""

    endpoint: str
    webhook_id: str
    type: str
    attempt: int
    attempted_at: _Instant
    outcome: str
    status: int | None
    detail: str


class PersonAction(Struct, frozen=True, kw_only=True):
    """What an operator did about the person on the console."""

    kind: str
    target: str
    reason: str
    outcome: str
    begun_at: _Instant
    ended_at: _Instant | None


class Person(Struct, frozen=True, kw_only=True):
    """All that is stored about one person, as of one moment. Of an erased one all lists but one are empty."""

    format: Literal["ach.export/1"]
    tenant_id: str
    user_id: str
    as_of: _Instant
    erasure: Tombstone | None
    lifted_erasures: list[LiftedTombstone]
    events: Annotated[list[PersonEvent], Meta(description="In canonical order.")]
    named_in: Annotated[list[PersonNaming], Meta(description="Events of others that name the person, in that order.")]
    progress: Annotated[list[Shown], Meta(description="By achievement and tier, hidden ones too.")]
    unlocks: list[PersonUnlock]
    corrections: list[PersonCorrection]
    revealed: list[PersonReveal]
    dead_letters: list[PersonLetter]
    deliveries: list[PersonDelivery]
    actions: list[PersonAction]


def export_schema() -> bytes:
    """Return the JSON Schema as it is printed, and kept in docs/export.schema.json."""
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "All that ach stores about one person",
        "description": "Further fields may be added; a reader passes over those that it does not know.",
    }
    return msgspec.json.format(msgspec.json.encode(head | msgspec.json.schema(Person)), indent=2) + b"\n"
