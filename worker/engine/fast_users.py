"""Which users of a batch can take the fast path, by what memory knows of them. Pure.

Measured and tried: docs/decisions/0008-hot-path/late-events-taken-as-new.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dsl.compile import USER
from dsl.outcome import canonical_order
from worker.contract.partition import partition_of
from worker.engine.decide import first_look
from worker.engine.long_way import LongWay
from worker.engine.state_cache import BEGINNING, Hold
from worker.engine.subject_events import events_of_users

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from dsl.outcome import Subject
    from worker.engine.batch import Batch, Group
    from worker.engine.decide import FirstLook
    from worker.engine.state_cache import StateCache, SubjectState
    from worker.engine.subject_events import SubjectEvents

WORTH_IT: Final = 0.5
"""Share of a batch that must take the fast path; less than that is not worth a transaction beside that of the rest."""
MOST_REFOLDS: Final = 64
"""Users of a batch that the fast path folds again; where there are more, one long way is cheaper."""
MOST_DOUBT: Final = 256
"""Batches in which late events take the long way, after they have often been copies."""
_NOTHING: Final = (BEGINNING.at, BEGINNING.id)


class Trust:
    """Whether late events are taken to be new: each time that they were not, more batches are not trusted."""

    def __init__(self) -> None:
        self._waits = 0
        self._doubt = 1

    def given(self) -> bool:
        """Tell whether to trust, for one batch."""
        if not self._waits:
            return True
        self._waits -= 1
        return False

    def kept(self) -> None:
        """Note that late events were new."""
        self._doubt = max(1, self._doubt // 2)

    def broken(self) -> None:
        """Note that something was not as it was taken to be."""
        self._waits = self._doubt = min(2 * self._doubt, MOST_DOUBT)


class FastBatch(NamedTuple):
    """A batch, or a part of one, on the fast path: its states have moved in memory, to be committed or void."""

    batch: Batch
    events: Mapping[Subject, SubjectEvents]
    states: Mapping[Subject, SubjectState]
    look: FirstLook
    hold: Hold
    """The partitions of all its users."""

    @property
    def latest(self) -> int:
        """The latest instant of an event, in microseconds: the clock of a stream."""
        return max([own.events[-1].at for own in self.events.values()])


class Division(NamedTuple):
    """What takes the fast path, the rest of the batch, and a reason for each user, or for the batch, that does not."""

    fast: FastBatch | None
    rest: Batch
    reasons: Sequence[LongWay]


def unknown_users(events: Mapping[Subject, SubjectEvents], cache: StateCache) -> dict[Subject, int]:
    """Return users whose states we do not know, in partitions that are ours: with the generation we left there."""
    unknown: dict[Subject, int] = {}
    for user in events:
        if cache.expected_state(user) is None:
            generation = cache.expected_generation(partition_of(*user))
            if generation is not None:
                unknown[user] = generation
    return unknown


def divide(batch: Batch, events: dict[Subject, SubjectEvents], cache: StateCache, *, trusting: bool) -> Division:
    """Divide a batch whose users have these events; those that take the fast path are moved in memory.

    `trusting` is whether late events are taken to be new. The fast batch holds its partitions in the cache.
    """
    if batch.rules.follows_stream:
        return Division(None, batch, [LongWay.NOT_WORTH_IT])  # what the clock of the stream shows has to be asked
    chosen, states, reasons = _choose(batch, events, cache, trusting=trusting)
    groups, rest = batch.groups, ()
    if len(chosen) < len(events):
        groups, rest = _parted(batch.groups, chosen)
        if any(group.views for group in rest):
            return _without(batch, groups, rest, cache, reasons, trusting=trusting)
    if sum([len(group.events) for group in groups]) < max(1, batch.size * WORTH_IT):
        return Division(None, batch, [*reasons, LongWay.NOT_WORTH_IT] if chosen else reasons)
    look = first_look(batch.rules, chosen, states, clock=batch.now, most_refolds=MOST_REFOLDS)
    for user in look.left_out:
        del chosen[user], states[user]
    reasons.extend(look.left_out.values())
    if not chosen:
        return Division(None, batch, reasons)
    hold = Hold()
    if look.left_out:
        groups, more = _parted(groups, chosen)
        rest = (*rest, *more)
        if any(group.views for group in more):
            # Others have taken these events already, in place.
            return _undone(batch, cache, states, reasons)
    for user, state in states.items():
        cache.reserve(hold, user, state)
    part = msgspec.structs.replace(batch, groups=groups, letters=())
    return Division(FastBatch(part, chosen, states, look, hold), msgspec.structs.replace(batch, groups=rest), reasons)


def _parted(groups: Iterable[Group], chosen: Container[Subject]) -> tuple[tuple[Group, ...], tuple[Group, ...]]:
    """Return the groups all of whose users are chosen, and the others."""
    fast: list[Group] = []
    rest: list[Group] = []
    for group in groups:
        goes = group.audience.user in chosen and all(user in chosen for views in group.views for user, _, _ in views)
        (fast if goes else rest).append(group)
    return tuple(fast), tuple(rest)


def _without(
    batch: Batch,
    groups: tuple[Group, ...],
    rest: tuple[Group, ...],
    cache: StateCache,
    reasons: list[LongWay],
    *,
    trusting: bool,
) -> Division:
    """Divide what is left of a batch without groups that name someone who takes the long way."""
    if sum([len(group.events) for group in groups]) < max(1, batch.size * WORTH_IT):
        return Division(None, batch, [*reasons, LongWay.NOT_WORTH_IT] if groups else reasons)
    part = msgspec.structs.replace(batch, groups=groups)
    division = divide(part, events_of_users(groups), cache, trusting=trusting)
    left = division.rest if division.fast is not None else batch
    if division.fast is not None:
        left = msgspec.structs.replace(left, groups=(*left.groups, *rest))
    return Division(division.fast, left, [*reasons, *division.reasons])


def _undone(
    batch: Batch, cache: StateCache, states: Mapping[Subject, SubjectState], reasons: list[LongWay]
) -> Division:
    """Take the long way with a batch whose states have moved in memory: they are void."""
    hold = Hold()
    for user, state in states.items():
        cache.reserve(hold, user, state)
    cache.failed(hold)
    return Division(None, batch, reasons)


def _choose(
    batch: Batch, events: Mapping[Subject, SubjectEvents], cache: StateCache, *, trusting: bool
) -> tuple[dict[Subject, SubjectEvents], dict[Subject, SubjectState], list[LongWay]]:
    """Return events and states of the users about which enough is known, and a reason for each of the others."""
    chosen: dict[Subject, SubjectEvents] = {}
    states: dict[Subject, SubjectState] = {}
    reasons: list[LongWay] = []
    stamp = batch.rules.stamps[USER]
    for user, own in events.items():
        state = cache.expected_state(user)
        if state is None:
            ours = cache.expected_generation(partition_of(*user)) is not None
            reasons.append(LongWay.UNKNOWN_USER if ours else LongWay.PARTITION_NOT_OURS)
            continue
        reason = _reason(own, state, stamp, trusting=trusting)
        if reason is None:
            chosen[user], states[user] = own, state
        else:
            reasons.append(reason)
    return chosen, states, reasons


def _reason(own: SubjectEvents, state: SubjectState, stamp: str, *, trusting: bool) -> LongWay | None:
    """Return why a user cannot take the fast path, as far as that can be said before anything is folded."""
    if own.shared:
        return LongWay.SHARED_SUBJECT
    if state.erased:
        return LongWay.ERASED
    latest = state.latest or _NOTHING
    if not own.put_in_order(latest):
        return LongWay.DUPLICATE
    if own.behind and not trusting and canonical_order(own.events[0]) < latest:
        return LongWay.LATE_WITHOUT_TRUST
    # Where the plan hears nothing, it needs no state, and a new user has none.
    if own.heard and state.known and (state.state is None or state.stamp != stamp):
        return LongWay.OTHER_RULES
    return None
