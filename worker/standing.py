"""Where subjects stand, kept in memory for as long as nobody else can have moved them.

Every transaction that writes a subject raises the generation of its partition and leaves its owner's name there. What
this worker remembers of a partition is valid exactly while generation and owner are those that it wrote itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dsl.event import Position
from dsl.progress import Grant, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dsl.outcome import Subject


class Standing(msgspec.Struct):
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


class Memory:
    """What one worker remembers; at most `limit` subjects, those touched last."""

    def __init__(self, owner: str, limit: int) -> None:
        self.owner = owner
        self._limit = limit
        self._standings: dict[Subject, Standing] = {}
        self._written: dict[int, int] = {}
        self._lives: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._standings)

    def admit(self, partition: int, generation: int, owner: str) -> None:
        """Compare a locked partition with what was left there; forget its subjects where somebody else was."""
        if owner != self.owner or self._written.get(partition) != generation:
            self._lives[partition] = self._lives.get(partition, 0) + 1
            self._written[partition] = generation

    def recall(self, subject: Subject) -> Standing | None:
        """Return where a subject of an admitted partition stands, if that is known."""
        standing = self._standings.pop(subject, None)
        if standing is None or standing.since != self._lives[standing.partition]:
            return None
        self._standings[subject] = standing  # behind all others: touched last
        return standing

    def keep(self, subject: Subject, standing: Standing) -> None:
        """Remember what was read under the lock, and let go of whoever was touched least recently."""
        standing.since = self._lives[standing.partition]
        self._standings[subject] = standing
        if len(self._standings) > self._limit:
            del self._standings[next(iter(self._standings))]

    def committed(self, partitions: Mapping[int, int]) -> None:
        """A batch is committed: from the generations that it found, each partition has moved by one."""
        for partition, generation in partitions.items():
            self._written[partition] = generation + 1

    def failed(self, partitions: Iterable[int]) -> None:
        """A batch failed, or may have: nothing that is remembered of its partitions is certain any more."""
        for partition in partitions:
            self._written.pop(partition, None)
