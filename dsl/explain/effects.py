"""The effect of one event on the parts of a condition: it counted, added nothing, reset it, or did not count."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec import structs

from dsl import words
from dsl.built_ins import COUNTED
from dsl.calendar import label, unit_index
from dsl.explain.groups import belongs, has_keys
from dsl.explain.shape import Did, Progress
from dsl.explain.unmet import instant, shown, unmet
from dsl.filters import field_getter, pattern_types
from dsl.nodes.compose import Per, Within
from dsl.nodes.streak import StreakReached
from dsl.progress import Run
from dsl.syntax import Count, Extreme, Ref, Sequence, Streak, StreakUnits, Sum, Unlocked
from dsl.types import Unit
from dsl.values import canonical_number
from dsl.watch import is_grouped, lacks, needed_fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.event import Event
    from dsl.nodes.node import Measure
    from dsl.progress import State
    from dsl.syntax import Pattern
    from dsl.watch import Probe


class Seen(NamedTuple):
    """One event at one part: the progress of the part before and after it, in the span that ends at the event."""

    event: Event
    before: Measure
    after: Measure
    broke: str | None
    """The unit at which the run of a streak broke before this event, if it did."""


def did(path: str, probe: Probe, seen: Seen, state: State) -> Iterator[Did]:
    """Yield what an event did to one part itself; not what it did to the parts below."""
    after = Progress(str(seen.after.fraction), seen.after.current, seen.after.target)
    for each in _did(path, probe, seen, state):
        yield structs.replace(each, progress=after) if each.effect in {"counts", "starts afresh"} else each


def _did(path: str, probe: Probe, seen: Seen, state: State) -> Iterator[Did]:
    event = seen.event
    if probe.stopped_by(state, event):
        lost = f", at {ratio(seen.before)}" if 0 < seen.before.fraction < 1 else ""
        yield Did(path, "starts afresh", f"resets it{lost}")
    if isinstance(probe.tree, Unlocked) and seen.before.fraction < seen.after.fraction:
        yield Did(path, "other", f"{words.target_name(probe.tree)} is earned")
    types = frozenset[str]().union(*(pattern_types(pattern) for pattern in probe.patterns))
    if event.type in types:
        yield _matched(path, probe, seen, state)


def matches(probe: Probe, state: State, event: Event) -> bool:
    """Return whether a part counts an event, at any step."""
    if not probe.sees(event) or lacks(event, needed_fields(probe.tree)) is not None:
        return False
    if is_grouped(probe.tree) and not has_keys(probe, event):
        return False
    tests = (each[event.type] for each in probe.tests if event.type in each)
    return any(test is None or test(state, event) for test in tests)


def _matched(path: str, probe: Probe, seen: Seen, state: State) -> Did:
    event, lacking = seen.event, lacks(seen.event, needed_fields(probe.tree))
    if not probe.sees(event):
        return Did(path, "unseen", f"does not count: {_unseen(probe, event)}")
    if not matches(probe, state, event):
        if lacking is not None:
            return Did(path, "no field", f"does not count: it has no {lacking}")
        if is_grouped(probe.tree) and not has_keys(probe, event):
            return Did(path, "no field", "does not count: it has no value to be grouped by")
        return Did(path, "filtered", f"does not count: {_filtered(probe, state, event)}")
    if isinstance(probe.tree, Count | Streak | Sequence) and probe.stopped_by(state, event):
        return Did(path, "again", "does not count, because it resets it")
    return _counted(path, probe, seen, state)


def _unseen(probe: Probe, event: Event) -> str:
    start, end = probe.seen.start, probe.seen.end
    if start is not None and event.at < start:
        return f"events count from {instant(start)} on"
    return f"events count before {instant(event.at if end is None else end)} only"


def _filtered(probe: Probe, state: State, event: Event) -> str:
    """Return why no pattern that names the event's type let it pass."""
    texts = [text for pattern in probe.patterns for text in _refused(pattern, probe, state, event)]
    return "; ".join(dict.fromkeys(texts)) or "no filter lets it pass"


def _refused(pattern: Pattern, probe: Probe, state: State, event: Event) -> Iterator[str]:
    own = [one.where for one in pattern.alternatives if event.type in one.types]
    if not own:
        return
    for where in (*own, pattern.where):
        if where is not None:
            yield from unmet(where, lambda ref: field_getter(ref, probe.clock), state, event)


