"""The valid text at a place, as a value."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, NamedTuple

from dsl.source import Span


class Want(Enum):
    """What may stand at a place."""

    DECLARATION = auto()
    VERSION = auto()
    EACH = auto()
    LIST = auto()
    FROM = auto()
    ONCE = auto()
    ONCE_FIELD = auto()
    PER = auto()
    WITHIN = auto()
    TYPE = auto()
    CLAUSE = auto()
    TIER_CLAUSE = auto()
    TEXT = auto()
    OPERATOR = auto()
    ARGUMENT = auto()
    EVENT = auto()
    COUNTED = auto()
    """An event that a condition counts: `unlocks` may stand there, too."""
    STEPS = auto()
    AS = auto()
    ROLE = auto()
    WHERE = auto()
    FIELD = auto()
    GROUP = auto()
    NUMBER_FIELD = auto()
    TRAIT = auto()
    COMPARISON = auto()
    VALUE = auto()
    CONNECTIVE = auto()
    PRESENT = auto()
    UNIT = auto()
    ZONE = auto()
    ZONE_NAME = auto()
    DURATION = auto()
    ACHIEVEMENT = auto()
    NOT = auto()
    REVEAL = auto()
    REPEAT = auto()
    TZ = auto()
    SCOPE = auto()
    FAMILY = auto()
    REWARD = auto()
    LINE = auto()
    USER = auto()
    KEY = auto()
    SUFFIX = auto()
    EVERY = auto()
    EXPECTATION = auto()


class Place(NamedTuple):
    """The valid text at a place, and its context.

    `typed` is the current word; `events` are the events of the fields, `field` is the compared field, `operator` is the
    operator of the arguments, `given` are the existing arguments, clauses, keys or users, `declared` are the fields of
    the unfinished declaration so far.
    """

    wants: tuple[Want, ...]
    typed: Span
    events: tuple[str, ...] = ()
    field: str = ""
    operator: str = ""
    given: frozenset[str] = frozenset()
    declared: tuple[str, ...] = ()


_HERE: Final = Span(0, 0)
"""In place of the word being written, until that is known."""


def want(*wants: Want) -> Place:
    """Return a place where any of these may stand."""
    return Place(wants, _HERE)
