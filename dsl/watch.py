"""Watching a condition while it is folded: the same program, with more questions asked.

A *probe* stands for one part of a condition. It is compiled by the same compiler into the same kinds of nodes as the
condition itself, but it always has a latest start (a rule that does not need one remembers less). A
*watch* is an operation of the plan right before a judge: it looks at the probes at every event that counts, when they
have stepped and the judge has not yet judged.

Explanations and the coverage of examples are made of what a watch sees. Neither evaluates anything itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dsl.built_ins import COUNTED, UNLOCKS
from dsl.compile import compile_watched
from dsl.conditions import condition, context_of
from dsl.event import Position
from dsl.filters import compile_pattern
from dsl.nodes.compose import Per, Unless, Within, holds_at, start_at
from dsl.nodes.node import EVERYWHERE
from dsl.schema import fields_in
from dsl.syntax import Combine, Count, Extreme, Name, Nested, Sequence, Sum
from dsl.trees import all_counted, counted, judged, walk
from dsl.unlocks import asked_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dsl.compile import Plan
    from dsl.event import Event
    from dsl.judge import Judge
    from dsl.local_time import Clock, Now
    from dsl.memory import Context, Memory, Seen
    from dsl.nodes.node import Condition as Node
    from dsl.nodes.node import Measure, Reach, Tests
    from dsl.progress import State
    from dsl.schema import Rules
    from dsl.syntax import Condition, Pattern

    Look = Callable[[State, Event, Position], None]

Span = Within | Per | Unless


class Probe:
    """One part of a condition, compiled to be asked.

    `node` is the part with its modifiers and `bare` without them; `spans` lie between, outermost first. A part that
    sums a field that may be negative has no latest start (`tracked` is false), and its spans are fused into its node.
    """

    def __init__(self, tree: Condition, node: Node, parts: tuple[Probe, ...], *, tracked: bool, terms: Terms) -> None:
        self.tree = tree
        self.node = node
        self.parts = parts
        self.tracked = tracked
        self.clock = terms.clock
        self.seen = terms.seen
        self.spans, self.bare = _peeled(node)
        self.loose = terms.loose
        """The part without `within` and `per`, if it has one: it also shows events that came together too slowly."""
        self.patterns = own_patterns(tree)
        self.tests = tuple(compile_pattern(pattern, terms.clock) for pattern in self.patterns)
        """What matches, per pattern of the operator: one, or one a step of a sequence."""
        unless = tree.mods.unless
        self.stops: Tests = {} if unless is None else compile_pattern(unless, terms.clock)

    def walk(self) -> Iterator[Probe]:
        """Yield this probe and all below it, from the top."""
        yield self
        for part in self.parts:
            yield from part.walk()

    def sees(self, event: Event) -> bool:
        """Return whether an event is seen at all: not before `fresh`, not outside of `active`."""
        start, end = self.seen.start, self.seen.end
        return (start is None or event.at >= start) and (end is None or event.at < end)

    def stopped_by(self, state: State, event: Event) -> bool:
        """Return whether an event resets the part."""
        if event.type not in self.stops or not self.sees(event):
            return False
        test = self.stops[event.type]
        return test is None or test(state, event)

    def start(self, state: State, now: Now) -> Position | None:
        """Return the latest start in a moment, None if there is none or it is unknown."""
        return start_at(self.node, state, now) if self.tracked else None

    def reach(self, state: State, now: Now, outer: Reach = EVERYWHERE) -> Reach:
        """Return the reach of the bare part: its spans that end at the moment, intersected with `outer`."""
        for span in self.spans:
            outer = outer.meet(span.reach(state, now))
        return outer

    def full(self, state: State, now: Now, reach: Reach = EVERYWHERE) -> bool:
        """Return whether the part holds in a moment, with its latest start within reach."""
        return reach.has(self.start(state, now)) if self.tracked else holds_at(self.node, state, now)

    def measure(self, state: State, now: Now, reach: Reach = EVERYWHERE) -> Measure:
        """Return the progress of the part at a moment, within reach."""
        return self.node.measure(state, now, reach)


class Terms(NamedTuple):
    """Where a probe stands: whose clock it goes by, which events it sees, and its node without a window."""

    clock: Clock
    seen: Seen
    loose: Node | None


class Watch:
    """The operation right before the judge of one version and tier. It does nothing until `look` is set."""

    def __init__(self, judge: Judge, probe: Probe, types: frozenset[str]) -> None:
        self.judge = judge
        self.probe = probe
        self.types = types
        self.slot, self.moment = judge.slot, judge.moment
        self.look: Look | None = None

    def at_moment(self) -> Callable[[State, Event], None]:
        """Return the look at the begin of the version."""
        return self.stepper("")

    def stepper(self, event_type: str) -> Callable[[State, Event], None]:
        """See `Operation`."""
        del event_type

        def step(state: State, event: Event) -> None:
            if self.look is not None:
                self.look(state, event, Position(event.at, event.id))

        return step


class Watched(NamedTuple):
    """A plan with a watch before each judge of the achievements asked for."""

    plan: Plan
    watches: tuple[Watch, ...]


def watched(rules: Rules, scope: str) -> Watched:
    """Compile the rules of one scope with a watch before every judge."""
    watches: list[Watch] = []

    def watching(memory: Memory, judge: Judge, when: Condition) -> Watch:
        context = context_of(judge.version, judge.ruling.tier)
        types = memory.all_types | (judge.types & {UNLOCKS})
        watch = Watch(judge, _probe(rules, memory, judged(judge.version, when), context), types)
        watches.append(watch)
        return watch

    plan = compile_watched(rules, scope, watching)
    return Watched(plan, tuple(watches))


def only(rules: Rules, name: str) -> Rules:
    """Return the rules without the achievements that one does not depend on: what it earns is the same without them."""
    kept: set[str] = set()
    wanted = {name}
    while wanted:
        kept |= wanted
        asked = (asked_for(version) for each in wanted for version in rules.achievements[each])
        wanted = set[str]().union(*asked) - kept
    achievements = {each: versions for each, versions in rules.achievements.items() if each in kept}
    return msgspec.structs.replace(rules, achievements=achievements)


def _probe(rules: Rules, memory: Memory, tree: Condition, context: Context) -> Probe:
    parts = tree.parts if isinstance(tree, Combine) and not is_grouped(tree) else ()
    probes = tuple(_probe(rules, memory, part, context) for part in parts)
    tracked = all(part.tracked for part in probes) and not any(_is_signed(rules, part) for part in walk(tree))
    if context.owner.startswith("by "):
        tracked = False  # the groups of the judge, which forget what has earned
    asked = msgspec.structs.replace(context, tracked=True) if tracked else context
    node = condition(memory, tree, asked).node
    loose = None
    if (tree.mods.within is not None or tree.mods.per is not None) and not is_grouped(tree):
        windowless = msgspec.structs.replace(tree, mods=msgspec.structs.replace(tree.mods, within=None, per=None))
        loose = condition(memory, windowless, asked).node
    return Probe(tree, node, probes, tracked=tracked, terms=Terms(memory.clock(tree.mods), context.seen, loose))


def _peeled(node: Node) -> tuple[tuple[Span, ...], Node]:
    spans: list[Span] = []
    while isinstance(node, Span):
        spans.append(node)
        node = node.inner
    return tuple(spans), node


def own_patterns(tree: Condition) -> tuple[Pattern, ...]:
    """Return the patterns that a part counts: one, or one a step; of groups and units all; none of its parts."""
    return all_counted(tree) if is_grouped(tree) else counted(tree)


def is_grouped(tree: Condition) -> bool:
    """Return whether a part is looked at as a whole: what it asks of each group is no part with one answer."""
    return bool(tree.mods.by) or isinstance(tree, Nested)


def _is_signed(rules: Rules, tree: Condition) -> bool:
    """Return whether a condition is a sum that may fall."""
    if not isinstance(tree, Sum):
        return False
    fields = fields_in(rules, tree.event, tree.of.text)
    return any(each is None or each.low is None or each.low < 0 for each in fields)


def needed_fields(tree: Condition) -> tuple[str, ...]:
    """Return the fields that an event must have to match: those of `distinct`, `of` or `by`."""
    match tree:
        case Count(distinct=names):
            return tuple(name.text for name in names if name.text not in COUNTED)
        case Sequence(by=Name() as name):
            return () if name.text in COUNTED else (name.text,)
        case Sum(of=name) | Extreme(of=name):
            return (name.text,)
        case _:
            return ()


def lacks(event: Event, names: tuple[str, ...]) -> str | None:
    """Return the first of some fields that an event has no value of: absent, or a list without elements."""
    return next((name for name in names if event.fields.get(name) in (None, ())), None)
