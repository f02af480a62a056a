"""What is announced of unlocks: the messages on the stream, and the JSON Schema of all of them. Pure.

Each message holds the whole state of its unlock: a consumer that keeps the message of the highest revision of each
unlock is right, no matter which ones it has missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple
from uuid import UUID  # noqa: TC003 - NamedTuple

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from dsl.calendar import format_instant
from worker.contract.partition import token
from worker.engine.origin import Origin

if TYPE_CHECKING:
    from dsl.syntax import Achievement, Tier

PLAIN: Final = "und"
"""The language of a title without one: undetermined, by BCP 47."""
_NULL: Final = Raw(b"null")

Instant = Annotated[str, Meta(extra_json_schema={"format": "date-time"}, description="RFC 3339, in UTC.")]
Id = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
_Title = Annotated[
    Raw,
    Meta(
        description="By language; a title without one is under `und`. Null where no rule in force has this version.",
        extra_json_schema={"type": ["object", "null"], "additionalProperties": {"type": "string"}},
    ),
]
_Text = Annotated[Raw, Meta(extra_json_schema={"type": ["string", "null"]})]
_Reward = Annotated[
    Raw, Meta(description="As the rules had it when it was granted.", extra_json_schema={"type": "object"})
]


class Words(NamedTuple):
    """What the rules say of an achievement, version and tier, as JSON; `final` is None where no rule judges it."""

    title: Raw = _NULL
    about: Raw = _NULL
    family: Raw = _NULL
    final: bool | None = None
    name: str | None = None
    """What the achievement is called now; None where it has its first name."""


UNKNOWN: Final = Words()
"""The words of a version that no rule in force has."""


def unknown(name: str) -> Words:
    """Return the words of a version that no rule in force has, of an achievement that is called so now."""
    return UNKNOWN._replace(name=name)


def words_of(version: Achievement, tier: Tier | None, *, final: bool, name: str | None = None) -> Words:
    """Return what a version says of itself, or of one tier; `name` is what the achievement is called now."""
    title = (tier.title if tier is not None else None) or version.title
    texts = None if title is None else {language or PLAIN: text for language, text in title.texts}
    about = None if version.about is None else str(version.about.value)
    family = None if version.family is None else version.family.text
    said = [Raw(msgspec.json.encode(one)) for one in (texts, about, family)]
    return Words(said[0], said[1], said[2], final, name)


# -- the messages ------------------------------------------------------------------------------------------------------


EVENT_ID: Final = "The event that earned it; null where none supports it, or a version's begin has earned it."


class Renamed(Struct, tag_field="kind", kw_only=True):
    """What a message says beside, if the achievement was called otherwise once."""

    renamed_from: Annotated[
        str | UnsetType,
        Meta(description="Its first name, which stays in the subject of the message; absent where it has that."),
    ] = UNSET


class Named(Renamed):
    """What every message says: which unlock it is about, and which of its revisions it is."""

    revision: Annotated[int, Meta(ge=1)]
    unlock_id: Id
    tenant_id: str
    scope: Annotated[str, Meta(description="user, tenant, or the name of a field.")]
    subject: str
    user_id: Annotated[str | None, Meta(description="The subject, where the scope is user.")]
    achievement: str
    tier: str | None
    occurrence: str | None


class UnlockState(Named):
    """An unlock as it stands."""

    status: Annotated[str, Meta(extra_json_schema={"enum": ["granted", "contested", "revoked"]})]
    version: Annotated[int, Meta(ge=1)]
    origin: Annotated[str, Meta(extra_json_schema={"enum": [*Origin]})]
    by_hand: bool
    earned_at: Instant
    granted_at: Instant
    event_id: Annotated[str | None, Meta(description=EVENT_ID)]
    reward: _Reward
    title: _Title
    about: _Text
    family: _Text
    final: Annotated[
        bool | None,
        Meta(description="Whether no late event can take it back; null where no rule in force has this version."),
    ]


class OfChange(UnlockState, kw_only=True):
    """An unlock as it stands, and the change of rules that the message comes of."""

    change: Annotated[
        int | UnsetType,
        Meta(description="The change of rules that it comes of; absent where it comes of events, of time or a person."),
    ] = UNSET


class Granted(OfChange, tag="granted"):
    """Revision 1: it is granted. On `<prefix>.<tenant>.<subject>.<achievement>.<unlock_id>`."""


class Withheld(Named, tag="withheld"):
    """Revision 1, in the place of `granted`: it was revoked or erased before it could be announced."""


class Was(Struct):
    """What a field said before, and what it says now."""

    before: Any = field(name="from")
    now: Any = field(name="to")


class Changed(Struct, omit_defaults=True):
    """The fields that say something else than before."""

    status: Was | UnsetType = UNSET
    version: Was | UnsetType = UNSET
    earned_at: Was | UnsetType = UNSET
    event_id: Was | UnsetType = UNSET
    by_hand: Was | UnsetType = UNSET


class Corrected(OfChange):
    """A change of an unlock that was granted; `actor` and `reason` are an operator's, null where the engine decided."""

    changed: Changed
    decided_at: Instant
    actor: str | None
    reason: str | None


