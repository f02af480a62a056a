"""What the pages about changes of rules show. Pure."""

from __future__ import annotations

from collections import defaultdict
from difflib import unified_diff
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.console.books import DecidedRow, RuleSetShown, VersionRow
    from worker.pipeline.rules_in_force import RuleSetRow

MOST_LINES: Final = 2000
"""Of a difference."""


class Change(NamedTuple):
    """One set of rules, with the versions that were new in it and those that it retired."""

    rules: RuleSetShown
    new: list[VersionRow]
    retired: list[VersionRow]


def changes(sets: Sequence[RuleSetShown], versions: Sequence[VersionRow]) -> list[Change]:
    """Return what each set of rules has changed, in the order given."""
    return [
        Change(
            one,
            [row for row in versions if row.epoch == one.epoch],
            [row for row in versions if row.retired_at == one.applied_at],
        )
        for one in sets
    ]


class Effect(NamedTuple):
    """What was decided about one achievement, between one change and the next."""

    achievement: str
    backfill: int
    live: int
    """All that were granted and no backfill found."""
    contested: int
    restored: int
    amended: int
    withdrawn: int
    by_hand: int
    revoked: int


_LIVE: Final = ("live", "settled", "replayed")


def effects(rows: Sequence[DecidedRow]) -> list[Effect]:
    """Return what was decided by achievement."""
    found: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        found[row.achievement][row.what] += row.decisions
    return [
        Effect(
            achievement=name,
            backfill=counts["backfill"],
            live=sum(counts[origin] for origin in _LIVE),
            contested=counts["contested"],
            restored=counts["restored"],
            amended=counts["amended"],
            withdrawn=counts["withdrawn"],
            by_hand=counts["granted_by_hand"],
            revoked=counts["revoked"],
        )
        for name, counts in sorted(found.items())
    ]


class DiffLine(NamedTuple):
    """A line of a difference: `kind` is add, del, file, place or same."""

    kind: str
    text: str


_KINDS: Final = {"+": "add", "-": "del", "@": "place"}


def difference(texts: Sequence[RuleSetRow]) -> list[DiffLine]:
    """Return how the texts of a set of rules differ from those of the one before it."""
    now = {file.name: file.text for file in texts[0].files()}
    before = {} if len(texts) == 1 else {file.name: file.text for file in texts[1].files()}
    lines: list[DiffLine] = []
    for name in sorted({*now, *before}):
        found = list(unified_diff(before.get(name, "").splitlines(), now.get(name, "").splitlines(), lineterm="", n=3))
        if found:
            lines.append(DiffLine("file", name))
            lines.extend(DiffLine(_KINDS.get(line[:1], "same"), line) for line in found[2:])
    return lines[:MOST_LINES]
