"""What may stand at a place, as a value."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, NamedTuple

from dsl.source import Span


class Want(Enum):
    """What may stand at a place."""

    DECLARATION = auto()
    VERSION = auto()
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
    STEPS = auto()
    WHERE = auto()
    FIELD = auto()
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
    """What may stand at a place, and what is written around it.

    `typed` is the word that is being written; `events` those whose fields are meant, `field` the one compared with,
    `operator` the one whose arguments are written, `given` the arguments, clauses, keys or users that are there,
    `declared` the fields that the unfinished declaration itself has so far.
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
