"""The missing steps for a condition to hold: read from the nodes, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsl import words
from dsl.calendar import label
from dsl.explain.effects import broken_at, run_of
from dsl.explain.groups import grouped
from dsl.explain.unmet import instant
from dsl.local_time import EventClock, UserClock, stretch_now, unit_now
from dsl.nodes.recent import CountReached, DistinctReached, SumReached
from dsl.nodes.sequence import SequenceReached
from dsl.progress import KeyedSteps, RecentAmounts, Steps
from dsl.syntax import Combine, Count, Extreme, Sequence, Streak, StreakUnits, Sum, Unlocked
from dsl.types import Unit
from dsl.values import canonical_number, minus
from dsl.watch import is_grouped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.event import Position
    from dsl.local_time import Now
    from dsl.nodes.node import Measure, Reach
    from dsl.progress import State
    from dsl.syntax import Duration
    from dsl.watch import Probe


class Broken(NamedTuple):
    """The last event that reset a part, and the progress of the part at that time."""

    event_type: str
    at: int
    lost: str


class Closest(NamedTuple):
    """The shortest span in which a part was complete, and its time: too long for its window."""

    length: int
    at: int


class History(NamedTuple):
    """The observations of one part on the way."""

    broken: Broken | None = None
    closest: Closest | None = None
    run_broke: str | None = None


class Moment(NamedTuple):
    """The time of the question, the state of the fold then, and the observations of each part until then."""

    state: State
    now: Now
    histories: dict[int, History]

    def history(self, probe: Probe) -> History:
        """Return the observations of a part."""
        return self.histories.get(id(probe), History())


def missing(probe: Probe, moment: Moment, reach: Reach) -> list[str]:
    """Return the missing steps for a part that does not hold to hold on the events within reach."""
    inner = probe.reach(moment.state, moment.now, reach)
    steps = list(_steps(probe, moment, inner))
    return [*steps, *_spans(probe, moment, inner)] or [words.condition(probe.tree)]


def _steps(probe: Probe, moment: Moment, reach: Reach) -> Iterator[str]:
    """Yield what the operator itself lacks."""
    tree, measure = probe.tree, probe.measure(moment.state, moment.now, reach)
    if isinstance(tree, StreakUnits) and not tree.mods.by:
        yield from _streak(probe, tree, moment, measure)
        return
    if is_grouped(tree):
        yield grouped(probe, moment.state, moment.now, reach)
        return
    match tree:
        case Count():
            yield _more(tree, measure)
        case Sum():
            yield _sum(tree, measure)
        case Extreme():
            best = "" if not measure.current or tree.kind == "min" else f"; the most so far is {_of(measure)}"
            yield words.operator(tree) + best
        case Streak():
            yield from _streak(probe, tree, moment, measure)
        case Sequence():
            yield from _sequence(probe, tree, moment, reach)
        case Combine():
            yield from _combined(probe, tree, moment, reach)
        case Unlocked():
            yield _unlocked(probe, tree, moment)
        case _:
            raise TypeError(tree)


def _of(measure: Measure) -> str:
    return canonical_number(measure.current or 0)


def _left(measure: Measure) -> str:
    return canonical_number(minus(measure.target or 0, measure.current or 0))


def _more(tree: Count, measure: Measure) -> str:
    if not measure.current:
        return words.operator(tree)
    left, what = _left(measure), words.pattern(tree.event)
    if not tree.distinct:
        return f"{left} more {what}"
    names = [name.text for name in tree.distinct]
    if len(names) > 1:
        return f"{left} more {what} with {'another' if left == '1' else 'other'} {words.combined(tree.distinct)}"
    return f"{left} more {what} with {'another' if left == '1' else 'other'} {names[0]}"


def _sum(tree: Sum, measure: Measure) -> str:
    if not measure.current or measure.target is None or measure.target <= 0:
        return words.operator(tree)
    left = _left(measure)
    if tree.cmp.op == ">" and measure.target == tree.cmp.bound:
        left = "any" if left == "0" else f"more than {left}"
    return f"{left} more in {tree.of.text} of {words.pattern(tree.event)}"


def _unlocked(probe: Probe, tree: Unlocked, moment: Moment) -> str:
    earned = probe.start(moment.state, moment.now)
    name = words.target_name(tree)
    return f"{name}: not earned" if earned is None else f"{name}: earned at {instant(earned.at)}, too long ago"


def _combined(probe: Probe, tree: Combine, moment: Moment, reach: Reach) -> Iterator[str]:
    open_ = [part for part in probe.parts if not part.full(moment.state, moment.now, reach)]
    needed = tree.k - (len(probe.parts) - len(open_))
    if needed >= len(open_):
        for part in open_:
            yield from missing(part, moment, reach)
    elif needed > 0:
        ways = ("; ".join(missing(part, moment, reach)) for part in open_)
        yield f"{needed} of these: " + " | ".join(ways)


# -- streaks and sequences --------------------------------------------------------------------------------------------


def _streak(probe: Probe, tree: Streak | StreakUnits, moment: Moment, measure: Measure) -> Iterator[str]:
    run, unit = run_of(probe, moment.state), Unit(tree.unit.text)
    if run is None or not measure.current:
        if run is not None and _is_over(probe, tree, moment, run[0]):
            yield broken_at(probe, run[0]) + _by_utc(probe)
        yield words.operator(tree)
        return
    broke = moment.history(probe).run_broke
    if broke is not None:
        yield broke
    left = words.plural(minus(measure.target or 0, measure.current), f"more {unit.value}")
    until = label(unit, run[0] + 1 + tree.grace)
    each = words.pattern(tree.event) if isinstance(tree, Streak) else words.condition(tree.inner)
    yield f"{left} in a row with {each}: the next one by {until}, or the streak breaks"


def _by_utc(probe: Probe) -> str:
    """Return by whose clock it is so now, where the next event may come with another."""
    clock = probe.clock
    many = isinstance(clock, EventClock) or (isinstance(clock, UserClock) and not clock.single)
    return ", by UTC" if many else ""


def _is_over(probe: Probe, tree: Streak | StreakUnits, moment: Moment, last: int) -> bool:
    return unit_now(probe.clock, moment.state, moment.now, Unit(tree.unit.text)) - last - 1 > tree.grace


def _sequence(probe: Probe, tree: Sequence, moment: Moment, reach: Reach) -> Iterator[str]:
    done, key = _furthest(probe, moment.state, reach)
    rest = ", then ".join(words.pattern(step) for step in tree.steps[done:])
    if done == 0:
        yield words.operator(tree)
    elif tree.by is None or key is None:
        yield f"then {rest} (step {done + 1} of {len(tree.steps)})"
    else:
        same = "the same" if key.startswith("\x01") else f'"{key}"'
        yield f"then {rest} with {tree.by.text} {same} (step {done + 1} of {len(tree.steps)})"


def _furthest(probe: Probe, state: State, reach: Reach) -> tuple[int, str | None]:
    """Return how many steps are done at most, and for which value of `by`."""
    bare = probe.bare
    node = state.nodes.get(bare.sequences.slot) if isinstance(bare, SequenceReached) else None
    if isinstance(node, KeyedSteps):
        return max(((_done(best, reach), key) for key, best in node.best.items()), default=(0, None))
    return (_done(node.best, reach), None) if isinstance(node, Steps) else (0, None)


def _done(best: list[Position | None], reach: Reach) -> int:
    return max((i for i, at in enumerate(best, 1) if reach.has(at)), default=0)


# -- spans ------------------------------------------------------------------------------------------------------------


def _spans(probe: Probe, moment: Moment, reach: Reach) -> Iterator[str]:
    """Yield what the modifiers have to do with it."""
    mods, history = probe.tree.mods, moment.history(probe)
    if mods.within is not None:
        yield from _within(probe, moment, reach, mods.within)
    if mods.per is not None:
        unit = Unit(mods.per.text)
        index = unit_now(probe.clock, moment.state, moment.now, unit)
        _, end = stretch_now(probe.clock, moment.state, moment.now, unit)
        yield f"all in one {unit.value}: {label(unit, index)} ends at {instant(end)}"
    if history.broken is not None:
        broken = history.broken
        lost = f", at {broken.lost}" if broken.lost else ""
        yield f"{broken.event_type} at {instant(broken.at)} reset it{lost}"


def _within(probe: Probe, moment: Moment, reach: Reach, window: Duration) -> Iterator[str]:
    span, evidence = words.duration(window), sorted(counted(probe, moment.state, reach))
    if evidence:
        which = "the counted event" if len(evidence) == 1 else f"the oldest of the {len(evidence)} counted"
        yield f"window of {span}: {which} falls out at {instant(evidence[0].at + window.us)}"
    closest = moment.history(probe).closest
    if closest is not None:
        yield (
            f"window of {span}: the closest was {words.length(closest.length)}, at {instant(closest.at)};"
            f" it must be shorter than {span}"
        )


def counted(probe: Probe, state: State, reach: Reach) -> list[Position]:
    """Return what a part has counted within reach and still remembers."""
    found = [at for part in probe.parts for at in counted(part, state, reach)]
    found.extend(at for at in _remembered(probe, state) if reach.has(at))
    return found


def _remembered(probe: Probe, state: State) -> list[Position]:
    bare = probe.bare
    match bare:
        case CountReached() | DistinctReached():
            return bare.recent.positions(state)
        case SumReached():
            node = state.nodes.get(bare.amounts.slot)
            return [at for at, _ in node.items] if isinstance(node, RecentAmounts) else []
        case SequenceReached():
            node = state.nodes.get(bare.sequences.slot)
            return [at for at in node.best if at is not None] if isinstance(node, Steps) else []
        case _:
            return []
