"""The transition table of worker/engine/state_cache.py, run at random against a model of the database.

Two workers share the database. Their attempts lock or reserve partitions, read, change states in place, commit, are
refused, or lose their connection; a worker learns of each end late, or never learns how it ended. Whatever a cache says
has to be the truth, or the guarded write that relies on it has to be refused.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, Final

import msgspec
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dsl.outcome import Subject
from worker.engine.state_cache import Hold, StateCache, SubjectState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SUBJECTS: Final = {Subject("t", "user", name): partition for partition, name in ((0, "a"), (0, "b"), (1, "c"))}
OWNERS: Final = ("red", "blue")
TIGHT, AMPLE = 2, 100

TABLE: Final = {
    # state, event: next state, new era
    ("unknown", "locked, changed"): ("held", True),
    ("ours", "locked, as left"): ("held", False),
    ("ours", "locked, changed"): ("held", True),
    ("ours", "reserved"): ("held", False),
    ("held", "locked, changed"): ("held", True),
    ("held", "committed"): ("ours", False),
    ("held", "failed"): ("unknown", False),
}
"""As in the head of state_cache.py. The end of an attempt that is not the holder is no event of the partition."""


class Partition(msgspec.Struct):
    """A partition in the database; `value` of a subject differs after each write."""

    generation: int = 0
    owner: str = ""
    locked: bool = False


class Row(msgspec.Struct):
    """What the table says of one partition of one worker."""

    state: str = "unknown"
    generation: int | None = None
    """In "ours"."""
    holder: Attempt | None = None
    era: int = 0

    def move(self, event: str) -> None:
        self.state, new_era = TABLE[self.state, event]
        self.era += new_era
        self.generation = self.holder = None


class Attempt(msgspec.Struct, eq=False):
    """A transaction of a worker: under locks, or one guarded statement."""

    worker: Worker
    partitions: tuple[int, ...]
    guarded: bool
    status: str = "running"
    """Then "lost" or "committed" in the database, which the worker learns later."""
    hold: Hold = msgspec.field(default_factory=Hold)
    eras: dict[int, int] = msgspec.field(default_factory=dict[int, int])
    states: dict[Subject, SubjectState] = msgspec.field(default_factory=dict[Subject, SubjectState])
    before: dict[Subject, int] = msgspec.field(default_factory=dict[Subject, int])


class Look(msgspec.Struct, eq=False):
    """A read without a lock: asked for, answered by the database, and added to the cache."""

    worker: Worker
    subject: Subject
    generation: int
    value: int | None = None


class Worker(msgspec.Struct, eq=False):
    """A cache, and what it should hold by the table: the era of each state that is in it."""

    cache: StateCache
    rows: dict[int, Row]
    eras: dict[Subject, int] = msgspec.field(default_factory=dict[Subject, int])

    def valid(self, subject: Subject, era: int) -> bool:
        return self.eras.get(subject) == era


def drawn(among: Callable[[Any], Iterable[object]]) -> st.SearchStrategy[Any]:
    """Draw one of what the machine has at the moment; `precondition(has(among))` belongs to it."""
    return st.runner().flatmap(lambda machine: st.sampled_from(list(among(machine))))


def has(among: Callable[[Any], Iterable[object]]) -> Callable[[Any], bool]:
    return lambda machine: any(True for _ in among(machine))


def free(machine: Machine) -> list[int]:
    """Return the partitions that can be locked."""
    return [number for number, partition in machine.partitions.items() if not partition.locked]


def unlearned(machine: Machine) -> list[Attempt]:
    """Return the attempts that may still read and change states: those whose worker takes them to be under way."""
    return [attempt for attempt in machine.attempts if attempt.status != "committed"]


def changing(machine: Machine) -> list[tuple[Attempt, Subject]]:
    return [(attempt, subject) for attempt in unlearned(machine) for subject in attempt.states]


def running(machine: Machine) -> list[Attempt]:
    """Return the attempts that the database can commit, or refuse."""
    return [
        attempt
        for attempt in machine.attempts
        if attempt.status == "running"
        and not (attempt.guarded and any(machine.partitions[number].locked for number in attempt.partitions))
    ]


def reading(machine: Machine) -> list[tuple[Attempt, Subject]]:
    return [
        (attempt, subject)
        for attempt in unlearned(machine)
        if not attempt.guarded
        for subject, number in SUBJECTS.items()
        if number in attempt.partitions and subject not in attempt.states
    ]


def ended(machine: Machine) -> list[Attempt]:
    return [attempt for attempt in machine.attempts if attempt.status != "running"]


def expected(machine: Machine) -> list[tuple[Worker, Subject]]:
    return [(one, subject) for one in machine.workers for subject in SUBJECTS if one.cache.expected_state(subject)]


def unexpected(machine: Machine) -> list[tuple[Worker, Subject]]:
    return [
        (one, subject)
        for one in machine.workers
        for subject, number in SUBJECTS.items()
        if one.cache.expected_state(subject) is None and one.cache.expected_generation(number) is not None
    ]


class Machine(RuleBasedStateMachine):
    """Any order of what two workers and others may do."""

    def __init__(self) -> None:
        super().__init__()
        self.values = count(1)
        self.partitions = {number: Partition() for number in sorted(set(SUBJECTS.values()))}
        self.truth = dict.fromkeys(SUBJECTS, 0)
        self.workers: list[Worker] = []
        self.attempts: list[Attempt] = []
        self.looks: list[Look] = []
        self.limit = AMPLE

    @initialize(limit=st.sampled_from((TIGHT, AMPLE)))
    def start(self, limit: int) -> None:
        self.limit = limit
        self.workers = [
            Worker(StateCache(owner, limit), {number: Row() for number in self.partitions}) for owner in OWNERS
        ]

    # -- under locks ---------------------------------------------------------------------------------------------------

    @precondition(has(free))
    @rule(worker=drawn(lambda machine: machine.workers), numbers=st.sets(drawn(free), min_size=1), loads=st.booleans())
    def lock(self, worker: Worker, numbers: set[int], *, loads: bool) -> None:
        attempt = Attempt(worker, tuple(sorted(numbers)), guarded=False)
        for number in attempt.partitions:
            partition, row = self.partitions[number], worker.rows[number]
            as_left = row.generation == partition.generation and partition.owner == worker.cache.owner
            partition.locked = True
            worker.cache.locked(attempt.hold, number, partition.generation, partition.owner)
            row.move("locked, as left" if as_left else "locked, changed")
            row.holder, attempt.eras[number] = attempt, row.era
        self.attempts.append(attempt)
        for subject, number in SUBJECTS.items():
            if loads and number in numbers:
                self.load(attempt, subject)

    @precondition(has(reading))
    @rule(one=drawn(reading))
    def read(self, one: tuple[Attempt, Subject]) -> None:
        self.load(*one)

    def load(self, attempt: Attempt, subject: Subject) -> None:
        worker, number = attempt.worker, SUBJECTS[subject]
        state = worker.cache.locked_state(attempt.hold, subject)
        if self.limit == AMPLE:
            assert (state is not None) == worker.valid(subject, attempt.eras[number])
        if state is None:
            worker.eras.pop(subject, None)
            state = SubjectState(partition=number, folded=self.truth[subject])
            worker.cache.add_locked(attempt.hold, subject, state)
            if attempt.eras[number] == worker.rows[number].era:
                worker.eras[subject] = attempt.eras[number]
        if attempt.status == "running":
            assert state.folded == self.truth[subject]
        attempt.states[subject] = state

    # -- without locks -------------------------------------------------------------------------------------------------

    @precondition(has(unexpected))
    @rule(one=drawn(unexpected))
    def look(self, one: tuple[Worker, Subject]) -> None:
        worker, subject = one
        generation = worker.cache.expected_generation(SUBJECTS[subject])
        assert generation is not None
        self.looks.append(Look(worker, subject, generation))

    @precondition(has(lambda machine: machine.looks))
    @rule(look=drawn(lambda machine: machine.looks))
    def answer(self, look: Look) -> None:
        if look.value is None:
            look.value = self.truth[look.subject]
            return
        self.looks.remove(look)
        number = SUBJECTS[look.subject]
        look.worker.cache.add_unlocked(look.subject, SubjectState(partition=number, folded=look.value), look.generation)
        row = look.worker.rows[number]
        if row.generation == look.generation:
            look.worker.eras[look.subject] = row.era

    @precondition(has(expected))
    @rule(subjects=st.lists(drawn(expected), min_size=1, max_size=4, unique=True))
    def reserve(self, subjects: list[tuple[Worker, Subject]]) -> None:
        worker = subjects[0][0]
        own = [subject for one, subject in subjects if one is worker]
        states = {subject: worker.cache.expected_state(subject) for subject in own}
        attempt = Attempt(worker, tuple(sorted({SUBJECTS[subject] for subject in own})), guarded=True)
        for subject, state in states.items():
            assert state is not None
            worker.cache.reserve(attempt.hold, subject, state)
            attempt.states[subject], attempt.before[subject] = state, state.folded
        for number in attempt.partitions:
            worker.rows[number].move("reserved")
            worker.rows[number].holder = attempt
        self.attempts.append(attempt)

    # -- attempts ------------------------------------------------------------------------------------------------------

    @precondition(has(changing))
    @rule(one=drawn(changing))
    def change_in_place(self, one: tuple[Attempt, Subject]) -> None:
        attempt, subject = one
        attempt.states[subject].folded = next(self.values)

    @precondition(has(running))
    @rule(attempt=drawn(running), learned=st.booleans())
    def commit(self, attempt: Attempt, *, learned: bool) -> None:
        for state in attempt.states.values():
            state.folded = next(self.values)
        attempt.status = "committed" if not attempt.guarded or self.is_as_expected(attempt) else "lost"
        if attempt.status == "committed":
            self.truth.update({subject: state.folded for subject, state in attempt.states.items()})
            for number in attempt.partitions:
                self.partitions[number] = Partition(attempt.hold.generations[number] + 1, attempt.worker.cache.owner)
        if learned:
            self.learn_of(attempt, known=True)

    def is_as_expected(self, attempt: Attempt) -> bool:
        """Return whether the guard of an attempt lets it write; then what it has expected has to be the truth."""
        owner, found = attempt.worker.cache.owner, self.partitions
        guards = attempt.hold.generations.items()
        if any((found[number].generation, found[number].owner) != (expects, owner) for number, expects in guards):
            return False
        assert attempt.before == {subject: self.truth[subject] for subject in attempt.before}
        return True

    @precondition(has(running))
    @rule(attempt=drawn(running), learned=st.booleans())
    def lose_connection(self, attempt: Attempt, *, learned: bool) -> None:
        attempt.status = "lost"
        if not attempt.guarded:
            for number in attempt.partitions:
                self.partitions[number].locked = False
        if learned:
            self.learn_of(attempt, known=False)

    @precondition(has(ended))
    @rule(attempt=drawn(ended), known=st.booleans())
    def learn(self, attempt: Attempt, *, known: bool) -> None:
        """The worker learns how an attempt ended, or only that the connection is gone."""
        self.learn_of(attempt, known=known)

    def learn_of(self, attempt: Attempt, *, known: bool) -> None:
        self.attempts.remove(attempt)
        worker, committed = attempt.worker, known and attempt.status == "committed"
        (worker.cache.committed if committed else worker.cache.failed)(attempt.hold)
        for number in attempt.partitions:
            row = worker.rows[number]
            if row.holder is attempt:
                row.move("committed" if committed else "failed")
                row.generation = attempt.hold.generations[number] + 1 if committed else None

    @precondition(has(free))
    @rule(number=drawn(free), owner=st.sampled_from(("", "green")))
    def others_write(self, number: int, owner: str) -> None:
        partition = self.partitions[number]
        partition.generation, partition.owner = partition.generation + 1, owner
        for subject in SUBJECTS:
            if SUBJECTS[subject] == number:
                self.truth[subject] = next(self.values)

    # -- what always holds ---------------------------------------------------------------------------------------------

    @invariant()
    def what_is_expected_is_true_or_refused(self) -> None:
        for worker in self.workers:
            for subject, number in SUBJECTS.items():
                state, partition = worker.cache.expected_state(subject), self.partitions[number]
                guard = (worker.cache.expected_generation(number), worker.cache.owner)
                if state is not None and guard == (partition.generation, partition.owner):
                    assert state.folded == self.truth[subject]

    @invariant()
    def the_cache_follows_the_table(self) -> None:
        for worker in self.workers:
            assert len(worker.cache) <= self.limit
            for number, row in worker.rows.items():
                assert worker.cache.expected_generation(number) == row.generation
            for subject, number in SUBJECTS.items():
                row, state = worker.rows[number], worker.cache.expected_state(subject)
                expects = row.state == "ours" and worker.valid(subject, row.era)
                assert expects if state is not None else not expects or self.limit == TIGHT


TestStateCache = Machine.TestCase
# Shrinking takes minutes, and a step that fails says which transition is wrong: add Phase.shrink to have it shorter.
TestStateCache.settings = settings(max_examples=120, stateful_step_count=40, deadline=None, phases=[Phase.generate])
