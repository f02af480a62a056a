"""The begin of a version is a moment: it is judged then, on the events before it, for every subject.

A moment stands before all events of its instant. An event behind it finds it passed, and so does a clock that reaches
it without an event. What is earned at it has no event of its own: its id is "", so that its place in canonical order is
the moment.

Aggregates do not move at a moment: a condition is judged there as an event would find it that matches nothing. Only the
spans over what was earned at it look at it, as at the event that earned it.

A state that has earned something at a moment has its mark there, because an event before it is late from then on. One
that has earned nothing stays as it is, and may be asked again.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from dsl.event import Event, Position
from dsl.local_time import Now
from dsl.memory import Entry
from dsl.nodes.compose import named_by
from dsl.syntax import Combine, Sum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from dsl.memory import Operation
    from dsl.nodes.node import Step
    from dsl.progress import Grant, State
    from dsl.syntax import Achievement, Condition, Pattern


@runtime_checkable
class AtMoment(Protocol):
    """An operation that takes place at the begin of a version: a judgement, or a look at what will be judged."""

    slot: int
    """Of the ruling."""
    moment: int | None
    """The instant (microseconds) at which the version begins; None where nothing is earned then."""

    def at_moment(self) -> Step:
        """Return the operation at its moment."""
        ...


class Moment(NamedTuple):
    """An instant (microseconds) at which versions begin, and what is done then, in order."""

    at: int
    acts: tuple[Act, ...]


class Act(NamedTuple):
    """An operation; it takes place if one of some rulings is earned at the moment, or always (None)."""

    step: Step
    if_earned: AbstractSet[int] | None
    slot: int
    """The ruling that it judges; -1 for none."""


def moments_of(operations: Sequence[Operation]) -> tuple[Moment, ...]:
    """Return the moments of a plan, ascending, from its operations in order."""
    acts: defaultdict[int, list[Act]] = defaultdict(list)
    judged: defaultdict[int, set[int]] = defaultdict(set)
    for each in operations:
        if isinstance(each, AtMoment):
            if each.moment is not None:
                acts[each.moment].append(Act(each.at_moment(), None, each.slot))
                judged[each.moment].add(each.slot)
        elif isinstance(each, Entry) and (named := frozenset(named_by(each.aggregate))):
            for at in [at for at, slots in judged.items() if not named.isdisjoint(slots)]:
                acts[at].append(Act(each.stepper(""), named, -1))
    return tuple(Moment(at, tuple(acts[at])) for at in sorted(acts))


def passed(state: State, moments: Iterable[Moment], until: int) -> Iterator[list[Grant]]:
    """Judge the moments behind a state's mark up to an instant, inclusive, in place; yield what each has earned.

    All events before each of them have to be folded.
    """
    for moment in moments:
        if moment.at > until:
            return
        # Where nothing was heard, there is nothing to judge.
        if state.mark is not None and state.mark.at < moment.at:
            yield _judged(state, moment)


def _judged(state: State, moment: Moment) -> list[Grant]:
    event = Event("", "", "", "", moment.at, 0, {})
    grants: list[Grant] = []
    earned: set[int] = set()
    for step, if_earned, slot in moment.acts:
        if if_earned is not None and if_earned.isdisjoint(earned):
            continue
        if more := step(state, event):
            grants += more
            earned.add(slot)
    if grants:
        state.mark = Position(moment.at, "")
    return grants


def now_at(event: Event) -> Now:
    """Return the moment of a question at an event, or at the begin of a version."""
    return Now(event.at, event if event.id else None)


def at_begin(state: State) -> bool:
    """Tell whether a state stands at a moment at which it has earned something: an earlier event is late."""
    return state.mark is not None and not state.mark.id


def at_moment(grant: Grant) -> bool:
    """Tell whether something was earned at the begin of its version, and by no event."""
    return not grant.event_id


# -- versions ----------------------------------------------------------------------------------------------------------


def moment_of(version: Achievement) -> int | None:
    """Return the instant at which a version is judged on what came before; None where nothing is earned then."""
    if version.since is None or version.fresh:
        return None
    since, active = version.since.us, version.active
    begun = active is None or active.start is None or active.start.us <= since
    ended = active is not None and active.end is not None and active.end.us <= since
    return since if begun and not ended else None


def holds_of_nothing(when: Condition, signed: Callable[[Pattern, str], bool]) -> bool:
    """Tell whether a condition may hold before its first event: a total that may be negative, and a bound below 1."""
    match when:
        case Combine(parts=parts):
            return any(holds_of_nothing(part, signed) for part in parts)
        case Sum(event=event, of=of, cmp=cmp):
            return signed(event, of.text) and (cmp.bound < 0 or (cmp.bound == 0 and cmp.op == ">="))
        case _:
            return False
