"""What new rules would change, before anything happens: read in one snapshot, written nowhere.

The engine's own functions fold and compare, so what is foreseen is what an apply and its backfill would decide about
the same events. What comes in later, and what settles meanwhile, makes the difference.
"""

from __future__ import annotations

from collections import Counter
from contextlib import aclosing
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dsl.calendar import format_instant
from dsl.moments import at_moment
from dsl.outcome import Subject
from dsl.renames import under_first_names
from worker.admin.changes import name_and_number
from worker.admin.misnamed import misnamed
from worker.admin.preview_reading import Asked as ReadingAsked
from worker.admin.preview_reading import Part, Reading, Sampled
from worker.admin.preview_states import FromStates, Known
from worker.admin.versions import RuleVersion
from worker.engine.change import Policy
from worker.engine.columns import columns
from worker.engine.effects import Effects, Foreseen, foresee
from worker.engine.foresight import Carrier, Concerned
from worker.engine.meaning import Meaning, change_of, meanings_of, recalled
from worker.engine.plan_names import renamings, shown_preview
from worker.engine.preview import AchievementChange, Coming, Preview, Refusal, Sample, Status
from worker.engine.reconcile import Kind, Stored, stored_grant, unlock_id
from worker.engine.renames import Renames
from worker.engine.rule_diff import build_of, compare_rules
from worker.pipeline.ledger import clock_of
from worker.pipeline.past_states import know_former
from worker.pipeline.rules_in_force import Aggregate, RuleSetRow, prepare, read_aside, renamed_before

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dsl.carry import Carriage
    from dsl.progress import Grant
    from dsl.ruleset import RuleSet
    from dsl.schema import Rules
    from worker.engine.effects import Line
    from worker.engine.preview import Effect
    from worker.engine.rule_diff import Differences
    from worker.engine.rule_set import Deployed
    from worker.settings import Settings
    from worker.store import Session, Store

EXACT: Final = 1_000_000
"""Events up to which the ledger is counted; above, the statistics of the server have to do."""
MILLION: Final = 1_000_000

PLANNER: Final = """
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL enable_seqscan = on; SET LOCAL enable_bitmapscan = on; SET LOCAL enable_hashjoin = on;
SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL work_mem = '64MB';
"""
"""Elsewhere every statement goes by key; here whole tables are read."""


class Asked(NamedTuple):
    """What a preview is asked for."""

    rules: RuleSet
    sampled: Sampled | None = None
    announce: str | None = None
    """The policy in words; None where none was chosen."""
    policy: Policy = Policy()
    rate: int | None = None
    """Events a second that the backfill is to read."""
    on_line: Callable[[Line], None] | None = None
    """Called with each decision, subject by subject."""
    moved: Callable[[int], None] | None = None
    """Called with how many events more were folded."""


async def preview(store: Store, settings: Settings, asked: Asked, *, now: int) -> Preview:
    """Return what would change; `now` in microseconds.

    Raises:
        RulesRefusedError: this release finds errors in the rules in force.
        UnavailableError: the database is away.
        OSError: the disk of temporary files is full.
    """
    async with store.transaction(patient=True) as session:
        await session.script(PLANNER)
        books = await _read_books(session, settings, now)
        asked = asked._replace(rules=under_first_names(asked.rules))
        was = await read_aside(() if books.row is None else books.row.files())
        before = was.rules
        rules = prepare(books.epoch + 1, asked.rules, books.since(asked.rules), settings, renamed=books.renamed)
        differs = compare_rules(before, rules.rules, rules.renames)
        seen = _Seen(differs, asked, rules.renames)
        # Of others, the plan is in force, and all subjects are up to date.
        for scope in sorted(rules.program.scopes.keys() - books.since(asked.rules).keys()):
            await _look(session, books, rules, scope, seen)
        await _look_at_retired(session, rules, seen, clock=books.clock)
        renamed = renamings(was, rules)
        kept = await _kept(session, [*_retired(differs), *(first for first, _ in renamed)])
        wrong = await misnamed(session, asked.rules, books.versions, books.renamed)
    found = _assembled(books, before, rules, seen, kept, now=now)
    return msgspec.structs.replace(
        shown_preview(found, Renames(books.renamed), rules.renames),
        renamed=[msgspec.structs.replace(one, unlocks=kept.get(first, 0)) for first, one in renamed],
        misnamed=wrong,
        is_change=found.is_change or bool(renamed),
    )


# -- what the database says -------------------------------------------------------------------------------------------


