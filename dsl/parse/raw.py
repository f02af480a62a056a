"""Argument lists as they were written, before the operators make sense of them.

They live only while a condition is read: `operators` turns them into nodes of the tree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsl.parse.literals import Percent
from dsl.syntax import Condition, Duration, Instant, Literal

if TYPE_CHECKING:
    from dsl.source import Span
    from dsl.syntax import Name, Predicate

Scalar = Literal | Duration | Instant | Percent


class RawEvent(NamedTuple):
    """A name with or without a role and a filter: an event, a field, a unit, an achievement."""

    name: Name
    where: Predicate | None
    span: Span
    role: Name | None = None


class RawList(NamedTuple):
    """`[...]` with or without a role and a filter behind it."""

    items: tuple[RawEvent | RawList, ...]
    where: Predicate | None
    span: Span
    role: Name | None = None


RawPattern = RawEvent | RawList


class Bound(NamedTuple):
    """`>= 10`, or the text in its place."""

    op: str
    op_span: Span
    value: Scalar | Name
    span: Span


class Named(NamedTuple):
    """`name=value`."""

    name: Name
    value: RawPattern | Scalar
    span: Span


class Glued(NamedTuple):
    """`name=value >= 10`: two arguments without a comma between them."""

    named: Named
    bound: Bound


class BoundedName(NamedTuple):
    """`name >= 10`: a bound with a name before it."""

    name: RawPattern
    bound: Bound
    span: Span


class Unread(NamedTuple):
    """A condition that could not be read; the reading knows why."""

    span: Span


Argument = Named | Glued | Bound | BoundedName | RawPattern | Scalar | Condition | Unread
