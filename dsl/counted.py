"""What a pattern over `unlocks` counts: found when all achievements are known, and kept in the tree."""

from __future__ import annotations

import msgspec

from dsl.types import FieldType, Number


class CountedField(msgspec.Struct, frozen=True):
    """What a field of the unlocks that are counted may be; `low` is the least of its numbers."""

    type: FieldType
    low: Number | None = None
    unlike: str | None = None
    """In words, where two of the values have types that do not fit together."""


class Counted(msgspec.Struct, frozen=True):
    """The achievements whose unlocks a pattern counts.

    `text` says which versions and tiers they are, and what each says in the fields that are read: equal texts are
    equal sets of unlocks, as far as rules decide that.
    """

    names: frozenset[str]
    text: str
    fields: dict[str, CountedField]
    sure: bool = True
    """Whether each unlock matches or not for good, whichever version grants it."""
