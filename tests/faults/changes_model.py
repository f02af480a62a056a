"""What the oracle of changes goes by: what a ledger means under rules, what the tables hold, and what operators did.

What is expected is a pure function of the table `event`, of the text of the rules in force, and of a clock: payloads
are read here anew, and folded, subject by subject, in canonical order. `Books` has what operators did, and what was
granted once.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dsl.calendar import format_instant
from dsl.event import Event
from dsl.fold import fold
from dsl.outcome import Subject, Unlock, by_subject, canonical_order
from tests.faults.changes_world import Target
from tests.reference.rule_text import read
from worker.engine.rule_set import RuleFile, read_rules
from worker.settings import Clock

if TYPE_CHECKING:
    from collections.abc import Mapping

    import asyncpg

    from dsl.compile import Program
    from dsl.progress import Grant, State
    from dsl.ruleset import RuleSet
    from dsl.types import Value
    from tests.faults.changes_chain import Apply, Sent
    from tests.faults.changes_world import World
    from tests.reference.ruleset import FieldRule, Ruleset

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Finding(NamedTuple):
    """Something that is wrong: its kind and its place."""

    kind: str
    where: str

    def text(self) -> str:
        return f"{self.kind}: {self.where}"


class Row(NamedTuple):
    """A row of the table `unlock`; instants in microseconds."""

    target: Target
    id: str
    version: int
    earned_at: int
    event_id: str
    settles_at: int | None
    granted_at: int | None
    contested_at: int | None
    revoked_at: int | None
    published_at: int | None
    by_hand: bool

    @property
    def evidence(self) -> tuple[int, int, str]:
        return self.version, self.earned_at, self.event_id


def us(at: datetime | None) -> int | None:
    """Return an instant in microseconds."""
    return None if at is None else (at - _EPOCH) // _MICROSECOND


# -- what is expected --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def rules_of(text: str) -> RuleSet:
    """Return rules, compiled."""
    return read_rules([RuleFile("rules.ach", text)])


def program_of(text: str) -> Program:
    program = rules_of(text).program
    assert program is not None
    return program


def value_of(rule: FieldRule, value: object) -> Value | None:
    """Return what a contract makes of a payload's field, None where it does not fit."""
    found: Value | None = None
    match rule.type:
        case "int" if not isinstance(value, bool) and isinstance(value, int | Decimal) and value == int(value):
            found = int(value)
        case "decimal" if isinstance(value, int | Decimal | str) and not isinstance(value, bool):
            try:
                found = Decimal(value)
            except InvalidOperation:
                return None
        case "string" if isinstance(value, str):
            found = value
        case "bool" if isinstance(value, bool):
            found = value
        case _:
            return None
    return None if rule.low is not None and isinstance(found, int | Decimal) and found < rule.low else found


def fields_of(rules: Ruleset, event_type: str, payload: str | None) -> dict[str, Value]:
    """Return the declared fields of a payload that fit: others count as absent."""
    contract = rules.events.get(event_type)
    said: dict[str, object] = json.loads(payload or "{}", parse_float=Decimal)
    fields = {} if contract is None else contract.fields
    values = {name: value_of(rule, said.get(name)) for name, rule in fields.items()}
    return {name: value for name, value in values.items() if value is not None}


def fits(ruleset: RuleSet, event: Sent) -> bool:
    """Tell whether an event keeps its contract."""
    contract = ruleset.rules.events.get(event.type)
    if contract is None:
        return True
    rules = read(ruleset.sources[0].text).events[event.type]
    said = json.loads(json.dumps(dict(event.payload)), parse_float=Decimal)
    for name, rule in rules.fields.items():
        field = contract.fields[name]
        if name in said and value_of(rule, said[name]) is None:
            return False
        if name not in said and not field.optional:
            return False
    return True


class Expected(NamedTuple):
    """What the ledger says under rules, at a clock."""

    program: Program
    clock: int
    events: list[Event]
    grants: dict[Target, Grant]
    states: dict[Subject, State]
    heard: dict[Subject, list[Event]]
    twice: list[Target]

    def due(self, target: Target) -> bool:
        grant = self.grants[target]
        return not grant.settle or grant.earned_at + grant.settle <= self.clock

    def unlock(self, target: Target) -> Unlock:
        return unlock_of(target, self.grants[target].version, self.grants[target].earned_at)


def unlock_of(target: Target, version: int, earned_at: int) -> Unlock:
    tier, occurrence = target.tier or None, target.occurrence or None
    return Unlock(*target.subject, target.achievement, tier, occurrence, version, format_instant(earned_at))


