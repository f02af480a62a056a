"""What `ach dev` tells a developer: what a reload changed, undeclared event types, dead letters. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dsl.calendar import format_instant
from dsl.diagnostics import nearest
from dsl.format import strip_spans
from dsl.outcome import full_name
from dsl.words import listed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dsl.schema import Rules
    from worker.admin.afresh import Held
    from worker.pipeline.dead_letters import StoredDeadLetter

MAX_TYPES: Final = 100
"""Undeclared types that are named: a producer that sends more of them is to be stopped, not listened to."""
SHOWN: Final = 20
"""Dead letters that are printed at a time."""


class _Head(msgspec.Struct, frozen=True):
    """The type of an event of ours, or of a CloudEvent."""

    event_type: str = ""
    type: str = ""


_head: Final[msgspec.json.Decoder[_Head | list[_Head]]] = msgspec.json.Decoder(_Head | list[_Head])


class Undeclared:
    """Names each undeclared event type once."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def lines_of(self, body: bytes, declared: Mapping[str, object]) -> list[str]:
        """Return a line for each type in a message that no rules declare, and that was not named before."""
        types = types_of(body) - self._said - declared.keys()
        found = sorted(types)[: MAX_TYPES - len(self._said)]
        self._said.update(found)
        return [f"{name} is not declared{_guess(name, declared)}" for name in found]


def types_of(body: bytes) -> set[str]:
    """Return the event types of a message; none where it is no event."""
    try:
        heads = _head.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return set()
    return {name for one in (heads if isinstance(heads, list) else [heads]) if (name := one.event_type or one.type)}


def _guess(name: str, declared: Mapping[str, object]) -> str:
    guess = nearest(name, declared)
    return ": no rule sees its events" if guess is None else f": did you mean {guess}?"


class _Kind(NamedTuple):
    """Things of one kind by name, before and after."""

    name: str
    before: Mapping[str, object]
    after: Mapping[str, object]


def changes(before: Rules, after: Rules) -> list[str]:
    """Return a line for achievements and one for events that are new, changed or gone; none where nothing is."""
    kinds = (
        _Kind("achievements", _bare(before.achievements), _bare(after.achievements)),
        _Kind("events", before.events, after.events),
        _Kind("traits", before.traits, after.traits),
    )
    return [f"  {kind.name}: {'; '.join(said)}" for kind in kinds if (said := _changes(kind))]


def _bare(things: Mapping[str, object]) -> dict[str, object]:
    """Return things without their places in the text: to move one changes nothing."""
    return {name: strip_spans(thing) for name, thing in things.items()}


def _changes(kind: _Kind) -> list[str]:
    both = kind.before.keys() & kind.after.keys()
    sets = {
        "new": kind.after.keys() - both,
        "changed": {name for name in both if kind.before[name] != kind.after[name]},
        "gone": kind.before.keys() - both,
    }
    return [f"{word} {listed(sorted(names), 'and')}" for word, names in sets.items() if names]


def held_lines(gained: Sequence[Held], earned: str, lost: Sequence[Held], unearned: str) -> list[str]:
    """Return a line for each unlock that is gained or lost, those of the end left out where there are many."""
    lines = [f"  {earned}: {_of(held)} at {format_instant(held.earned_at)}" for held in gained[:SHOWN]]
    if len(gained) > SHOWN:
        lines.append(f"  {earned}: {len(gained) - SHOWN:,} more")
    lines += [f"  {unearned}: {_of(held)}" for held in lost[:SHOWN]]
    if len(lost) > SHOWN:
        lines.append(f"  {unearned}: {len(lost) - SHOWN:,} more")
    return lines


def _of(held: Held) -> str:
    return f"{held.tenant_id} {held.subject} {full_name(held.achievement, held.tier, held.occurrence)}"


def letter_line(letter: StoredDeadLetter) -> str:
    """Return the line of a dead letter."""
    place = f" on {letter.nats_subject}" if letter.nats_subject else ""
    return f"dead letter {letter.dead_letter_id}{place}: {letter.reason}: {letter.detail}"
