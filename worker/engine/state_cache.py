"""The states of subjects that a worker has in memory, and when it may rely on them. Pure.

A worker caches the states that it has read or folded. The database is the truth: each transaction that writes a subject
raises the generation of the subject's partition by one and puts its owner's name there. So while the database shows the
generation that this worker left, the subjects of that partition are as this worker left them.

**States.** The cache keeps a record of each partition:

    UNKNOWN    We left no generation, and no attempt of ours has the partition. No state is valid.
    OURS(g)    We left generation `g`. States are those of generation `g`: valid if the database still shows `g`.
    HELD(h)    Attempt `h` has locked or reserved the partition and has not ended. Its states may have been changed in
               place and may never be committed, so only `h` may read them.

**Transitions.** `h` and `k` are attempts, `g` and `n` generations. "New era" makes all states of the partition void:

    state      call                              next       era
    UNKNOWN    locked(h, n, any owner)           HELD(h)    new
    OURS(g)    locked(h, g, our name)            HELD(h)    same
    OURS(g)    locked(h, n, owner), n or owner   HELD(h)    new     another owner, or a commit of ours whose outcome
               differs                                              we never learned
    OURS(g)    reserve(h, ...)                   HELD(h)    same    `h` expects generation `g`; the database decides
    HELD(h)    locked(k, n, any owner)           HELD(k)    new     `h` has lost its lock, or let go of it, and the
                                                                    worker does not know yet
    HELD(h)    committed(h)                      OURS(n+1)  same    `n` is the generation that `h` found
    HELD(h)    failed(h)                         UNKNOWN    same    refused, rolled back, or of unknown outcome: its
                                                                    states stay void, for UNKNOWN ends in a new era
    any        committed(k), failed(k), `k` is   as it was  same    `k` was overtaken and has no say any more
               not the holder

**Reads.** `expected_state` and `expected_generation` answer in OURS alone. Their answers may be out of date; an
attempt that uses them writes with a statement that does nothing unless the database shows that generation and our name.
`locked_state` answers the holder in HELD: it has the lock, so its answers are the truth.

**Writes.** `add_locked` adds a state that the holder has read under its lock. `add_unlocked` adds one that was read
without a lock, if the partition is in OURS(g) still, where `g` is the generation before the read. If another owner has
written in between, the database is past `g` and refuses the guarded write; if an attempt of ours has, `g` is gone.

**What changes together.** `left` and `hold` of a record change in one step and are never both set. Only `locked` begins
an era. No method awaits, so the writers of a worker can share one cache without a lock.

tests/worker/engine/test_state_cache_machine.py runs this table against a model of the database.

Measured and tried: docs/decisions/0008-hot-path/lookup-without-lock.md.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dsl.event import Position
from dsl.progress import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dsl.outcome import Subject

BEGINNING: Final = Position(-62_135_683_200_000_000, "")
"""Before all events: the last day of the year before 1, microseconds since the epoch."""


class SubjectState(msgspec.Struct):
    """One subject before a batch. The attempt changes it in place, so it is void when the attempt fails."""

    partition: int
    era: int = -1
    """The era of its partition in the cache in which it was read; it is void in any other."""
    stamp: str = ""
    """The plan that folded the state, and the epoch from which that plan is in force."""
    state: State | None = None
    folded: int = 0
    """Number of events folded since the latest checkpoint."""
    known: bool = False
    """Whether the ledger may hold earlier events of the subject."""
    latest: tuple[int, str] | None = None
    """For users: instant (microseconds) and id of the latest event in the ledger, of any type."""
    erased: bool = False
    unsaved: int | None = None
    """For users: number of events folded since the state was written; None if it never was."""


class Checkpoint(NamedTuple):
    """A subject's state at an earlier position, as it is stored."""

    tenant_id: str
    scope: str
    subject: str
    mark_at: int
    mark_id: str
    stamp: str
    state: str


class Hold:
    """The partitions of one attempt: those that it has locked, and those that it expects to find as we left them."""

    def __init__(self) -> None:
        self.generations: dict[int, int] = {}
        """Partition to the generation that was found there, or is expected."""
        self.eras: dict[int, int] = {}
        """Partition to its era in the cache."""


