"""Carry a state from the plan that folded it over to another plan, without its events as far as that can be proved.

A stored state says which plan folded it. Between two plans most is alike: an aggregate with the same canonical form
over the same declarations has the same node, and a judge that has not changed has earned the same. What differs is
decided from the state where that suffices: what was earned before anything differs stays earned, and an achievement
whose condition lasts and does not hold by now was never earned. All else is *doubtful*, or *absent*: it is folded
from events, by the part of the new plan that needs them (`Carriage.part`), and merged into the state (`merged`).

A plan that was in force in between has to be named, too: it may have heard other events. What it did not remember
has missed some of them.

Why it is safe: docs/decisions/0040-carrying-states.md.
"""

from __future__ import annotations

from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dsl.alike import ALWAYS, NEVER, Texts, alike, differs_from
from dsl.compile import USER, asking_of
from dsl.conditions import owner_of
from dsl.fit import fit
from dsl.local_time import TIMEZONE
from dsl.nodes.compose import asker, named_by, named_in
from dsl.progress import State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from dsl.compile import Plan
    from dsl.event import Position
    from dsl.fit import Fit
    from dsl.judge import Judge
    from dsl.memory import Entry
    from dsl.progress import Earned, NodeState

_NONE: Final = frozenset[int]()


class Carried(NamedTuple):
    """A state of the new plan as far as it is known, up to the mark of the old one."""

    state: State
    doubtful: AbstractSet[int]
    """Rulings that only events can decide; in the state they are not earned."""
    unearned: AbstractSet[int]
    """Rulings that were judged otherwise, or not at all, and are proved not to be earned."""
    lost: AbstractSet[int]
    """Those of them that the old plan had granted."""
    absent: AbstractSet[int]
    """Slots of nodes that only events can fill; the state has none there."""

    @property
    def certain(self) -> bool:
        """Tell whether the state is what a fold of all events would be."""
        return not self.doubtful and not self.absent


class _Proof(NamedTuple):
    """What proves that a judge has earned nothing."""

    low: int
    high: int
    """It hears from an instant, inclusive, to another, exclusive."""
    types: AbstractSet[str]
    after: tuple[tuple[int, ...], ...]
    asked: AbstractSet[int]
    """Slots of the nodes that it looks at."""
    lasts: bool
    holds: Callable[[State], bool]


def _proof(judge: Judge) -> _Proof:
    node = judge.built.node
    asked = frozenset(aggregate.slot for aggregate in judge.asked())
    types = judge.types | judge.unlocks.sources
    return _Proof(*judge.hearing(), types, judge.after, asked, judge.lasts(), asker(node))


class _Ruled(NamedTuple):
    """What is known of a ruling that may be judged otherwise by the new plan."""

    slot: int
    before: int | None
    """Its slot in the old plan."""
    since: int
    """Instant (microseconds) from which its own judges differ."""
    named: AbstractSet[int]
    """Rulings that it names."""
    judges: tuple[_Proof, ...]
    own: tuple[int, ...]
    """Slots of nodes that its occurrences reset."""
    once: bool