def expected_of(text: str, events: list[Event], clock: int) -> Expected:
    """Fold the ledger."""
    program = program_of(text)
    made = Expected(program, clock, events, {}, {}, {}, [])
    for subject, heard in by_subject(program, events).items():
        heard.sort(key=canonical_order)
        made.heard[subject] = heard
        state, grants = fold(program.scopes[subject.scope], heard, clock)
        made.states[subject] = state
        for grant in grants:
            target = Target(subject, grant.achievement, grant.tier or "", grant.occurrence or "")
            if target in made.grants:
                made.twice.append(target)
            made.grants[target] = grant
    return made


def is_judged(program: Program, target: Target) -> bool:
    """Tell whether rules still judge what an unlock is of."""
    plan = program.scopes.get(target.subject.scope)
    key = target.achievement, target.tier
    return plan is not None and any((one.achievement, one.tier or "") == key for one in plan.rulings)


# -- what is there -----------------------------------------------------------------------------------------------------


async def unlock_rows(eyes: asyncpg.Connection) -> dict[Target, Row]:
    """Return the table `unlock`."""
    rows = [dict(row) for row in await eyes.fetch("SELECT * FROM unlock")]
    return {row.target: row for row in map(_row, rows)}


def _row(row: Mapping[str, Any]) -> Row:
    subject = Subject(row["tenant_id"], row["scope"], row["subject"])
    target = Target(subject, row["achievement"], row["tier"], row["occurrence"])
    times = [us(row[f"{name}_at"]) for name in ("settles", "granted", "contested", "revoked", "published")]
    evidence = row["version"], us(row["earned_at"]) or 0, row["event_id"]
    return Row(target, str(row["unlock_id"]), *evidence, *times, by_hand=bool(row.get("by_hand")))


async def ledger(eyes: asyncpg.Connection, rules: Ruleset) -> list[Event]:
    """Return the table `event` as the rules see it."""
    return [
        Event(
            tenant=row["tenant_id"],
            id=row["event_id"],
            type=row["event_type"],
            user=row["user_id"],
            at=us(row["occurred_at"]) or 0,
            offset=row["utc_offset"],
            fields=fields_of(rules, row["event_type"], row["payload"]),
        )
        for row in await eyes.fetch(
            "SELECT tenant_id, event_id, event_type, user_id, occurred_at, utc_offset, payload FROM event"
        )
    ]


# -- the books ---------------------------------------------------------------------------------------------------------


class Books:
    """What has happened in a chain: what operators did, and what was granted once."""

    def __init__(self) -> None:
        self.text = ""
        """The rules in force, by first names."""
        self.written = ""
        """The same as their author has written them."""
        self.meanings: dict[tuple[str, int], str] = {}
        """Of every version that ever was in force."""
        self.rows: dict[Target, Row] = {}
        """As they were after the step before."""
        self.granted: set[Target] = set()
        """What was granted, or announced, at some time."""
        self.never: set[Target] = set()
        """What was revoked before it was ever granted."""
        self.revoked: set[Target] = set()
        self.by_hand: set[Target] = set()
        self.erased: set[tuple[str, str]] = set()
        self.due: dict[tuple[str, str], str] = {}
        """Events that the ledger must have, and their users."""
        self.names: dict[str, Target] = {}
        """Unlocks by their ids."""
        self.latest_clock = 0
        self.clean = True
        """Whether all subjects are up to date."""

    def refuses(self, op: Apply) -> bool:
        """Tell whether rules change what a version means."""
        return any(
            self.meanings.get((version.name, version.number), version.meaning()) != version.meaning()
            for version in op.rules.versions
        )

    def applied(self, op: Apply) -> None:
        """Note rules that are in force now."""
        self.text, self.written = op.rules.text(), op.rules.written()
        for version in op.rules.versions:
            self.meanings[version.name, version.number] = version.meaning()

    def erase(self, tenant: str, user: str) -> None:
        """Forget a user."""
        self.erased.add((tenant, user))
        gone = Subject(tenant, "user", user)
        for targets in (self.granted, self.never, self.revoked, self.by_hand):
            targets.difference_update([target for target in targets if target.subject == gone])
        self.rows = {target: row for target, row in self.rows.items() if target.subject != gone}
        self.due = {key: name for key, name in self.due.items() if (key[0], name) != (tenant, user)}

    def is_erased(self, subject: Subject) -> bool:
        return subject.scope == "user" and (subject.tenant_id, subject.subject) in self.erased


async def clock_of(world: World) -> int:
    """Return the clock of `settle`."""
    if world.settings.clock is Clock.WALL:
        return world.now
    return us(await world.eyes.fetchval("SELECT max(occurred_at) FROM event")) or 0
