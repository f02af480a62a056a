"""The meaning of a deployed version: its own text, and the declarations that decide how it reads events. Pure.

The two are kept apart. The text of a version never changes. Declarations belong to all versions at once, so an operator
may accept a change of one, and is shown the versions that it affects.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import msgspec

from dsl.compile import TENANT, USER, in_order, references, scope_of
from dsl.reads import reads_of
from dsl.syntax import Node
from dsl.types import DAY, HOUR, MINUTE, SECOND

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dsl.schema import EventSchema, Rules
    from dsl.syntax import Achievement

SCHEME: Final = 1
"""Version of all that is hashed and recorded here; raise it whenever the same files would give another result. What is
recorded under another scheme is computed again, from the files that were in force then."""

_ABSENT: Final = "not declared"
_NONE: Final = "none"
_PLACES: Final = frozenset({"span", "source"})


class Meaning(NamedTuple):
    """The meaning of one version."""

    own: bytes
    """SHA-256 of its own text in canonical form, without its words."""
    starts_at: int | None
    """Instant (microseconds) from which it is in effect."""
    declared: Mapping[str, str] | None
    """The declarations of all that it reads: place (`event a.done: n`) to declaration (`int >= 0`); None if they are no
    longer known."""


class Changed(NamedTuple):
    """A version whose meaning differs from when it was deployed."""

    achievement: str
    version: int
    reasons: tuple[str, ...]
    own: bool
    """Whether its own text has changed, and not only declarations that it depends on."""

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.achievement} version {self.version} ({'; '.join(self.reasons)})"


class Recorded(msgspec.Struct, frozen=True):
    """The column `declarations` of the table `rule_version`."""

    scheme: int
    declared: dict[str, str]


_encoder: Final = msgspec.json.Encoder(order="deterministic")
_decoder: Final = msgspec.json.Decoder(Recorded)


def recorded(meaning: Meaning) -> str:
    """Return the declarations as they are recorded, as JSON text."""
    return _encoder.encode(Recorded(SCHEME, dict(meaning.declared or {}))).decode()


def recalled(own: bytes, starts_at: int | None, declarations: str | None) -> Meaning | None:
    """Return the recorded meaning; None if it was recorded without declarations, or under another scheme."""
    if declarations is None:
        return None
    known = _decoder.decode(declarations)
    return Meaning(own, starts_at, known.declared) if known.scheme == SCHEME else None


def meanings_of(rules: Rules) -> dict[tuple[str, int], Meaning]:
    """Return the meaning of every version of a rule set, by achievement and version."""
    found: dict[tuple[str, int], Meaning] = {}
    for name in in_order(rules.achievements):
        for version in rules.achievements[name]:
            since = None if version.since is None else version.since.us
            declared = dict(sorted(_declared(rules, version, found)))
            found[name, version.version] = Meaning(meaning_of(version), since, declared)
    return found


def change_of(achievement: str, version: int, before: Meaning, now: Meaning) -> Changed | None:
    """Return how the meaning of a version has changed; None if it has not."""
    if (before.own, before.starts_at) != (now.own, now.starts_at):
        return Changed(achievement, version, ("its own text has changed",), own=True)
    if before.declared is None or now.declared is None or before.declared == now.declared:
        return None
    return Changed(achievement, version, tuple(_reasons(before.declared, now.declared)), own=False)


# -- its own text -----------------------------------------------------------------------------------------------------


def meaning_of(achievement: Achievement) -> bytes:
    """Return a hash (SHA-256) of what the text of a version says: all of it, but places in the file and words.

    Words are title, about, reveal, family and reward: they change what is shown or given, never who has earned it.
    """
    bare = msgspec.structs.replace(
        achievement,
        title=None,
        about=None,
        reveal=None,
        family=None,
        reward=None,
        order=(),
        tiers=tuple(msgspec.structs.replace(tier, title=None, reward=None, reveal=None) for tier in achievement.tiers),
    )
    return sha256(_canonical(bare).encode()).digest()


def _canonical(value: object) -> str:
    """Return a tree as text, without spans, and with numbers and instants by value."""
    if isinstance(value, Node | msgspec.Struct):
        fields = (
            f"{name}={_canonical(getattr(value, name))}"
            for name in value.__struct_fields__
            if name not in _PLACES and not (name == "text" and hasattr(value, "us"))
        )
        return f"{type(value).__name__}({','.join(fields)})"
    if isinstance(value, tuple):
        return f"[{','.join(_canonical(part) for part in cast('tuple[object, ...]', value))}]"
    return repr(value)


# -- what it depends on -----------------------------------------------------------------------------------------------


def _declared(
    rules: Rules, version: Achievement, known: Mapping[tuple[str, int], Meaning]
) -> Iterator[tuple[str, str]]:
    """Yield place and text of every declaration that may decide who earns a version, and when.

    Of a field that is read: its type and bound, since what does not fit counts as absent. Whether it may be left out
    decides what is taken in, and nothing of what is made of that. What is not read is not here.
    """
    reads = reads_of(version)
    types, fields = set(reads.types), set(reads.fields)
    for trait in reads.traits:
        tellers = {event for event, names in rules.trait_events.items() if trait in names}
        yield f"trait {trait}: from", ", ".join(sorted(tellers)) or _NONE
        types |= tellers
        fields |= {(event, trait) for event in tellers}
    if reads.chooses:
        yield "traits: from", ", ".join(sorted(rules.trait_events)) or _NONE
        types |= rules.trait_events.keys()
    if reads.every_type:
        yield "events: declared", ", ".join(sorted(rules.events))
        types |= rules.events.keys()
    for event in types & rules.events.keys():
        schema, scope = rules.events[event], scope_of(version)
        yield f"event {event}: once per", _once(schema)
        fields |= {(event, field) for field in (() if schema.once is None else schema.once[0])}
        if scope not in {USER, TENANT}:
            fields.add((event, scope))
    for event, field in fields:
        yield f"event {event}: {field}", _field(rules.events.get(event), field)
    yield from _named(rules, version, known)


def _named(rules: Rules, version: Achievement, known: Mapping[tuple[str, int], Meaning]) -> Iterator[tuple[str, str]]:
    """Yield each version of the achievements that a version names, with a hash of what it means."""
    for name in references(version):
        for other in rules.achievements.get(name, ()):
            own, starts_at, declared = known[name, other.version]
            text = _encoder.encode([own.hex(), starts_at, declared])
            yield f"{_ACHIEVEMENT}{name} version {other.version}", sha256(text).hexdigest()


_ACHIEVEMENT: Final = "achievement "


def _field(schema: EventSchema | None, name: str) -> str:
    field = None if schema is None else schema.fields.get(name)
    return _ABSENT if field is None else f"{field.type}{field.bound}"


def _once(schema: EventSchema) -> str:
    if schema.once is None:
        return _NONE
    fields, within = schema.once
    # Copies are equal in all of them, in whatever order they are written.
    return ", ".join(sorted(fields)) + ("" if within is None else f" within {_length(within)}")


def _length(us: int) -> str:
    for unit, letter in ((DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (SECOND, "s")):
        if us % unit == 0:
            return f"{us // unit}{letter}"
    return f"{us}us"


# -- how two differ ---------------------------------------------------------------------------------------------------


def _reasons(before: Mapping[str, str], now: Mapping[str, str]) -> Sequence[str]:
    """Return what has changed, one thing a line; what only comes along with that is left out."""
    found = [_reason(place, before.get(place), now.get(place)) for place in sorted(before.keys() | now.keys())]
    said = [reason for reason in found if reason is not None]
    return said or ["it reads other declarations"]


def _reason(place: str, before: str | None, now: str | None) -> str | None:
    if before == now:
        return None
    if place.startswith(_ACHIEVEMENT):
        if before is None:
            return f"{place} is new, and it names that achievement"
        return f"{place}, which it names, {'is gone' if now is None else 'means something else'}"
    if before is None or now is None:
        # Of an event that is heard for the first time, or no more: there is a reason for that, too.
        return None
    return f"{place} was `{before}`, is `{now}`"
