"""Keyed conditions: one condition for each value of a field, or for each calendar unit, side by side.

The condition is compiled once, into operations over the slots of one *group*. An event steps the groups that it
belongs to, and no other: what is asked of all groups (how many hold, the latest start) is kept beside them. Two things
concern every group. An event of `unless` without a key is noted once, and a group takes it in when it is next looked
at. And an unlock that the condition names is a fact of the subject: at the event that earns it, every group is looked
at, which happens once an unlock.

A group has moments of its own: its events, those that reset it, and those that earn an unlock which it names.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from copy import copy
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from dsl.calendar import MAX_OFFSET, unit_index
from dsl.event import Position
from dsl.nodes.compose import Grouped, Per, Unless, Within, lasting, named_in
from dsl.nodes.keys import FieldKeys, UnitKeys, is_label
from dsl.nodes.late import Undo, nothing, put
from dsl.nodes.node import in_turn
from dsl.nodes.totals import SinceDistinct, SinceTotal, SinceTotalOrNothing
from dsl.progress import Group, KeyedGroups, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dsl.event import Event
    from dsl.filters import Test
    from dsl.nodes.keys import Keys
    from dsl.nodes.late import LateStep
    from dsl.nodes.node import Aggregate, Condition, Step, Tests
    from dsl.types import Unit


_FEW: Final = 64
"""Calendar units below which none is forgotten."""


class Operation(Protocol):
    """An aggregate of a group, with the events that it sees."""

    aggregate: Aggregate
    types: frozenset[str]

    def stepper(self, event_type: str) -> Step:
        """Return its step."""
        ...

    def late(self, event_type: str) -> LateStep | None:
        """Return its step for late events."""
        ...


class Inside(NamedTuple):
    """What is compiled for each group."""

    operations: tuple[Operation, ...]
    """In the order in which they run; their slots are those of a group."""
    node: Condition
    counted: Tests
    """What makes a group: the events that the condition counts."""
    user_zone: bool
    """Whether something in it goes by the user's zone: then it may move between events."""


class Reset(NamedTuple):
    """What of a group an event of one type may reset."""

    slot: int
    test: Test | None
    reset: Callable[[State, Position], None]


