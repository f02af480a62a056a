"""Generated events that satisfy one condition and not another; the engine evaluates them before they are reported."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from msgspec.structs import replace

from dsl.built_ins import COUNTED, UNLOCKS
from dsl.calendar import unit_index, unit_start
from dsl.compile import compile_rules
from dsl.event import Event
from dsl.filters import pattern_types
from dsl.outcome import run
from dsl.prove.conditions import at_least
from dsl.prove.patterns import filter_of
from dsl.roles import base_of
from dsl.schema import is_listed
from dsl.syntax import (
    Achievement,
    Combine,
    Compare,
    Count,
    Extreme,
    Literal,
    Member,
    Name,
    Not,
    Ref,
    Sequence,
    Streak,
    Sum,
    Unlocked,
)
from dsl.trees import all_counted, counted, resets, walk
from dsl.types import DAY, HOUR, FieldType, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.advice.rulebook import Rulebook
    from dsl.syntax import Condition, Pattern, Predicate
    from dsl.types import Value

MAX_EVENTS: Final = 2000
"""Maximum number of generated events; a higher bound gets no example."""
MAX_VALUES: Final = 60
"""Maximum number of different generated values."""
_NOON: Final = 1781697600000000
"""2026-06-17T12:00:00Z, a Wednesday: no unit of a calendar ends within a second."""
_FAR: Final = 40 * DAY
"""Between two events that no month holds."""
MAX_TRIED: Final = 100
"""Events in the first try; with more, no other is made."""


class Made(NamedTuple):
    """A generated event: its type, fields and instant."""

    type: str
    fields: dict[str, Value]
    at: int


class _GivenUp(Exception):  # noqa: N818 - a signal within this file
    """No events could be generated."""


def shown_apart(book: Rulebook, one: Condition, two: Condition) -> str | None:
    """Return events in words that satisfy `one` and not `two`; None if there are none."""
    if any(isinstance(part, Unlocked) for when in (one, two) for part in walk(when)):
        return None
    if any(UNLOCKS in pattern_types(pattern) for when in (one, two) for pattern in (*all_counted(when), *resets(when))):
        return None  # their unlocks would need events of their own
    for made in _tried(book, one, two):
        if _earned(book, made, one) and not _earned(book, made, two):
            return _described(made)
    return None


def _tried(book: Rulebook, one: Condition, two: Condition) -> Iterator[list[Made]]:
    """Yield events that may satisfy `one` and not `two`: plain ones first, then others that tell more apart."""
    plain = _made(_Maker(book), one)
    if plain is None:
        return
    yield plain
    if len(plain) > MAX_TRIED:
        return
    for maker in (_Maker(book, varied=True), _Maker(book, apart=two), _Maker(book, rests=True)):
        made = _made(maker, one)
        if made is not None and made != plain:
            yield made
    if all(each.at == _NOON for each in plain):
        yield [each._replace(at=_NOON + n * _FAR) for n, each in enumerate(plain)]
    yield from _interrupted(book, plain, two)


def _made(maker: _Maker, one: Condition) -> list[Made] | None:
    try:
        return list(maker.satisfy(one))
    except _GivenUp:
        return None


def _interrupted(book: Rulebook, plain: list[Made], two: Condition) -> Iterator[list[Made]]:
    """Yield the events with one that resets the other condition behind each of them."""
    for unless in resets(two):
        try:
            reset = _Maker(book).one(unless)
        except _GivenUp:
            continue
        yield [each for event in plain for each in (event, reset._replace(at=event.at))]


def _earned(book: Rulebook, made: list[Made], when: Condition) -> bool:
    rules = replace(book.rules, achievements={"x": (Achievement(name=Name(text="x"), when=when),)}, examples=())
    events = [Event("t", f"e{n:06d}", each.type, "u", each.at + n, 0, each.fields) for n, each in enumerate(made)]
    return any(unlock.subject == "u" for unlock in run(compile_rules(rules), events).unlocks)


def _described(made: list[Made]) -> str:
    parts = [
        f"{number} × {name}" if number > 1 else name for name, number in Counter(each.type for each in made).items()
    ]
    return " and ".join(parts)


class _Maker:
    """Generates events that satisfy a condition, as few as possible.

    Fields that nothing asks for have one value, or with `varied` a new one in each event; `rests` takes the rests that
    a streak allows; with `apart` no event matches that condition, where both count one type of event.
    """

    def __init__(
        self, book: Rulebook, *, varied: bool = False, rests: bool = False, apart: Condition | None = None
    ) -> None:
        self._book = book
        self._left = MAX_EVENTS
        self._varied = varied
        self._rests = rests
        self._others = () if apart is None else counted(apart)
        self._serial = 0

    def satisfy(self, node: Condition) -> Iterator[Made]:
        """Yield events."""
        match node:
            case Count(distinct=()):
                yield from self._several(node.event, at_least(node.cmp))
            case Count():
                yield from self._distinct(node)
            case Sum() | Extreme():
                yield self.one(node.event, _reaches(node))
            case Streak():
                yield from self._streak(node)
            case Sequence(by=None, steps=steps):
                for step in steps:
                    yield self.one(step)
            case Combine(parts=parts, k=k):
                for part in parts[:k]:
                    yield from self.satisfy(part)
            case _:
                raise _GivenUp

    def one(self, pattern: Pattern, more: Predicate | None = None, at: int = _NOON) -> Made:
        """Return an event that matches a pattern."""
        self._left -= 1
        self._serial += self._varied
        if self._left < 0:
            raise _GivenUp
        for event in sorted(pattern_types(pattern)):
            other = (filter_of(each, event) for each in self._others if event in pattern_types(each))
            avoided = [Not(part=each) for each in other if each is not None]
            found = self._book.patterns.find(event, (filter_of(pattern, event), more, *avoided))
            if found.found:
                return Made(event, self._filled(event, found.values), at)
        raise _GivenUp

    def _filled(self, event: str, values: dict[str, Value | None]) -> dict[str, Value]:
        """Return the fields of an event: the values found, and a value for each other required field."""
        fields = {name: value for name, value in values.items() if value is not None and not name.startswith("at.")}
        for field in self._book.rules.events[base_of(event)].fields.values():
            if field.name not in values and not field.optional:
                least = 0 if field.low is None else int(field.low) + 1
                fields[field.name] = _anything(field.type, least + self._serial)
        return fields

    def _several(self, pattern: Pattern, number: int) -> Iterator[Made]:
        if number > MAX_EVENTS:
            raise _GivenUp
        first = self.one(pattern)
        for n in range(number):
            yield self.one(pattern) if self._varied and n else first

    def _distinct(self, node: Count) -> Iterator[Made]:
        """Yield events with a new value each, of several fields in the first that is no list."""
        types = pattern_types(node.event)
        names = (name.text for name in node.distinct if name.text not in COUNTED)
        field = next((name for name in names if not is_listed(self._book.rules, types, name)), None)
        if field is None:
            raise _GivenUp
        seen: list[Value] = []
        number = at_least(node.cmp)
        if number > MAX_VALUES:
            raise _GivenUp
        for n in range(number):
            known = Member(left=Ref(name=field), negated=False, values=tuple(Literal(value=value) for value in seen))
            made = self.one(node.event, Not(part=known) if seen else None)
            value = made.fields.get(field, _anything(self._kind(made.type, field), n))
            seen.append(value)
            yield made._replace(fields={**made.fields, field: value})

    def _kind(self, event: str, field: str) -> FieldType:
        return self._book.rules.events[base_of(event)].fields[field].type

    def _streak(self, node: Streak) -> Iterator[Made]:
        unit = Unit(node.unit.text)
        first = unit_index(unit, _NOON)
        for n in range(at_least(node.cmp)):
            for _ in range(node.min):
                # In the middle of an hour; of what is longer, past noon of its first day.
                past = {Unit.MINUTE: 0, Unit.HOUR: HOUR // 2}.get(unit, 13 * HOUR)
                index = first + n * (node.grace + 1 if self._rests else 1)
                yield self.one(node.event, at=unit_start(unit, index, "UTC") + past)


def _reaches(node: Sum | Extreme) -> Predicate:
    return Compare(left=Ref(name=node.of.text), op=node.cmp.op, right=Literal(value=node.cmp.bound))


def _anything(kind: FieldType, n: int) -> Value:
    match kind:
        case FieldType.BOOL:
            return n % 2 == 1
        case FieldType.STRING | FieldType.USER:
            return f"v{n}"
        case _ if kind.element is not None:
            return cast("Value", (_anything(kind.element, n),))  # a list, which no generated filter looks into
        case _:
            return n