class Amended(Corrected, tag="amended"):
    """Late evidence moved it."""


class Contested(Corrected, tag="contested"):
    """The events do not support it any more. It is kept, unless an operator revokes it."""


class Restored(Corrected, tag="restored"):
    """The events support it again."""


class Revoked(Corrected, tag="revoked"):
    """An operator took it back."""

    reward_to_take_back: _Reward


class GrantedByHand(Corrected, tag="granted_by_hand"):
    """An operator granted what had been granted before: it stands by their word, and no evidence contests it."""


class Erased(Named, tag="erased"):
    """Its user was erased: forget what this unlock said, and its subject."""

    status: Literal["erased"]
    decided_at: Instant
    actor: str | None


_CORRECTIONS: Final[dict[str, type[Corrected]]] = {
    "amended": Amended,
    "contested": Contested,
    "restored": Restored,
    "granted_by_hand": GrantedByHand,
}
MESSAGES: Final = Granted | Withheld | Amended | Contested | Restored | Revoked | GrantedByHand | Erased


# -- what they are made of ---------------------------------------------------------------------------------------------


class Claimed(NamedTuple):
    """An unlock to announce as it was granted; instants in microseconds, `reward` a JSON object."""

    unlock_id: UUID
    tenant_id: str
    scope: str
    subject: str
    achievement: str
    tier: str
    occurrence: str
    version: int
    earned_at: int
    event_id: str
    granted_at: int
    reward: str
    origin: str = Origin.LIVE
    change_id: int | None = None


class Correction(NamedTuple):
    """A change to announce; instants in microseconds, `reward` a JSON object."""

    unlock_id: UUID
    revision: int
    kind: str
    tenant_id: str
    scope: str
    subject: str
    achievement: str
    tier: str
    occurrence: str
    origin: str
    granted_at: int
    reward: str
    status_before: str
    status: str
    version_before: int
    version: int
    earned_before: int
    earned_at: int
    event_before: str
    event_id: str
    by_hand_before: bool
    by_hand: bool
    actor: str | None
    reason: str | None
    decided_at: int
    withheld: bool
    """Whether it is not known that the unlock itself was announced."""
    change_id: int | None = None


def announcement(one: Claimed, name: str, words: Words = UNKNOWN) -> bytes:
    """Return the message that announces a granted unlock, as JSON; `name` is its id as text."""
    by_hand = one.origin == Origin.BY_HAND
    return _encode(
        Granted(
            1,
            name,
            one.tenant_id,
            one.scope,
            one.subject,
            one.subject if one.scope == "user" else None,
            words.name or one.achievement,
            one.tier or None,
            one.occurrence or None,
            "granted",
            one.version,
            one.origin,
            by_hand,
            format_instant(one.earned_at),
            format_instant(one.granted_at),
            one.event_id or None,
            Raw(one.reward.encode()),
            words.title,
            words.about,
            words.family,
            words.final or by_hand if words.final is not None else None,
            change=UNSET if one.change_id is None else one.change_id,
            renamed_from=_renamed_from(one, words),
        )
    )