class Carriage:
    """Two plans compared, and those that were in force between them.

    `ignored` are event types that the subject certainly has no event of: see `without`. `texts` are those of the
    plans, one each; without them they are built here.
    """

    def __init__(
        self, plans: Sequence[Plan], ignored: AbstractSet[str] = frozenset(), texts: Sequence[Texts] | None = None
    ) -> None:
        self.plans = tuple(plans)
        self.old, self.new = plans[0], plans[-1]
        self._ignored = ignored
        self._texts = [Texts(plan) for plan in plans] if texts is None else texts
        fresh = self._fresh()
        self.fresh: AbstractSet[str] = fresh - ignored
        """Types that the new plan hears, and a plan before it did not, or not alike."""
        self.dropped: AbstractSet[str] = self.old.types - self.new.types
        """Types that the new plan hears no more: the mark of a state may be an event of them."""
        self.void = self._is_void(fresh)
        """Whether no state can be carried."""
        self._slots, self.missing = self._aggregates()
        self._rulings, self.changed = self._judged()
        self._kept_moments = self._moments()
        self._traits = {name for name in self._texts[-1].traits if self._all_alike("traits", name)}
        self._counted = {name for name, entry in self.new.dispatch.items() if entry.once and name not in fresh}
        self._parts: dict[AbstractSet[int], Plan] = {}
        self._parts_of: dict[tuple[AbstractSet[int], AbstractSet[int]], Plan | None] = {}
        """By what is doubtful, and what is absent."""

    @property
    def plain(self) -> bool:
        """Tell whether every state is carried as it stands: nothing that it says is otherwise."""
        otherwise = self.void or self.fresh or self.dropped or self.missing or self.changed or self.undoes
        return not (otherwise or self._missing_traits)

    @cached_property
    def kept(self) -> Mapping[int, int]:
        """Slots of nodes that stay as they are in every state, with those that they have in the old plan."""
        moves = self._slots.items()
        return {new: old for old, (new, fits) in moves if fits is None and new not in self.missing}

    @cached_property
    def types(self) -> frozenset[str]:
        """Event types that new aggregates and traits read: a subject needs its events of these."""
        entries = self.new.entries
        types = frozenset(self.fresh).union(*(entries[slot].types | entries[slot].sources for slot in self.missing))
        tellers = self.new.rules.trait_events.items()
        types |= {event for event, names in tellers if self._missing_traits & set(names)}
        return frozenset(types & self.new.types)

    @cached_property
    def without(self) -> Carriage:
        """The same for subjects without any event of `types`: what is new has nothing to remember of them."""
        return self if not self.types else Carriage(self.plans, self._fresh() | self.types, self._texts)

    # -- comparing -----------------------------------------------------------------------------------------------------

    def _fresh(self) -> frozenset[str]:
        *before, last = self._texts
        fresh = frozenset(
            name for name, text in last.heard.items() if any(each.heard.get(name) != text for each in before)
        )
        # Copies are found among all events of a type, so it is fresh in every role or in none.
        counted = {entry.base for name in fresh if (entry := self.new.dispatch[name]).once is not None}
        return fresh | {name for name, entry in self.new.dispatch.items() if entry.base in counted}

    def _is_void(self, fresh: AbstractSet[str]) -> bool:
        """Tell whether it is unknown how many copies were suppressed: that is one number for all types."""
        counted = {name for name, entry in self.old.dispatch.items() if entry.once is not None}
        return self.new.scope == USER and not counted <= self.new.types - fresh

    def _all_alike(self, what: str, name: str) -> bool:
        *before, last = [getattr(texts, what).get(name) for texts in self._texts]
        return last is not None and all(each is not None and alike(each, last, self._ignored) for each in before)

    @property
    def _missing_traits(self) -> set[str]:
        return set() if self._ignored else self._texts[-1].traits.keys() - self._traits

    def _aggregates(self) -> tuple[Mapping[int, tuple[int, Fit | None]], AbstractSet[int]]:
        """Return where nodes go, by their slots in the old plan, and which slots of the new one nothing goes to."""
        before = {entry.base: entry for entry in self.old.entries}
        moves: dict[int, tuple[int, Fit | None]] = {}
        missing: set[int] = set()
        for slot, entry in enumerate(self.new.entries):
            old = before.get(entry.base)
            if old is None or not self._all_alike("aggregates", entry.base) or not self._names_no_less(entry):
                missing.add(slot)
            else:
                moves[old.aggregate.slot] = slot, fit(old.aggregate, entry.aggregate)
        return moves, _NONE if self._ignored else missing

    def _names_no_less(self, entry: Entry) -> bool:
        """Tell whether no tier has gone of the achievements that a span names."""
        rulings = self.new.rulings
        names = {rulings[slot].achievement for slot in named_of(entry)}
        return not names or self._kept_tiers(names)

    def _kept_tiers(self, names: AbstractSet[str]) -> bool:
        """Tell whether no tier has gone of some achievements."""
        tiers = [{key for key in texts.rulings if key[0] in names} for texts in self._texts]
        return all(each <= tiers[-1] for each in tiers)

    def _judged(self) -> tuple[Mapping[int, int], tuple[_Ruled, ...]]:
        """Return where earned rulings go without a question, by their old slots, and all others."""
        before = {(each.achievement, each.tier): each.slot for each in self.old.rulings}
        goes: dict[int, int] = {}
        others: dict[int, _Ruled] = {}
        for ruling in self.new.rulings:
            key = ruling.achievement, ruling.tier
            old, since = before.get(key), self._differs_from(key)
            named = _named(self.new, ruling.slot)
            if since == NEVER and old is not None and named.isdisjoint(others):
                goes[old] = ruling.slot
                continue
            owners = {owner_of(judge.version, ruling.tier) for judge in ruling.judges} - {""}
            own = tuple(slot for slot, entry in enumerate(self.new.entries) if entry.owner in owners)
            once = all(judge.version.repeat is None for judge in ruling.judges)
            others[ruling.slot] = _Ruled(ruling.slot, old, since, named, tuple(map(_proof, ruling.judges)), own, once)
        return goes, tuple(others.values())

    def _differs_from(self, key: tuple[str, str | None]) -> int:
        spans = [texts.rulings.get(key) for texts in self._texts]
        *before, last = spans
        if last is None or any(each is None for each in before):
            return ALWAYS
        if (names := self._texts[-1].named[key[0]]) and not self._kept_tiers(names):
            return ALWAYS  # a tier has gone that it may have come by
        return min((differs_from(each or (), last, self._ignored) for each in before), default=NEVER)

    @cached_property
    def _spans(self) -> tuple[tuple[int, frozenset[int]], ...]:
        """Slots of what looks at rulings, with those: spans over `unlocked`, and aggregates over `unlocks`.

        Where one of the rulings is another, so is what looks at it.
        """
        entries = enumerate(self.new.entries)
        return tuple((slot, named) for slot, entry in entries if (named := named_of(entry)))

    def _moments(self) -> AbstractSet[int]:
        """Return the moments of the old plan at which the new one judges the same."""
        judged: dict[int, set[int]] = {}
        for ruling in self.old.rulings:
            for judge in ruling.judges:
                if judge.moment is not None:
                    judged.setdefault(judge.moment, set()).add(ruling.slot)
        return {at for at, slots in judged.items() if slots <= self._rulings.keys()}

    @property
    def undoes(self) -> bool:
        """Whether there is a moment of the old plan at which the new one may judge otherwise."""
        return any(moment.at not in self._kept_moments for moment in self.old.moments)

    def undone(self, mark: Position | None) -> bool:
        """Tell whether a mark is a moment at which the new plan may judge otherwise."""
        return mark is not None and not mark.id and mark.at not in self._kept_moments

    # -- one state -----------------------------------------------------------------------------------------------------

    def of(self, state: State) -> Carried:
        """Return a state of the old plan as one of the new plan; its nodes are those of the old one, not copies."""
        nodes, absent = self._nodes(state)
        goes = self._rulings
        earned = {goes[slot]: had for slot, had in state.earned.items() if slot in goes}
        counted = {name: seen for name, seen in state.counted.items() if name in self._counted}
        made = State(state.mark, nodes, earned, self._traits_of(state), counted, state.suppressed)
        if self.undone(state.mark):
            return self._all_doubtful(made, absent)
        if not self.changed:
            return Carried(made, _NONE, _NONE, _NONE, absent)
        return self._decided(state, made, absent)

    def _all_doubtful(self, made: State, absent: set[int]) -> Carried:
        """Return a state whose aggregates are known, and nothing of what is earned."""
        made.earned.clear()
        absent |= {slot for slot, entry in enumerate(self.new.entries) if entry.owner} | {
            slot for slot, _ in self._spans
        }
        for slot in absent & made.nodes.keys():
            del made.nodes[slot]
        return Carried(made, frozenset(ruling.slot for ruling in self.new.rulings), _NONE, _NONE, absent)

    def _nodes(self, state: State) -> tuple[dict[int, NodeState], set[int]]:
        nodes: dict[int, NodeState] = {}
        absent = set(self.missing)
        moves = self._slots
        for before, node in state.nodes.items():
            move = moves.get(before)
            if move is None:
                continue
            slot, fits = move
            kept = node if fits is None else fits(node)
            if kept is None:
                absent.add(slot)
            else:
                nodes[slot] = kept
        return nodes, absent

    def _traits_of(self, state: State) -> dict[str, str | bool | int]:
        if self.new.scope == USER:
            return {name: value for name, value in state.traits.items() if name in self._traits}
        return dict(state.traits) if TIMEZONE in self._traits else {}

    def _decided(self, state: State, made: State, absent: set[int]) -> Carried:
        at = ALWAYS if state.mark is None else state.mark.at
        doubtful, unearned, lost, others = set[int](), set[int](), set[int](), set[int]()
        for ruled in self.changed:
            had = None if ruled.before is None else state.earned.get(ruled.before)
            as_before = ruled.named.isdisjoint(others)
            if as_before and (at < ruled.since or _settled(ruled, had)):
                if had is not None:
                    made.earned[ruled.slot] = had
                continue
            decided = ruled.named.isdisjoint(doubtful) and self._never(
                ruled, had, made, at, absent | self._moved_spans(others), as_before=as_before
            )
            if not decided:
                doubtful.add(ruled.slot)
                others.add(ruled.slot)
                absent.update(ruled.own)
                continue
            unearned.add(ruled.slot)
            if had is not None:
                lost.add(ruled.slot)
                others.add(ruled.slot)
        absent |= self._moved_spans(others)
        for slot in absent & made.nodes.keys():
            del made.nodes[slot]
        return Carried(made, doubtful, unearned, lost, absent)

    def _moved_spans(self, others: AbstractSet[int]) -> AbstractSet[int]:
        return {slot for slot, named in self._spans if not named.isdisjoint(others)} if others else _NONE

    @staticmethod
    def _never(
        ruled: _Ruled, had: Earned | None, state: State, at: int, absent: AbstractSet[int], *, as_before: bool
    ) -> bool:
        """Tell whether a ruling is proved not to be earned at any moment up to an instant."""
        if had is not None and (ruled.own or (as_before and had.first.at < ruled.since)):
            return False  # what its occurrences have reset is not known any more, or there are some all the same
        for judge in ruled.judges:
            if judge.low > at or (as_before and judge.high <= ruled.since):
                continue  # no moment of it was judged otherwise than it was
            if any(not any(slot in state.earned for slot in slots) for slots in judge.after):
                continue
            if not judge.lasts or not absent.isdisjoint(judge.asked) or judge.holds(state):
                return False
        return True

    # -- what needs events ---------------------------------------------------------------------------------------------

    def part(self, carried: Carried) -> Plan | None:
        """Return the plan whose fold of all events up to the mark fills what is doubtful or absent; None if nothing is.

        It has the slots of the new plan.
        """
        key = frozenset(carried.doubtful), frozenset(carried.absent)
        if key not in self._parts_of:
            self._parts_of[key] = self._part(carried)
        return self._parts_of[key]

    def _part(self, carried: Carried) -> Plan | None:
        wanted = _closed(self.new, carried.doubtful | self._asking(carried.absent) | self._hearing_fresh)
        traits = self._missing_traits
        if not wanted and not traits and not self._counted_anew:
            return None
        part = self._parts.get(wanted)
        if part is None:
            part = self._parts[wanted] = self.new.part(wanted, traits, self._counted_anew)
        return part

    @cached_property
    def watching(self) -> Plan:
        """The plan of all that may be judged otherwise."""
        return self.new.part(_closed(self.new, self._changed_slots), frozenset(), frozenset())

    @cached_property
    def watching_before(self) -> Plan:
        """The part of the old plan that has judged the same."""
        slots = {ruled.before for ruled in self.changed if ruled.before is not None}
        return self.old.part(_closed(self.old, slots), frozenset(), frozenset())

    @cached_property
    def judged_otherwise(self) -> frozenset[tuple[str, str | None]]:
        """Achievements and tiers that may be judged otherwise."""
        rulings = (self.new.rulings[ruled.slot] for ruled in self.changed)
        return frozenset((ruling.achievement, ruling.tier) for ruling in rulings)

    @cached_property
    def ruled_anew(self) -> frozenset[tuple[str, str]]:
        """Achievements and tiers ("" for none) that the new plan judges, and some plan before it did not."""
        rulings = ((ruling.achievement, ruling.tier) for ruling in self.new.rulings)
        found = (key for key in rulings if any(key not in texts.rulings for texts in self._texts[:-1]))
        return frozenset((achievement, tier or "") for achievement, tier in found)

    @cached_property
    def copies(self) -> Plan | None:
        """The plan that counts suppressed copies of types that are new to `once per`; None where none is."""
        counted = self._counted_anew
        return self.new.part(_NONE, frozenset(), counted) if counted else None

    @cached_property
    def _counted_anew(self) -> frozenset[str]:
        """Fresh types with `once per`."""
        return frozenset(name for name in self.fresh if self.new.dispatch[name].once is not None)

    @cached_property
    def _changed_slots(self) -> frozenset[int]:
        return frozenset(ruled.slot for ruled in self.changed)

    @cached_property
    def _hearing_fresh(self) -> frozenset[int]:
        hearing = (ruled for ruled in self.changed if any(judge.types & self.fresh for judge in ruled.judges))
        return frozenset(ruled.slot for ruled in hearing)

    def _asking(self, slots: AbstractSet[int]) -> set[int]:
        """Return the rulings that look at some nodes: of each, those that are judged otherwise, if there are some."""
        if not slots:
            return set()
        found: set[int] = set()
        for slot in slots:
            asking = self._askers.get(slot, _NONE)
            found |= asking & self._changed_slots or asking
        return found

    @cached_property
    def _askers(self) -> Mapping[int, frozenset[int]]:
        return asking_of(chain.from_iterable(ruling.judges for ruling in self.new.rulings))

    def merged(self, carried: Carried, part: Plan, folded: State, copies: int) -> State:
        """Return the state of the new plan up to the mark; `folded` is what a part has made of the events up to there.

        Moments up to the mark have to be judged there. `copies` is how many of types that are new to `once per` were
        suppressed.
        """
        state = carried.state
        nodes = {**state.nodes}
        for entry in part.entries:
            slot = entry.aggregate.slot
            nodes.pop(slot, None)
            if (node := folded.nodes.get(slot)) is not None:
                nodes[slot] = node
        earned = {slot: had for slot, had in state.earned.items() if slot not in part.judged}
        counted = {name: seen for name, seen in state.counted.items() if name not in part.types}
        return msgspec.structs.replace(
            state,
            nodes=nodes,
            earned=earned | folded.earned,
            traits=state.traits | folded.traits,
            counted=counted | folded.counted,
            suppressed=state.suppressed + copies,
        )


