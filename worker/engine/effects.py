"""What new rules would decide about stored unlocks: foreseen subject by subject, and counted in little memory. Pure."""

from __future__ import annotations

from collections import Counter
from math import sqrt
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.calendar import format_instant
from dsl.types import SECOND
from worker.engine.change import Policy
from worker.engine.decide import kind_of_new
from worker.engine.preview import Decided, Effect, Example, Interval, Moves
from worker.engine.reconcile import Kind, reconcile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dsl.outcome import Subject
    from dsl.progress import Grant
    from worker.engine.reconcile import Complete, Stored

EXAMPLES: Final = 3
"""Unlocks that are named with each effect."""
Z: Final = 1.959963984540054
"""Quantile of the normal distribution for 95 %."""
_DIGITS: Final = 1000
"""Moves of `earned_at` are kept with three digits: a median of them needs as little memory for many as for few."""


class Foreseen(NamedTuple):
    """One decision that would be made: what an unlock says then, and the row as it is, None where there is none."""

    kind: Kind
    grant: Grant
    before: Stored | None

    @property
    def moved(self) -> int:
        """By how many microseconds an amendment moves `earned_at`."""
        return 0 if self.before is None else self.grant.earned_at - self.before.earned_at


def foresee(
    subject: Subject, stored: Sequence[Stored], earned: Iterable[Grant], complete: Complete | None, *, clock: int
) -> list[Foreseen]:
    """Return what the engine would decide about one subject, as `decide` does; `clock` in microseconds."""
    new, changes = reconcile(subject, stored, earned, complete)
    rows = {row.unlock_id: row for row in stored}
    found = [Foreseen(kind_of_new(grant, clock), grant, None) for grant in new]
    found.extend(Foreseen(change.kind, change.grant, rows.get(change.unlock_id)) for change in changes)
    return found


class Key(NamedTuple):
    """What one row of the plan counts."""

    under: str
    """The achievement that it is listed with: itself, or the one that it is a consequence of."""
    achievement: str
    tier: str
    version: int
    kind: Kind
    moves: Moves | None


class Line(NamedTuple):
    """One decision as `--list` prints it."""

    key: Key
    subject: Subject
    decision: Foreseen


class _Count:
    """The unlocks of one row."""

    __slots__ = ("examples", "last", "moved", "subjects", "unlocks")

    def __init__(self) -> None:
        self.unlocks = self.subjects = 0
        self.last: Subject | None = None
        self.examples: list[Example] = []
        self.moved = Counter[int]()

    def add(self, subject: Subject, decision: Foreseen) -> None:
        self.unlocks += 1
        if subject != self.last:
            self.subjects += 1
            self.last = subject
        if len(self.examples) < EXAMPLES:
            self.examples.append(example_of(subject, decision))
        if decision.kind is Kind.AMENDED:
            self.moved[rounded(decision.moved)] += 1


def example_of(subject: Subject, decision: Foreseen) -> Example:
    """Return a decision as one of those that a row counts."""
    grant, before = decision.grant, decision.before
    was = None if before is None or decision.kind is Kind.RESTORED else format_instant(before.earned_at)
    earned = decision.kind not in {Kind.CONTESTED, Kind.WITHDRAWN}
    now = format_instant(grant.earned_at) if earned else None
    return Example(subject.tenant_id, subject.subject, grant.occurrence, was, now)