def _counted(path: str, probe: Probe, seen: Seen, state: State) -> Did:
    what, how = _what(probe, seen, state), ratio(seen.after)
    if seen.before.fraction == 1 and seen.after.fraction == 1:
        return Did(path, "counts", f"{what}; it already held")
    if isinstance(probe.tree, Extreme) and not is_grouped(probe.tree):
        return Did(path, "counts", f"{what}: {_reaches(probe.tree, seen.after)}")
    if seen.broke is not None:
        return Did(path, "counts", f"{what}: {how}, because {seen.broke}")
    if seen.before == seen.after and _adds_nothing(probe):
        if isinstance(probe.tree, Sequence):
            return Did(path, "again", f"fills no further step: {how}")
        return Did(path, "again", f"{what}: still {how}")
    if seen.after.fraction < seen.before.fraction and probe.tracked:
        return Did(path, "counts", f"{what}: {how}, because older events have left the span")
    return Did(path, "counts", f"{what}: {how}")


def _adds_nothing(probe: Probe) -> bool:
    """Return whether a match that moves nothing was in vain: in a window it may stand for one that has just left."""
    if is_grouped(probe.tree) or (isinstance(probe.tree, Count) and not probe.tree.distinct):
        return False
    return not any(isinstance(span, Within | Per) for span in probe.spans)


def _reaches(tree: Extreme, after: Measure) -> str:
    if after.fraction == 1:
        return "reaches the bound"
    return "not low enough" if tree.kind == "min" else f"the most so far is {canonical_number(after.current or 0)}"


def _what(probe: Probe, seen: Seen, state: State) -> str:
    """Return what of an event is counted."""
    tree, event = probe.tree, seen.event
    if is_grouped(tree):
        return belongs(probe, state, event)
    match tree:
        case Count(distinct=()):
            return "counts"
        case Count(distinct=names):
            return ", ".join(_value(name.text, probe, state, event) for name in names)
        case Sum(of=name) | Extreme(of=name):
            return _value(name.text, probe, state, event)
        case Streak():
            return _unit(tree, probe, state, event)
        case Sequence(by=None):
            return "fills a step"
        case Sequence(by=by) if by is not None:
            return f"fills a step for {by.text} {shown(event.fields.get(by.text, ''))}"
        case _:
            return "counts"


def _value(name: str, probe: Probe, state: State, event: Event) -> str:
    """Return a field of an event, or a part of its own time, with its value."""
    value = field_getter(Ref(name=name, builtin=name in COUNTED), probe.clock)(state, event)
    return f"{name} {'' if value is None else shown(value)}"


def ratio(measure: Measure) -> str:
    """Return `7 of 10`, `10 of more than 10` for a total on a bound to exceed, or a percentage of a composition."""
    if measure.current is None or measure.target is None:
        return f"{int(measure.fraction * 100)}%"
    more = "more than " if measure.current == measure.target and measure.fraction < 1 else ""
    return f"{canonical_number(measure.current)} of {more}{canonical_number(measure.target)}"


# -- streaks ----------------------------------------------------------------------------------------------------------


def _unit(tree: Streak, probe: Probe, state: State, event: Event) -> str:
    """Return the calendar unit in which an event falls."""
    return f"{tree.unit.text} {label(Unit(tree.unit.text), unit_of(probe, state, event))}"


def unit_of(probe: Probe, state: State, event: Event) -> int:
    """Return the index of the calendar unit of a streak in which an event falls."""
    tree = probe.tree
    if not isinstance(tree, Streak):
        raise TypeError(tree)
    return unit_index(Unit(tree.unit.text), probe.clock.local(state, event))


def first_unit(probe: Probe, state: State) -> int | None:
    """Return the unit with which the latest run that is long enough begins to be so; None where there is none."""
    bare = probe.bare
    node = state.nodes.get(bare.streaks.slot) if isinstance(bare, StreakReached) else None
    return node.unit if isinstance(node, Run) else None


def run_of(probe: Probe, state: State) -> tuple[int, int] | None:
    """Return (last active unit, active units of its run) of a streak; None where no unit is active yet."""
    bare = probe.bare
    if not isinstance(bare, StreakReached):
        return None
    node = state.nodes.get(bare.streaks.slot)
    runs = list(bare.streaks.runs(node)) if isinstance(node, Run) else []
    return runs[-1] if runs else None


def broken_at(probe: Probe, last: int) -> str:
    """Return where a run that ended at unit `last` broke: the first unit that it could not do without."""
    tree = probe.tree
    if not isinstance(tree, Streak | StreakUnits):
        raise TypeError(tree)
    where = label(Unit(tree.unit.text), last + 1 + tree.grace)
    return f"the streak broke on {where}: {_lacked(tree)}"


def _lacked(tree: Streak | StreakUnits) -> str:
    """Return what a unit lacked that was not active."""
    if isinstance(tree, StreakUnits):
        return f"without {words.condition(tree.inner)}"
    return f"{'no' if tree.min == 1 else f'fewer than {tree.min}'} {words.pattern(tree.event)}"
