"""What the pages about rules show: verdicts, versions, the funnel of tiers, who is near."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dsl import words
from dsl.analyze import verdicts
from dsl.compile import scope_of
from dsl.outcome import Subject
from dsl.references import tier_conditions
from worker.console.books import HadRow, StateRow, look
from worker.engine.columns import columns
from worker.engine.languages import spoken
from worker.engine.standing import ALMOST
from worker.pipeline.ledger import types_heard
from worker.pipeline.past_states import know_former, recorded_state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.judge import Judge
    from dsl.progress import State
    from dsl.syntax import Achievement
    from dsl.words import Phrase
    from worker.console.books import EarnedBooks, EarnedRow, VersionRow
    from worker.engine.entries import Catalogue, Entry
    from worker.engine.rule_set import Deployed
    from worker.store import Store

SAMPLE: Final = 2000
"""Subjects whose progress is looked at for near misses."""
NEAR: Final = 20
"""Subjects that are listed as near."""
NEAR_PERCENT: Final = 50
"""Those with less are not near."""


class Step(NamedTuple):
    """One tier of an achievement, or the whole of one without tiers."""

    entry: Entry
    title: str
    earned: int
    subjects: int
    books: EarnedRow | None

    @property
    def percent(self) -> float:
        """The length of its bar."""
        return self.earned * 100 / self.subjects if self.subjects else 0


class Card(NamedTuple):
    """One achievement in the list of all."""

    name: str
    title: str
    scope: str
    family: str | None
    version: int
    final: bool
    reveal: str
    steps: list[Step]


def cards(catalogue: Catalogue, books: EarnedBooks, now: int) -> list[Card]:
    """Return what can be earned at `now` (microseconds), an achievement a card, in the order of the rules."""
    found: dict[str, Card] = {}
    for scope in catalogue.scopes:
        for entry in catalogue.in_effect(scope, now):
            card = found.get(entry.achievement)
            if card is None:
                card = found[entry.achievement] = Card(
                    name=catalogue.rules.renames.now(entry.achievement),
                    title=_title(catalogue, entry),
                    scope=entry.scope,
                    family=entry.family,
                    version=entry.version,
                    final=entry.final,
                    reveal=entry.reveal.kind,
                    steps=[],
                )
            card.steps.append(_step(catalogue, entry, books))
    return list(found.values())


def _step(catalogue: Catalogue, entry: Entry, books: EarnedBooks) -> Step:
    row = books.rows.get((entry.achievement, entry.tier or ""))
    subjects = books.subjects.get(entry.scope, 0)
    name = catalogue.rules.renames.target(entry.achievement, entry.tier)
    return Step(entry, _spoken(entry) or name, 0 if row is None else row.earned, subjects, row)


def _title(catalogue: Catalogue, entry: Entry) -> str:
    versions = catalogue.rules.rules.achievements[entry.achievement]
    own = next(version for version in versions if version.version == entry.version)
    return catalogue.rules.renames.now(entry.achievement) if own.title is None else own.title.texts[0][1]


def _spoken(entry: Entry) -> str | None:
    found = spoken(entry.titles, ())
    return None if found is None else found.text


# -- one achievement ---------------------------------------------------------------------------------------------------


class Line(NamedTuple):
    """A phrase of a condition, and those of its parts."""

    text: str
    parts: list[Line]


class Edition(NamedTuple):
    """A version: what it asks for in words, why late evidence may take it back, and its text where it is in force."""

    number: int
    conditions: list[tuple[str | None, Line]]
    clauses: list[str]
    reasons: list[tuple[str, str]]
    """Why it is contestable, and what would make it final; empty where it is final."""
    in_effect: bool
    deployed: VersionRow | None

    @property
    def final(self) -> bool:
        """Whether what it grants stays right whatever arrives late."""
        return not self.reasons


def editions(rules: Deployed, name: str, deployed: Sequence[VersionRow], now: int) -> list[Edition]:
    """Return the versions of an achievement (its first name) that are in the rules in force, the latest first."""
    found, called = verdicts(rules.written), rules.renames.now(name)
    rows = {row.version: row for row in deployed}
    plan = rules.program.scopes[scope_of(rules.rules.achievements[name][0])]
    effective = {
        judge.version.version
        for ruling in plan.rulings
        if ruling.achievement == name and (judge := ruling.in_effect(now)) is not None
    }
    return [
        Edition(
            number=version.version,
            conditions=[(tier, _line(words.outline(when))) for tier, when in tier_conditions(version)],
            clauses=_clauses(version),
            reasons=[(one.text, one.rewrite) for one in dict.fromkeys(found[called, version.version].reasons)],
            in_effect=version.version in effective,
            deployed=rows.get(version.version),
        )
        for version in reversed(rules.written.achievements[called])
    ]


def _line(phrase: Phrase) -> Line:
    return Line(phrase.text, [_line(part) for part in phrase.parts])


def _clauses(version: Achievement) -> list[str]:
    return list(words.clauses(version))


class Near(NamedTuple):
    """A subject that has not earned it and is near."""

    subject: Subject
    tier: str | None
    percent: int
    current: str | None
    target: str | None


class NearMisses(NamedTuple):
    """Those that are nearest, of how many that were looked at, and of these how many are at half the way or more."""

    nearest: list[Near]
    near: int
    looked_at: int
    complete: bool
    """Whether all were looked at."""


async def near_misses(store: Store, rules: Deployed, name: str, tenants: list[str] | None, now: int) -> NearMisses:
    """Return who is near an achievement and has not earned it, of some subjects.

    Raises:
        UnavailableError: the database is away, or took too long.
    """
    scope = scope_of(rules.rules.achievements[name][0])
    judges = _judges(rules, name, scope, now)
    async with look(store) as session:
        rows = await session.rows(
            StateRow,
            "states_of_scope",
            scope=scope,
            types=types_heard(rules, "user") if "user" in rules.program.scopes else [],
            tenants=tenants,
            limit=SAMPLE + 1,
        )
        await know_former(session, rules, {(scope, row.stamp) for row in rows} - {(scope, rules.stamps[scope])})
        built = not await session.value(bool, "something_is_building")
        keys = sorted((row.tenant_id, row.subject) for row in rows)
        found_had = await session.rows(
            HadRow,
            "unlocks_of_some",
            achievement=name,
            scope=scope,
            **columns("subjects", ("tenant_id", "subject"), keys),
        )
    had = set(found_had)
    known = [
        (
            subject := Subject(row.tenant_id, scope, row.subject),
            recorded_state(rules, subject, row.stamp, row.state, row.unsaved, built=built).state,
        )
        for row in rows[:SAMPLE]
    ]
    found = [
        near
        for subject, state in known
        if state is not None and (near := _near(judges, subject, state, had, now)) is not None
    ]
    found.sort(key=lambda one: (-one.percent, one.subject))
    return NearMisses(found[:NEAR], len(found), len(known), len(rows) <= SAMPLE)


def _judges(rules: Deployed, name: str, scope: str, now: int) -> list[tuple[str | None, Judge]]:
    """Return what judges an achievement at an instant, tier by tier."""
    return [
        (ruling.tier, judge)
        for ruling in rules.program.scopes[scope].rulings
        if ruling.achievement == name and (judge := ruling.in_effect(now)) is not None
    ]


def _near(
    judges: Sequence[tuple[str | None, Judge]], subject: Subject, state: State, had: set[HadRow], now: int
) -> Near | None:
    """Return the next tier of a subject, if it is near that."""
    for tier, judge in judges:
        occurrence = judge.occurrence(state, now)
        if HadRow(subject.tenant_id, subject.subject, tier or "", occurrence or "") in had:
            continue
        measure = judge.measure(state, now)
        percent = min(int(measure.fraction * 100), ALMOST)
        if percent < NEAR_PERCENT:
            return None
        current, target = (None if one is None else str(one) for one in (measure.current, measure.target))
        return Near(subject, tier, percent, current, target)
    return None