def rounded(moved: int) -> int:
    """Return a move of microseconds with three significant digits: a few thousand values stand for all."""
    size, step = abs(moved), 1
    while size >= _DIGITS * step:
        step *= 10
    near = (size + step // 2) // step * step
    return near if moved > 0 else -near


class Effects:
    """Counts what is foreseen. Memory does not depend on how many subjects there are.

    `direct` are the achievements that differ by themselves, `roots` those that others depend on, and `gone` those of
    them that are retired.
    """

    def __init__(
        self,
        direct: frozenset[str],
        roots: Mapping[str, Sequence[str]],
        *,
        gone: frozenset[str] = frozenset(),
        policy: Policy = Policy(),  # noqa: B008 - a tuple
        on_line: Callable[[Line], None] | None = None,
    ) -> None:
        self._direct = direct
        self._roots = roots
        self._gone = gone
        self._policy = policy
        self._on_line = on_line
        self._counts: dict[Key, _Count] = {}
        self.gained = 0
        """New grants."""
        self.announced = 0
        """Those that the policy announces."""

    def add(self, subject: Subject, decisions: Sequence[Foreseen]) -> None:
        """Count what is decided about a subject."""
        moved = {decision.grant.achievement for decision in decisions}
        for decision in decisions:
            key = self._key(decision, moved)
            self._counts.setdefault(key, _Count()).add(subject, decision)
            if decision.kind is Kind.GRANTED:
                self.gained += 1
                self.announced += not self._policy.silences(decision.grant.earned_at)
            if self._on_line is not None:
                self._on_line(Line(key, subject, decision))

    def _key(self, decision: Foreseen, moved: set[str]) -> Key:
        grant, moves = decision.grant, None
        if decision.kind is Kind.AMENDED:
            moves = Moves.SAME if not decision.moved else Moves.LATER if decision.moved > 0 else Moves.EARLIER
        lost = decision.kind in {Kind.CONTESTED, Kind.WITHDRAWN} or moves is Moves.LATER
        under = self._under(grant.achievement, moved, lost=lost)
        return Key(under, grant.achievement, grant.tier or "", grant.version, decision.kind, moves)

    def _under(self, achievement: str, moved: set[str], *, lost: bool) -> str:
        """Return what a decision is listed with: of several causes, the first about which this subject has one too.

        Where there is none, support that is lost has gone with what is retired.
        """
        if achievement in self._direct:
            return achievement
        roots = self._roots.get(achievement, ())
        likely = [root for root in roots if root in moved] or [root for root in roots if lost and root in self._gone]
        return next(iter((*likely, *roots, achievement)))

    def rows(self, *, looked_at: int, of: int | None) -> list[tuple[str, Effect]]:
        """Return the rows with the achievements that they are listed with, sorted.

        `looked_at` subjects were; where that was a sample, `of` is how many there are.
        """
        return [
            (key.under, _effect(key, count, looked_at, of))
            for key, count in sorted(self._counts.items(), key=lambda pair: _order(pair[0]))
        ]


_KINDS: Final = tuple(Kind)
_MOVES: Final = (Moves.LATER, Moves.EARLIER, Moves.SAME, None)


def _order(key: Key) -> tuple[object, ...]:
    same = key.under != key.achievement
    return key.under, same, key.achievement, key.tier, _KINDS.index(key.kind), _MOVES.index(key.moves), key.version


def _effect(key: Key, count: _Count, looked_at: int, of: int | None) -> Effect:
    median = None if key.moves in {None, Moves.SAME} else _median(count.moved) // SECOND
    estimate = None if of is None else interval(count.subjects, count.unlocks, looked_at, of)
    return Effect(
        key.achievement,
        key.tier or None,
        key.version,
        Decided(key.kind.value),
        key.moves,
        count.unlocks,
        count.subjects,
        median,
        estimate,
        count.examples,
    )


def _median(moved: Counter[int]) -> int:
    middle, passed = (moved.total() + 1) // 2, 0
    for value, number in sorted(moved.items()):
        passed += number
        if passed >= middle:
            return value
    raise ValueError("nothing moved")


# -- samples ----------------------------------------------------------------------------------------------------------


def interval(subjects: int, unlocks: int, looked_at: int, of: int) -> Interval:
    """Return what a sample says of all: `subjects` of those `looked_at` have an unlock or more, `unlocks` together.

    The interval is Wilson's score interval at 95 %, which holds for none and for all as well.
    """
    if not looked_at:
        return Interval(0, 0, of, 0)
    share, z2 = subjects / looked_at, Z * Z
    middle = (share + z2 / (2 * looked_at)) / (1 + z2 / looked_at)
    half = Z * sqrt(share * (1 - share) / looked_at + z2 / (4 * looked_at * looked_at)) / (1 + z2 / looked_at)
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    # What was seen is there, and what was not seen is not.
    least, most = max(subjects, int(low * of)), min(of - (looked_at - subjects), int(high * of) + 1)
    return Interval(round(share * of), least, max(least, most), round(unlocks * of / looked_at))