def _settled(ruled: _Ruled, had: Earned | None) -> bool:
    """Tell whether a ruling was earned for good before its judges differ."""
    return had is not None and ruled.once and had.first.at < ruled.since


def named_of(entry: Entry) -> frozenset[int]:
    """Return the rulings that an aggregate looks at, by `unlocked` or among `unlocks`."""
    return entry.counted.union(named_by(entry.aggregate))


def _named(plan: Plan, slot: int) -> frozenset[int]:
    """Return the rulings that a ruling asks for, by `after` and `unlocked`, or by counting their unlocks."""
    judges = plan.rulings[slot].judges
    asked = (each for judge in judges for each in (*chain(*judge.after), *named_in(judge.built.node)))
    return frozenset[int]().union(asked, *(judge.unlocks.counted for judge in judges))


def _closed(plan: Plan, rulings: AbstractSet[int]) -> frozenset[int]:
    """Return rulings with all that they name, directly or not."""
    closed, waiting = set(rulings), list(rulings)
    while waiting:
        more = _named(plan, waiting.pop()) - closed
        closed |= more
        waiting.extend(more)
    return frozenset(closed)


def carry(plans: Sequence[Plan]) -> Carriage:
    """Compare plans of one scope, in the order in which they were in force; the first has folded the states."""
    return Carriage(plans)