class Groups(Grouped):
    """The groups of one condition. `cap` is the highest number of latest starts that is asked for."""

    def __init__(self, inside: Inside, keys: Keys, key: str, *, tracked: bool, owned: bool = False) -> None:
        self.inside = inside
        self.keys = keys
        self.tracked = tracked
        self.owned = owned
        """Whether each group earns something, once: `repeat by`."""
        self.cap = 0
        self.types = frozenset(inside.counted).union(inside.node.types, *(each.types for each in inside.operations))
        self.named = tuple(sorted(set(named_in(inside.node))))
        self._forgets = not tracked and lasting(inside.node)
        self._name = key

    def key(self) -> str:
        """See `Aggregate`."""
        return f"{self._name}#{self.cap}"

    def inner(self, state: State, group: Group) -> State:
        """Return the state that a group's operations see."""
        return State(None, group.nodes, state.earned, state.traits)

    # -- events --------------------------------------------------------------------------------------------------------

    def stepper(self, event_type: str) -> Step:
        """See `Aggregate`."""
        slot, keys_of, counted = self.slot, self.keys.of(event_type), self.inside.counted
        makes, test = event_type in counted, counted.get(event_type)
        operations = [each for each in self.inside.operations if event_type in each.types]
        run, notice = in_turn([each.stepper(event_type) for each in operations]), self._notice(event_type)
        reset, advance, seal = self.breaker(event_type), self._advance, self._seal
        unit = self.keys.unit if isinstance(self.keys, UnitKeys) and not self.named else None

        def step(state: State, event: Event) -> None:
            keys = keys_of(state, event)
            if not keys:
                if reset is not None:
                    reset(state, event)
            else:
                nodes: dict[int, Any] = state.nodes
                node: KeyedGroups | None = nodes.get(slot)
                for key in keys:
                    group = None if node is None else node.groups.get(key)
                    if node is None or group is None:
                        if not makes or (test is not None and not test(state, event)):
                            continue
                        if node is None:
                            node = nodes[slot] = KeyedGroups()
                        elif unit is not None and len(node.groups) >= node.limit:
                            seal(node, event, unit)
                        group = Group(seen=node.resets)
                    advance(state, event, node, key, group, run)
            if notice is not None:
                notice(state, event)

        return step

    def _advance(self, state: State, event: Event, node: KeyedGroups, key: str, group: Group, run: Step) -> None:
        """Let a group take an event."""
        if group.done or (group.held and self._forgets):
            return
        state = self.inner(state, group)
        if group.seen != node.resets:
            self._catch_up(state, node, group)
        before = self._ranked(state, node, key)
        run(state, event)
        self._settle(state, node, key, group, before)

    def _start(self, state: State) -> Position | None:
        return self.inside.node.start(state) if self.tracked else None

    def _ranked(self, state: State, node: KeyedGroups, key: str) -> Position | None:
        """Return the start under which a group is known: an unlock that it names may have moved it since."""
        if self.tracked and self.named:
            return next((start for start, each in node.latest if each == key), None)
        return self._start(state)

    def _settle(self, state: State, node: KeyedGroups, key: str, group: Group, before: Position | None) -> None:
        """Bring what is asked of all groups up to date with one that has moved, and put it back."""
        after = self._start(state)
        held = after is not None if self.tracked else self.inside.node.holds(state)
        if after is not None and after != before:
            node.start = after if node.start is None else max(node.start, after)
            if self.cap > 1:
                self._rank(node.latest, key, before, after)
        if held != group.held:
            group.held = held
            node.holding += 1 if held else -1
            if self.owned and held and is_label(key):
                node.ready.append(key)
            elif self.owned and key in node.ready:
                node.ready.remove(key)
        if held and self._forgets:
            group.nodes = {}
        node.groups.put(key, group)

    def _seal(self, node: KeyedGroups, event: Event, unit: Unit) -> None:
        """Forget the units that no later event lies in; what is asked of all is kept beside them."""
        before = unit_index(unit, event.at - MAX_OFFSET)
        for key in [key for key, _ in node.groups.items() if int(key) < before]:
            node.groups.drop(key)
        node.limit = max(_FEW, 2 * len(node.groups))

    def _rank(self, latest: list[tuple[Position, str]], key: str, before: Position | None, after: Position) -> None:
        """Move a group to its new place among the latest ones; no start ever moves back."""
        if before is not None:
            place = bisect_left(latest, (before, key))
            if place < len(latest) and latest[place] == (before, key):
                del latest[place]
        insort(latest, (after, key))
        if len(latest) > self.cap:
            del latest[0]

    # -- late events ---------------------------------------------------------------------------------------------------

    def late(self, event_type: str) -> LateStep | None:
        """See `Aggregate`: what a group can take late, where no start is asked for and nothing resets it.

        Whether a group holds is the same in any order. One that holds goes on holding, and takes nothing any more.
        """
        lates = [each.late(event_type) for each in self.inside.operations if event_type in each.types]
        takes = [each for each in lates if each is not None]
        simple = self._forgets and not self.owned and not self.named and isinstance(self.keys, FieldKeys)
        if not simple or len(takes) < len(lates) or self.breaker(event_type) is not None:
            return None
        keys_of, makes = self.keys.of(event_type), event_type in self.inside.counted
        test, slot = self.inside.counted.get(event_type), self.slot

        def take(state: State, event: Event, position: Position) -> Undo | None:
            undone: list[Undo] = []
            for key in keys_of(state, event):
                node = self.node_of(state)
                group = None if node is None else node.groups.get(key)
                if group is None and (not makes or (test is not None and not test(state, event))):
                    continue
                if node is None:
                    undone.append(put(state, slot, KeyedGroups()))
                undo = self._take_late(state, event, position, key, takes)
                if undo is None:
                    _take_back(state, undone)
                    return None
                undone.append(undo)
            return lambda state: _take_back(state, undone)

        return take

    def _take_late(
        self, state: State, event: Event, position: Position, key: str, takes: Sequence[LateStep]
    ) -> Undo | None:
        """Let a group take a late event; None where it cannot, with nothing changed."""
        node = self.node_of(state)
        if node is None:
            raise AssertionError(key)
        known = node.groups.get(key)
        if known is not None and (known.held or known.seen != node.resets):
            return nothing if known.held else None
        group = Group(seen=node.resets) if known is None else known
        inner, undone = self.inner(state, group), list[Undo]()
        for take in takes:
            undo = take(inner, event, position)
            if undo is None:
                _take_back(inner, undone)
                return None
            undone.append(undo)
        if self.inside.node.holds(inner):
            node.holding += 1
            node.groups.put(key, Group(seen=group.seen, held=True))
        else:
            node.groups.put(key, group)

        def back(state: State) -> None:
            node = self.node_of(state)
            if node is None:
                raise AssertionError(key)
            _take_back(inner, undone)
            after = node.groups.get(key)
            node.holding -= after is not None and after.held
            if known is None:
                node.groups.drop(key)
            else:
                node.groups.put(key, known)

        return back

    # -- resets --------------------------------------------------------------------------------------------------------

    def breaker(self, event_type: str) -> Step | None:
        """Return the step by which an event resets groups and is nothing else, None where no event of the type does.

        Without a key it resets all of them. With some of the fields of a key, or all of them, those that agree.
        """
        found = [_reset_of(each.aggregate, event_type) for each in self.inside.operations]
        resets = [each for each in found if each is not None]
        found_eager = [_at_once(each.aggregate, event_type) for each in self.inside.operations]
        eager = [each for each in found_eager if each is not None]
        if not resets and not eager:
            return None
        slot, some = self.slot, self.keys.some(event_type)

        def step(state: State, event: Event) -> None:
            node = state.nodes.get(slot)
            hit = [each for each in resets if each.test is None or each.test(state, event)]
            if not isinstance(node, KeyedGroups) or not (hit or eager):
                return
            agrees = some(state, event)
            if agrees is None and not eager:
                self._note(node, hit, Position(event.at, event.id))
            else:
                self._reset(state, event, node, agrees, hit, eager)

        return step

    @staticmethod
    def _note(node: KeyedGroups, hit: Sequence[Reset], position: Position) -> None:
        """Note that all groups are reset."""
        if hit:
            node.resets += 1
            node.broken.update((each.slot, (node.resets, position)) for each in hit)

    def _reset(
        self,
        state: State,
        event: Event,
        node: KeyedGroups,
        agrees: Callable[[str], bool] | None,
        hit: Sequence[Reset],
        eager: Sequence[Step],
    ) -> None:
        """Reset the groups that agree, one by one."""
        position = Position(event.at, event.id)
        for key, group in list(node.groups.items()):
            if group.done or (group.held and self._forgets) or (agrees is not None and not agrees(key)):
                continue
            inner = self.inner(state, group)
            self._catch_up(inner, node, group)
            before = self._ranked(inner, node, key)
            for each in hit:
                each.reset(inner, position)
            for step in eager:
                step(inner, event)
            self._settle(inner, node, key, group, before)

    def _catch_up(self, state: State, node: KeyedGroups, group: Group) -> None:
        """Let a group take in the resets of all groups that it has missed."""
        for each in self.inside.operations:
            number, position = node.broken.get(each.aggregate.slot, (0, None))
            if number > group.seen and position is not None:
                _reset(each.aggregate, state, position)
        group.seen = node.resets

    # -- unlocks -------------------------------------------------------------------------------------------------------

    def _notice(self, event_type: str) -> Step | None:
        """Return the step that looks at all groups where an unlock that they name is new."""
        if not self.named:
            return None
        slot, named, look = self.slot, self.named, self.looker(event_type)

        def notice(state: State, event: Event) -> None:
            node = state.nodes.get(slot)
            known = sum(each in state.earned for each in named)
            if isinstance(node, KeyedGroups) and known != node.known:
                node.known = known
                look(state, event)

        return notice

    def looker(self, event_type: str) -> Step:
        """Return the step by which all groups look at what the subject has unlocked."""
        slot = self.slot
        looks = [step for each in self.inside.operations if (step := _look(each.aggregate, event_type)) is not None]

        def look(state: State, event: Event) -> None:
            node = state.nodes.get(slot)
            if not isinstance(node, KeyedGroups):
                return
            for key, group in list(node.groups.items()):
                if group.done or (group.held and self._forgets):
                    continue
                inner = self.inner(state, group)
                self._catch_up(inner, node, group)
                before = self._ranked(inner, node, key)
                for step in looks:
                    step(inner, event)
                self._settle(inner, node, key, group, before)

        return look

    # -- occurrences ---------------------------------------------------------------------------------------------------

    def finish(self, state: State, keys: Sequence[str]) -> None:
        """Forget all of some groups but that their occurrences are earned."""
        node = state.nodes.get(self.slot)
        if not isinstance(node, KeyedGroups):
            node = state.nodes[self.slot] = KeyedGroups()
        for key in keys:
            group = node.groups.get(key)
            node.holding -= group is not None and group.held
            if key in node.ready:
                node.ready.remove(key)
            node.groups.put(key, Group(done=True))

    # -- questions -----------------------------------------------------------------------------------------------------

    def node_of(self, state: State) -> KeyedGroups | None:
        """Return what is remembered, None where nothing is."""
        node = state.nodes.get(self.slot)
        return node if isinstance(node, KeyedGroups) else None

    def seen(self, state: State) -> Iterator[tuple[str, State]]:
        """Yield each group with something to remember, with its state; not to be stepped."""
        node = self.node_of(state)
        for key, group in () if node is None else node.groups.items():
            if group.done or (group.held and self._forgets) or (self.owned and not is_label(key)):
                continue
            inner = self.inner(state, Group(dict(group.nodes), group.seen))
            if group.seen != (node.resets if node else 0):
                inner = _copied(inner)
                self._catch_up(inner, node or KeyedGroups(), group=Group(inner.nodes, group.seen))
            yield key, inner

    @property
    def restless(self) -> bool:
        """Whether starts may move between events."""
        return self.inside.user_zone or bool(self.named)