class _Books(NamedTuple):
    """What the database says beside events and unlocks."""

    row: RuleSetRow | None
    aggregates: list[Aggregate]
    versions: list[RuleVersion]
    events: int
    exact: bool
    clock: int
    renamed: Mapping[str, tuple[str, ...]]
    """As in `Renames`, by the rules in force and those before them."""

    @property
    def epoch(self) -> int:
        return 0 if self.row is None else self.row.epoch

    @property
    def live(self) -> dict[str, Aggregate]:
        """The plans by scope that all subjects are folded by."""
        return {one.scope: one for one in self.aggregates if one.status == "live"}

    def since(self, rules: RuleSet) -> dict[str, int]:
        """Return since when the plans of new rules have been in force, of scopes where they are."""
        if rules.program is None:
            raise AssertionError(rules.problems)
        scopes = rules.program.scopes
        return {
            scope: one.epoch
            for scope, one in self.live.items()
            if scope in scopes and scopes[scope].fingerprint == one.fingerprint
        }

    @property
    def building(self) -> bool:
        return any(one.status == "building" for one in self.aggregates)


async def _read_books(session: Session, settings: Settings, now: int) -> _Books:
    row = await session.row(RuleSetRow, "rules_in_force")
    aggregates = await session.rows(Aggregate, "aggregates")
    versions = await session.rows(RuleVersion, "rule_versions")
    estimated = await session.value(int, "estimated_events") or 0
    exact = estimated <= EXACT
    events = await session.value(int, "exact_events") or 0 if exact else estimated
    clock = await clock_of(session, settings, now)
    return _Books(row, aggregates, versions, events, exact, clock, await renamed_before(session))


def _retired(differs: Differences) -> list[str]:
    return [change.achievement for change in differs.achievements if change.status is Status.RETIRED]


async def _kept(session: Session, achievements: Sequence[str]) -> dict[str, int]:
    """Return how many granted unlocks some achievements have, by their first names."""
    if not achievements:
        return {}
    return dict(await session.rows(name_and_number, "kept_unlocks", achievements=achievements))


# -- what would be decided --------------------------------------------------------------------------------------------


class _Seen:
    """What was found in the snapshot so far."""

    def __init__(self, differs: Differences, asked: Asked, renames: Renames) -> None:
        self.differs = differs
        self.asked = asked
        self._renames = renames
        self.rows: list[tuple[str, Effect]] = []
        self.events = self.subjects = self.gained = self.announced = 0
        self.population: int | None = None
        self.seconds = 0.0
        self.coming = Counter[tuple[str, str, int, int]]()
        """By achievement, tier, version and instant (microseconds)."""

    def effects(self) -> Effects:
        """Return an empty count of effects."""
        asked, differs = self.asked, self.differs
        on_line = None if asked.on_line is None else partial(self._called, asked.on_line)
        gone = differs.gone
        return Effects(differs.direct, differs.roots, gone=gone, policy=asked.policy, on_line=on_line)

    def _called(self, on_line: Callable[[Line], None], line: Line) -> None:
        key = line.key._replace(under=self._renames.now(line.key.under))
        on_line(line._replace(key=self._renames.shown_in(key)))

    def foresee(self, subject: Subject, grants: Iterable[Grant], stored: Iterable[Stored], clock: int) -> None:
        """Count what would be earned when versions begin that are yet to come."""
        coming = [grant for grant in grants if grant.earned_at > clock and at_moment(grant)]
        if not coming:
            return
        known = {row.key for row in stored}
        self.coming.update(
            (grant.achievement, grant.tier or "", grant.version, grant.earned_at)
            for grant in coming
            if unlock_id(subject, grant) not in known
        )

    def take(self, effects: Effects, *, looked_at: int, of: int | None) -> None:
        """Add the effects of one scope."""
        self.rows += effects.rows(looked_at=looked_at, of=of)
        self.gained += effects.gained
        self.announced += effects.announced


async def _reading(session: Session, books: _Books, rules: Deployed, scope: str, asked: ReadingAsked) -> Reading | None:
    """Return what reads a scope; None where nothing is decided otherwise."""
    live = books.live.get(scope)
    newest = None if live is None else f"{live.fingerprint}@{live.epoch}"
    numbers = {} if newest is None else dict(await session.rows(name_and_number, "stamps_of_scope", scope=scope))
    carriages = {} if newest is None else await _carriages(session, rules, scope, {newest, *numbers})
    in_force = None if newest is None else carriages.get(newest)
    if in_force is None or None in carriages.values():
        part = Part(rules.program.scopes[scope], frozenset(rules.ruled(scope)))
        return Reading(session, rules, scope, part, asked)
    concerned = Concerned(in_force)
    part = concerned.part
    if part is None:
        return None
    carriers = {stamp: Carrier(concerned, one, part) for stamp, one in carriages.items() if one is not None}
    return FromStates(session, rules, scope, Known(concerned, part, carriers, sum(numbers.values())), asked)


async def _carriages(session: Session, rules: Deployed, scope: str, stamps: set[str]) -> dict[str, Carriage | None]:
    """Return how states of some stamps are carried over; None where they are void."""
    await know_former(session, rules, [(scope, stamp) for stamp in stamps])
    return {stamp: rules.former.carriage(scope, stamp) for stamp in stamps}