class _Partition(msgspec.Struct):
    """UNKNOWN if `left` and `hold` are None, OURS if `left` is set, HELD if `hold` is."""

    era: int = 0
    left: int | None = None
    """The generation that our latest commit left."""
    hold: Hold | None = None

    def take(self, hold: Hold, partition: int, generation: int) -> None:
        self.left, self.hold = None, hold
        hold.generations[partition] = generation
        hold.eras[partition] = self.era


class StateCache:
    """The states of at most `limit` subjects, those used last. All writers of a worker share it.

    `owner` is the worker's name at the fence.
    """

    def __init__(self, owner: str, limit: int) -> None:
        self.owner = owner
        self._limit = limit
        self._states: dict[Subject, SubjectState] = {}
        """The subject used least recently comes first."""
        self._partitions: defaultdict[int, _Partition] = defaultdict(_Partition)
        self.reach: Mapping[int, str] = {}
        """Which ids may be archived (worker/engine/reach.py), as of the last lock of a partition. What comes there
        raises all generations, so a partition that is as we left it was locked since."""

    def __len__(self) -> int:
        return len(self._states)

    # -- without a lock ------------------------------------------------------------------------------------------------

    def expected_generation(self, partition: int) -> int | None:
        """Return the generation that we left a partition with; None if we did not, or an attempt of ours has it."""
        return self._partitions[partition].left

    def expected_state(self, subject: Subject) -> SubjectState | None:
        """Return the state that a subject has if its partition has the expected generation; None if unknown."""
        state = self._states.get(subject)
        if state is None:
            return None
        partition = self._partitions[state.partition]
        return state if state.era == partition.era and partition.left is not None else None

    def add_unlocked(self, subject: Subject, state: SubjectState, generation: int) -> None:
        """Add a state that was read without a lock, after the partition's expected generation was `generation`."""
        partition = self._partitions[state.partition]
        if partition.left == generation:
            state.era = partition.era
            self._add(subject, state)

    def reserve(self, hold: Hold, subject: Subject, state: SubjectState) -> None:
        """Give an attempt the partition of a subject, whose `expected_state` is `state`, at the expected generation.

        Raises:
            ValueError: the partition is not expected at any generation.
        """
        if state.partition not in hold.generations:
            partition = self._partitions[state.partition]
            if partition.left is None:
                raise ValueError("only a partition with an expected generation can be reserved")
            partition.take(hold, state.partition, partition.left)
        self._states[subject] = self._states.pop(subject)  # to the end: used last

    # -- under a lock --------------------------------------------------------------------------------------------------

    def locked(self, hold: Hold, partition: int, generation: int, owner: str) -> None:
        """Note that an attempt has locked a partition, and which generation and owner it found there."""
        known = self._partitions[partition]
        if known.left != generation or owner != self.owner:
            known.era += 1
        known.take(hold, partition, generation)

    def locked_state(self, hold: Hold, subject: Subject) -> SubjectState | None:
        """Return the state of a subject of a partition that `hold` has locked; None if unknown."""
        state = self._states.pop(subject, None)
        if state is None or state.era != hold.eras[state.partition]:
            return None
        self._states[subject] = state  # at the end: used last
        return state

    def add_locked(self, hold: Hold, subject: Subject, state: SubjectState) -> None:
        """Add a state that was read under the lock of `hold`."""
        state.era = hold.eras[state.partition]
        if state.era == self._partitions[state.partition].era:
            self._add(subject, state)

    def _add(self, subject: Subject, state: SubjectState) -> None:
        self._states[subject] = state
        if len(self._states) > self._limit:
            del self._states[next(iter(self._states))]

    # -- the end of an attempt -----------------------------------------------------------------------------------------

    def committed(self, hold: Hold) -> None:
        """Note that an attempt is committed: it has raised each of its generations by one."""
        for number, partition in self._release(hold):
            partition.left = hold.generations[number] + 1

    def failed(self, hold: Hold) -> None:
        """Note that an attempt has failed, or that its outcome is unknown."""
        self._release(hold)

    def _release(self, hold: Hold) -> list[tuple[int, _Partition]]:
        """End a hold; return the partitions (number, record) that no later attempt has taken from it."""
        own = [(number, self._partitions[number]) for number in hold.generations]
        own = [(number, partition) for number, partition in own if partition.hold is hold]
        for _, partition in own:
            partition.hold = None
        return own
