"""Tiers that do not imply the one below them: a user could have silver without bronze."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from dsl.advice.witness import shown_apart
from dsl.syntax import RepeatEvery

if TYPE_CHECKING:
    from dsl.advice.rulebook import Rulebook
    from dsl.check.problems import Problems


MAX_TRIED: Final = 200
"""Maximum number of tiers of a rule set that the checker generates events for."""


def advise_on_tiers(book: Rulebook, problems: Problems) -> None:
    """Report each tier that some events earn without earning the tier above it in the file."""
    tried = 0
    for source, version in book.versions():
        every = isinstance(version.repeat, RepeatEvery)
        for low, high in pairwise(version.tiers):
            if book.conditions.implies(high.when, low.when, strong=every):
                continue
            tried += 1
            if tried > MAX_TRIED:
                return
            witness = shown_apart(book, high.when, low.when)
            if witness is not None:
                message = f"`{high.name.text}` can be earned without `{low.name.text}`: {witness} is enough"
                hint = "order tiers from the lowest to the highest"
                problems.of(source).warn("ACH506", high.name.span, message, hint)