def correction(one: Correction, words: Words = UNKNOWN) -> bytes:
    """Return the message that announces a change, as JSON."""
    named, renamed_from = _named(one, one.revision, words), _renamed_from(one, words)
    decided_at = format_instant(one.decided_at)
    if one.kind == "erased":
        return _encode(Erased(*named, "erased", decided_at, one.actor, renamed_from=renamed_from))
    reward = Raw(one.reward.encode())
    fields = (
        *named,
        one.status,
        one.version,
        one.origin,
        one.by_hand,
        format_instant(one.earned_at),
        format_instant(one.granted_at),
        one.event_id or None,
        reward,
        words.title,
        words.about,
        words.family,
        words.final or one.by_hand if words.final is not None else None,
        _changed(one),
        decided_at,
        one.actor,
        one.reason,
    )
    change = UNSET if one.change_id is None else one.change_id
    if one.kind == "revoked":
        return _encode(Revoked(*fields, reward, change=change, renamed_from=renamed_from))
    return _encode(_CORRECTIONS[one.kind](*fields, change=change, renamed_from=renamed_from))


def withheld(one: Correction, words: Words = UNKNOWN) -> bytes:
    """Return the message that replaces the grant of an unlock that is no longer announced as granted, as JSON."""
    return _encode(Withheld(*_named(one, 1, words), renamed_from=_renamed_from(one, words)))


def _renamed_from(one: Claimed | Correction, words: Words) -> str | UnsetType:
    return UNSET if words.name in {None, one.achievement} else one.achievement


def _named(
    one: Correction, revision: int, words: Words
) -> tuple[int, str, str, str, str, str | None, str, str | None, str | None]:
    user = one.subject if one.scope == "user" else None
    where = words.name or one.achievement, one.tier or None, one.occurrence or None
    return revision, str(one.unlock_id), one.tenant_id, one.scope, one.subject, user, *where


def _changed(one: Correction) -> Changed:
    return Changed(
        status=_was(one.status_before, one.status),
        version=_was(one.version_before, one.version),
        earned_at=_was(format_instant(one.earned_before), format_instant(one.earned_at)),
        event_id=_was(one.event_before or None, one.event_id or None),
        by_hand=_was(one.by_hand_before, one.by_hand),
    )


def _was(before: object, now: object) -> Was | UnsetType:
    return UNSET if before == now else Was(before, now)


_encode: Final = msgspec.json.Encoder().encode


# -- where they go -----------------------------------------------------------------------------------------------------


def unlock_subject(prefix: str, one: Claimed | Correction, name: str) -> str:
    """Return the subject that one unlock is announced on, and nothing else ever; `name` is its id as text."""
    tokens = (token(one.tenant_id), token(one.subject), token(one.achievement), name)
    return ".".join((prefix, *tokens))


def correction_subject(prefix: str, one: Correction) -> str:
    """Return the subject that one change is announced on, and nothing else ever."""
    return f"{unlock_subject(prefix, one, str(one.unlock_id))}.{one.revision}"


def schema_text() -> bytes:
    """Return the schema as it is printed, and kept in docs/unlock.schema.json."""
    return msgspec.json.format(msgspec.json.encode(schema()), indent=2) + b"\n"


def schema() -> dict[str, Any]:
    """Return the JSON Schema of all messages, of the draft 2020-12."""
    described = msgspec.json.schema(MESSAGES)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What ach announces of unlocks",
        "description": "Further fields may be added; a consumer passes over those that it does not know.",
    }
    return head | described
