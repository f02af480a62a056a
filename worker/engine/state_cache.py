"""Where subjects stand, kept in memory for as long as nobody else can have moved them.

Every transaction that writes a subject raises the generation of its partition and leaves its owner's name there. What
this worker remembers of a partition is valid exactly while generation and owner are those that it wrote itself, and
while no attempt of its own is under way that has the partition: that one may have changed what is remembered, and
nobody knows yet how it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dsl.event import Position
from dsl.progress import Grant, State

if TYPE_CHECKING:
    from dsl.outcome import Subject

BEGINNING: Final = Position(-62_135_683_200_000_000, "")
"""Before all events: the last day of the year before 1, microseconds since the epoch."""


class SubjectState(msgspec.Struct):
    """One subject before a batch. The state is changed in place, so a failed batch makes it void."""

    partition: int
    since: int = -1
    """The life of the partition's memory in which it was read."""
    stamp: str = ""
    """The plan that folded the state, and since when that was in force."""
    state: State | None = None
    folded: int = 0
    """Events folded since the latest checkpoint."""
    known: bool = False
    """Whether the ledger may hold earlier events of the subject."""
    latest: tuple[int, str] | None = None
    """For users: instant and id of the latest event in the ledger, of whatever type."""
    erased: bool = False
    unsaved: int | None = None
    """For users: events folded since the state was written; None where it never was."""


class Checkpoint(NamedTuple):
    """A subject's state at an earlier position, as it is stored."""

    tenant_id: str
    scope: str
    subject: str
    mark_at: int
    mark_id: str
    stamp: str
    state: str


class Refolded(msgspec.Struct):
    """A subject that is folded anew: all that it has earned behind `since`, and its state."""

    state: State
    since: Position
    grants: list[Grant] = msgspec.field(default_factory=list[Grant])
    folded: int = 0


class Hold:
    """The partitions that one attempt has locked, from when it knows of its locks to the end of its transaction."""

    def __init__(self) -> None:
        self.generations: dict[int, int] = {}
        """Partition to the generation that was found there."""
        self.lives: dict[int, int] = {}
        """Partition to the life of its memory."""


class StateCache:
    """What one worker remembers; at most `limit` subjects, those touched last. Its writers share it."""

    def __init__(self, owner: str, limit: int) -> None:
        self.owner = owner
        self._limit = limit
        self._standings: dict[Subject, SubjectState] = {}
        self._written: dict[int, int] = {}
        self._lives: dict[int, int] = {}
        self._holds: dict[int, Hold] = {}
        """The hold that was admitted last, where that has not ended yet."""

    def __len__(self) -> int:
        return len(self._standings)

    def admit(self, hold: Hold, partition: int, generation: int, owner: str) -> None:
        """Compare a locked partition with what was left there; forget its subjects where somebody else was.

        An attempt whose lock has been lost, or let go of a moment ago, may not know it yet: then what it leaves here is
        not looked at.
        """
        known = owner == self.owner and self._written.pop(partition, None) == generation
        if not known or partition in self._holds:
            self._lives[partition] = self._lives.get(partition, 0) + 1
        self._holds[partition] = hold
        hold.generations[partition] = generation
        hold.lives[partition] = self._lives.setdefault(partition, 0)

    def expect(self, subject: Subject) -> SubjectState | None:
        """Return where a subject should stand, if nobody has written its partition since we did."""
        standing = self._standings.get(subject)
        if standing is None:
            return None
        partition = standing.partition
        current = standing.since == self._lives[partition] and partition in self._written
        return standing if current else None

    def current(self, partition: int) -> int | None:
        """Return the generation that we have left a partition with; None where nobody can tell at the moment."""
        return self._written.get(partition)

    def introduce(self, subject: Subject, standing: SubjectState, generation: int) -> None:
        """Expect a subject where it was found without a lock, while we had left its partition with a generation."""
        partition = standing.partition
        if self._written.get(partition) == generation:
            standing.since = self._lives[partition]
            self._remember(subject, standing)

    def presume(self, hold: Hold, subject: Subject, standing: SubjectState) -> None:
        """Hold the partition of an expected subject: whether it is as we left it, the database will say."""
        partition = standing.partition
        if partition not in hold.generations:
            self.admit(hold, partition, self._written[partition], self.owner)
        self._standings[subject] = self._standings.pop(subject)  # behind all others: touched last

    def recall(self, hold: Hold, subject: Subject) -> SubjectState | None:
        """Return where a subject of an admitted partition stands, if that is known."""
        standing = self._standings.pop(subject, None)
        if standing is None or standing.since != hold.lives[standing.partition]:
            return None
        self._standings[subject] = standing  # behind all others: touched last
        return standing

    def keep(self, hold: Hold, subject: Subject, standing: SubjectState) -> None:
        """Remember what was read under the lock, and let go of whoever was touched least recently."""
        standing.since = hold.lives[standing.partition]
        if standing.since != self._lives[standing.partition]:
            return
        self._remember(subject, standing)

    def _remember(self, subject: Subject, standing: SubjectState) -> None:
        self._standings[subject] = standing
        if len(self._standings) > self._limit:
            del self._standings[next(iter(self._standings))]

    def committed(self, hold: Hold) -> None:
        """A batch is committed: from the generations that it found, each partition has moved by one."""
        for partition in self._ended(hold):
            self._written[partition] = hold.generations[partition] + 1

    def failed(self, hold: Hold) -> None:
        """A batch failed, or may have: nothing that is remembered of its partitions is certain any more."""
        for partition in self._ended(hold):
            self._lives[partition] += 1

    def _ended(self, hold: Hold) -> list[int]:
        """Let go of partitions; return those that no other attempt has taken since."""
        mine = [partition for partition in hold.generations if self._holds.get(partition) is hold]
        for partition in mine:
            del self._holds[partition]
        return mine
