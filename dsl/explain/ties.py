"""Ties that decided: events of one instant, whose order is that of their ids, and where another order tells otherwise.

Steps of a sequence are the usual case: a producer that cuts instants to the second, with ids that say nothing of time.
Whether a tie decided is not guessed: the events are folded again with the ids of that instant changed round.
"""

from __future__ import annotations

from itertools import groupby, islice, permutations
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from dsl.calendar import format_instant
from dsl.explain.shape import Tie
from dsl.explain.story import place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dsl.event import Event
    from dsl.explain.occurrences import Meant
    from dsl.explain.story import Story
    from dsl.progress import Grant

    Outcome = frozenset[tuple[str | None, int]]

MOST_ORDERS: Final = 24
"""Orders of one instant that are tried: all of four events."""
MOST_WORK: Final = 200_000
"""Events that are folded at most in search of ties."""


def ties(story: Story, aim: Meant, grants: Sequence[Grant]) -> list[Tie]:
    """Return the ties that decided about an occurrence, in the order of time; `grants` is what the fold came to."""
    left = MOST_WORK
    found: list[Tie] = []
    before = _outcome(grants, aim)
    for group in _groups(story):
        for order in islice(permutations(group), 1, MOST_ORDERS):
            left -= len(story.events)
            if left < 0:
                return found
            after = _outcome(story.fold(_reordered(story.events, group, order)).grants, aim)
            if after != before:
                found.append(_tie(group, before, after))
                break
    return found


def _groups(story: Story) -> Iterator[list[Event]]:
    """Yield the events of each instant that has several which differ, and that the rule hears."""
    heard = {name for watch in story.watches for name in watch.judge.types}
    events = [event for event in story.events if event.type in heard]
    for _, together in groupby(events, key=lambda event: event.at):
        group = list(together)
        if any((event.type, event.fields) != (group[0].type, group[0].fields) for event in group):
            yield group


def _reordered(events: Sequence[Event], group: Sequence[Event], order: Sequence[Event]) -> list[Event]:
    """Return all events with those of one instant in another order: each takes the id of the place that it takes."""
    changed = {old.id: replace(old, id=new.id) for old, new in zip(order, group, strict=True)}
    return sorted((changed.get(event.id, event) for event in events), key=place)


def _outcome(grants: Sequence[Grant], aim: Meant) -> Outcome:
    """Return what was earned when, of the occurrence in question."""
    meant = [grant for grant in grants if aim.occurrence is None or grant.occurrence == aim.occurrence]
    return frozenset((grant.occurrence, grant.earned_at) for grant in meant)


def _tie(group: Sequence[Event], before: Outcome, after: Outcome) -> Tie:
    shown = ", ".join(f"{event.type} ({event.id})" for event in group[:MOST_ORDERS])
    moved = sorted(at for _, at in after - before)
    if moved:
        instead = f"it would have been earned at {format_instant(moved[0]).replace('.000000Z', 'Z')}"
    else:
        instead = "it would not have been earned"
    at = format_instant(group[0].at)
    text = f"{shown} carry one instant and stand in the order of their ids; in another order {instead}"
    return Tie(at, [event.id for event in group], text)
