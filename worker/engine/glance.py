"""A glance at a stored state: how many events a user is short of what is new, as far as that is plain to see. Pure.

To carry a state over says all that there is to know of it, and takes ten times as long. Where achievements and tiers
are new, and count on aggregates that there were before, most states say at once that their users are far from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.partial_state import before_number, nodes_of
from dsl.progress import State
from dsl.shortfall import needed, shortfall

if TYPE_CHECKING:
    from collections.abc import Callable

    from dsl.carry import Carriage
    from dsl.compile import Plan
    from dsl.event import Position
    from dsl.judge import Judge
    from dsl.progress import Amount

BEYOND: Final = 10**9
"""More events than any user has behind a mark."""


class Seen(NamedTuple):
    """What a state says of a user."""

    short: Amount
    """How many events at least have to come before anything new is earned; 0 or less where one may do, or none."""
    mark: Position


class Count(NamedTuple):
    """A plain count in the text of a state: what stands before its number (`before_number`), and a bound of it."""

    before: str
    least: int


class Glance(NamedTuple):
    """Looks at the texts of states."""

    look: Callable[[bytes], Seen | None]
    """Returns None where a text says too little."""
    counts: tuple[Count, ...] | None
    """Where none of these has reached its bound, nothing is earned; None where counts alone do not say so."""


def glance_of(carriage: Carriage, part: Plan) -> Glance | None:
    """Return what looks at states that a carriage carries, for the rulings of a part; None where it has to carry them.

    What is short of a bound has never reached it, so nothing about the past is doubtful.
    """
    rulings = [carriage.new.rulings[slot] for slot in sorted(part.judged)]
    judges = [judge for ruling in rulings for judge in ruling.judges]
    known = {
        ruling.slot for ruling in carriage.changed if ruling.before is None and not ruling.named and not ruling.own
    }
    moves = {
        new: old for new, old in carriage.kept.items() if any(new == entry.aggregate.slot for entry in part.entries)
    }
    plain = part.judged <= known and len(moves) == len(part.entries) and not part.moments
    if not plain or not judges or not all(map(_is_plain, judges)):
        return None
    read, shortfalls = nodes_of({old: new for new, old in moves.items()}), [shortfall(one.built.node) for one in judges]

    def look(text: bytes) -> Seen | None:
        found = read(text)
        if found is None:
            return None
        mark, nodes = found
        if mark is None or not mark.id:
            return None
        state = State(mark, nodes)
        return Seen(min([short(state) for short in shortfalls]), mark)

    counts = [needed(judge.built.node) for judge in judges]
    if any(one is None for one in counts):
        return Glance(look, None)
    found = {Count(before_number(moves[one.slot]), one.least) for some in counts for one in some or ()}
    return Glance(look, tuple(sorted(found)))


def _is_plain(judge: Judge) -> bool:
    """Tell whether a judge looks at aggregates alone, and has earned nothing where they do not reach its bound."""
    return not judge.after and judge.lasts()
