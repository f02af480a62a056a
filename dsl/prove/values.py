"""Values that stand for all others.

A filter compares each field with a few literals, and between two of them all values fare alike. One of each kind is
enough to try every way in which a filter can come out.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from math import ceil, floor
from typing import TYPE_CHECKING, Final, cast

import msgspec

from dsl.built_ins import RANGES
from dsl.calendar import WEEKDAYS
from dsl.types import FieldType, Number
from dsl.values import middle, minus

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from dsl.schema import Field
    from dsl.types import Value

DISTINGUISHED: Final = (*RANGES, "at.weekday", "at.date")
"""Parts of an event's time for which a few values stand for all. They are tried apart, as if none decided another."""


class Domain(msgspec.Struct, frozen=True):
    """What a field, a trait or a built-in may be: its type, its lower bound, and whether it may be absent."""

    kind: FieldType | None
    """None for a built-in; `name` identifies it."""
    name: str = ""
    low: Number | None = None
    optional: bool = False


def of_field(field: Field, *, absent: bool = False) -> Domain:
    """Return the domain of a payload field; with `absent`, it may be absent regardless of its declaration."""
    return Domain(field.type, field.name, field.low, field.optional or absent)


def candidates(domain: Domain, constants: Collection[Value]) -> list[Value | None]:
    """Return a value for each way in which a value can compare with the constants, the constants among them."""
    found: list[Value | None] = [None] if domain.optional else []
    return [*found, *dict.fromkeys(_candidates(domain, constants))]


def _candidates(domain: Domain, constants: Collection[Value]) -> Iterator[Value]:
    match domain.kind:
        case FieldType.BOOL:
            yield from (True, False)
        case FieldType.STRING:
            yield from _texts(sorted(value for value in constants if isinstance(value, str)))
        case FieldType.INT | FieldType.TIMESTAMP:
            yield from _wholes(_numbers(constants), domain.low, None)
        case FieldType.DECIMAL:
            yield from _decimals(_numbers(constants), domain.low)
        case FieldType.USER | FieldType.USERS | FieldType.STRINGS | FieldType.INTS | FieldType.DECIMALS:
            yield "some"  # a filter asks no more of it here than whether it is there
        case None:
            yield from _built_ins(domain.name, constants)


def _numbers(constants: Collection[Value]) -> list[Number]:
    return sorted(value for value in constants if isinstance(value, int | Decimal) and not isinstance(value, bool))


def _wholes(constants: list[Number], low: Number | None, high: int | None) -> Iterator[int]:
    """Yield the whole numbers around each constant; from `low`, up to `high`."""
    floors = [floor(value) for value in constants]
    around = {near for least in floors for near in (least - 1, least, least + 1, least + 2)}
    around |= {0 if low is None else ceil(low)}
    yield from sorted(value for value in around if (low is None or value >= low) and (high is None or value <= high))


def _decimals(constants: list[Number], low: Number | None) -> Iterator[Number]:
    """Yield the constants, a number between any two, and one beyond either end."""
    marks = sorted({*constants, *(() if low is None else (low,))}) or [Decimal(0)]
    if low is None:
        yield minus(marks[0], 1)
    for one, two in pairwise(marks):
        if low is None or one >= low:
            yield one
            yield middle(one, two)
    yield marks[-1]
    yield minus(marks[-1], -1)


def _texts(constants: list[str]) -> Iterator[str]:
    """Yield the constants, the first text of all, and one behind each: strings have neighbours, but no last one."""
    yield ""
    for one, two in pairwise([*constants, None]):
        yield cast("str", one)
        # The next string of all is this one with U+0001 behind it (none holds U+0000); a readable one is nicer.
        near = f"{one}x"
        if two is None or near < two:
            yield near
        elif f"{one}\1" < two:
            yield f"{one}\1"


def _built_ins(name: str, constants: Collection[Value]) -> Iterator[Value]:
    if name in RANGES:
        low, high = RANGES[name]
        yield from _wholes([low, high, *_numbers(constants)], low, high)
    elif name == "at.weekday":
        yield from WEEKDAYS
    else:
        yield from _dates([value for value in constants if isinstance(value, str)])


def _dates(constants: list[str]) -> Iterator[str]:
    """Yield the days around each date."""
    yield "2026-06-17"
    for text in constants:
        day = date.fromisoformat(text)
        for step in (-1, 0, 1):
            if date.min.toordinal() <= day.toordinal() + step <= date.max.toordinal():
                yield (day + timedelta(days=step)).isoformat()