def _copied(state: State) -> State:
    """Return a state whose nodes may be changed."""
    return State(None, {slot: copy(node) for slot, node in state.nodes.items()}, state.earned, state.traits)


# -- what resets, and what looks at unlocks ----------------------------------------------------------------------------


def _take_back(state: State, undone: Sequence[Undo]) -> None:
    for undo in reversed(undone):
        undo(state)


def _reset(aggregate: Aggregate, state: State, position: Position) -> None:
    if isinstance(aggregate, Unless | SinceTotal | SinceDistinct):
        aggregate.reset(state, position)


def _reset_of(aggregate: Aggregate, event_type: str) -> Reset | None:
    """Return what of an aggregate an event of a type resets, where that can wait."""
    if not isinstance(aggregate, Unless | SinceTotal | SinceDistinct) or isinstance(aggregate, SinceTotalOrNothing):
        return None
    if event_type not in aggregate.unless:
        return None
    return Reset(aggregate.slot, aggregate.unless[event_type], aggregate.reset)


def _at_once(aggregate: Aggregate, event_type: str) -> Step | None:
    """Return the step by which an event of a type resets an aggregate, where that cannot wait."""
    if isinstance(aggregate, Groups):
        return aggregate.breaker(event_type)
    if isinstance(aggregate, SinceTotalOrNothing) and event_type in aggregate.unless:
        return aggregate.stepper(event_type)
    return None


def _look(aggregate: Aggregate, event_type: str) -> Step | None:
    """Return the step by which an aggregate looks at what is unlocked, and at nothing else."""
    if isinstance(aggregate, Groups):
        return aggregate.looker(event_type) if aggregate.named else None
    if not isinstance(aggregate, Within | Per | Unless) or next(iter(named_in(aggregate.inner)), None) is None:
        return None
    return aggregate.looker(event_type)