async def _look(session: Session, books: _Books, rules: Deployed, scope: str, seen: _Seen) -> None:
    """Foresee what is decided about the subjects of one scope."""
    asked = ReadingAsked(seen.asked.sampled, seen.asked.moved or _nothing)
    reading = await _reading(session, books, rules, scope, asked)
    if reading is None:
        return
    began, effects = monotonic(), seen.effects()
    async with aclosing(reading.outcomes()) as pages:
        async for page in pages:
            for subject, earned, stored in page:
                grants = [grant for grant in earned.grants if grant.earned_at <= books.clock or not at_moment(grant)]
                seen.foresee(subject, earned.grants, stored, books.clock)
                decisions = foresee(subject, stored, grants, earned.complete, clock=books.clock)
                if decisions:
                    effects.add(subject, decisions)
    seen.take(effects, looked_at=reading.subjects, of=reading.population)
    seen.subjects += reading.subjects
    seen.events += reading.events
    seen.seconds += monotonic() - began
    if reading.population is not None:
        seen.population = (seen.population or 0) + reading.population


def _nothing(events: int) -> None:
    del events


async def _look_at_retired(session: Session, rules: Deployed, seen: _Seen, *, clock: int) -> None:
    """Foresee what an apply withdraws at once: what has not settled of achievements and tiers that leave the rules."""
    judged = [(scope, *ruling) for scope in sorted(rules.program.scopes) for ruling in rules.ruled(scope)]
    asked = columns("judged", ("scope", "achievement", "tier"), judged)
    effects = seen.effects()
    async for page in session.pages(Stored, "retired_settling", **asked, clock=clock):
        for row in page:
            effects.add(Subject(*row[:3]), [Foreseen(Kind.WITHDRAWN, stored_grant(row), row)])
    seen.take(effects, looked_at=0, of=None)


# -- all of it together -----------------------------------------------------------------------------------------------


def _assembled(
    books: _Books, before: Rules, rules: Deployed, seen: _Seen, kept: dict[str, int], *, now: int
) -> Preview:
    differs, asked = seen.differs, seen.asked
    changes = _with_effects(differs, seen.rows, rules, kept)
    sampled = None
    if asked.sampled is not None and seen.population is not None:
        sampled = Sample(_percent(asked.sampled), seen.subjects, seen.population)
    events = seen.events
    if sampled is not None and asked.sampled is not None:
        events = round(events * MILLION / asked.sampled.millionths)
    rate = asked.rate or (int(seen.events / seen.seconds) if seen.events and seen.seconds else None)
    row = books.row
    return Preview(
        epoch=books.epoch,
        applied_at=None if row is None else format_instant(row.applied_at),
        applied_by=None if row is None else row.applied_by,
        taken_at=format_instant(now),
        clock=format_instant(books.clock),
        events=books.events,
        events_exact=books.exact,
        building=books.building,
        subjects=seen.subjects,
        sample=sampled,
        achievements=changes,
        contracts=differs.contracts,
        unchanged=differs.unchanged,
        in_words=differs.in_words,
        build=build_of(before, rules.rules, differs, events=events, rate=rate, measured=asked.rate is None),
        announce=asked.announce,
        announced=seen.announced,
        gained=seen.gained,
        refused=_refused(books, before, rules.rules),
        is_change=bool(changes or differs.contracts or differs.in_words),
        coming=[
            Coming(achievement, tier or None, version, format_instant(at), number)
            for (achievement, tier, version, at), number in sorted(seen.coming.items())
        ],
        same=differs.same,
    )


def _percent(sampled: Sampled) -> str:
    return f"{sampled.millionths / 10_000:g}"


def _with_effects(
    differs: Differences, rows: Iterable[tuple[str, Effect]], rules: Deployed, kept: dict[str, int]
) -> list[AchievementChange]:
    """Return the changes with their effects; an achievement that means the same may have some, too."""
    changes = {change.achievement: change for change in differs.achievements}
    for under, effect in rows:
        change = changes.get(under)
        if change is None:
            change = AchievementChange(under, _scope_of(rules, under), Status.UNCHANGED, [], [], [])
        which = "effects" if effect.achievement == under else "consequences"
        changes[under] = msgspec.structs.replace(change, **{which: [*getattr(change, which), effect]})
    return [
        msgspec.structs.replace(change, kept=kept.get(name, 0)) if change.status is Status.RETIRED else change
        for name, change in sorted(changes.items())
    ]


def _scope_of(rules: Deployed, achievement: str) -> str:
    return next(
        (scope for scope in rules.program.scopes if any(name == achievement for name, _ in rules.ruled(scope))), ""
    )


def _refused(books: _Books, before: Rules, now: Rules) -> list[Refusal]:
    """Return the versions that mean something else than when they were deployed."""
    in_force, means = meanings_of(before), meanings_of(now)
    found: list[Refusal] = []
    for row in books.versions:
        key = row.achievement, row.version
        if key not in means:
            continue
        meant = in_force.get(key) or recalled(row.meaning, row.starts_at, row.declarations)
        change = change_of(*key, meant or Meaning(row.meaning, row.starts_at, None), means[key])
        if change is not None:
            found.append(Refusal(*key, list(change.reasons), by_declarations=not change.own))
    return found
