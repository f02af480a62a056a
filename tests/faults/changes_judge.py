"""The oracle of changes: whether the live tables are a replay of the ledger, plus what operators did.

`look` compares after each step what may never change, `judge` everything, once all subjects are up to date.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from dsl.event import Event, Position
from dsl.fold import fold
from dsl.outcome import Subject, digest
from dsl.progress import decode, encode
from tests.faults.changes_model import (
    Books,
    Expected,
    Finding,
    Row,
    clock_of,
    expected_of,
    is_judged,
    ledger,
    program_of,
    unlock_rows,
    us,
)
from tests.faults.changes_world import Target
from tests.faults.oracle import announcements, corrected
from tests.reference.evaluator import supported_unlocks
from tests.reference.rule_text import read
from worker.admin.results import StaleError, read_results
from worker.pipeline.rules_in_force import load_deployed
from worker.settings import Clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import asyncpg

    from dsl.progress import State
    from tests.faults.changes_world import World
    from tests.reference.ruleset import Ruleset

SLOW_EVENTS: Final = 40
"""Up to so many events the slow reference judges too."""
TICK: Final = "the clock"


# -- after each step ---------------------------------------------------------------------------------------------------


async def look(world: World, books: Books, touched: Target | None) -> list[Finding]:
    """Return what has changed that never may; `touched` is what an operator has just spoken of."""
    rows = await unlock_rows(world.eyes)
    books.latest_clock = max(books.latest_clock, await clock_of(world))
    found = list(_moved(books, rows, touched))
    books.rows = rows
    books.granted |= {target for target, row in rows.items() if row.granted_at is not None}
    books.names |= {row.id: target for target, row in rows.items()}
    if books.erased:
        found += await _remains(world, books)
    if world.broker is not None:
        found += _announced(books, await world.announced())
    return found


def _moved(books: Books, rows: dict[Target, Row], touched: Target | None) -> Iterator[Finding]:
    program = program_of(books.text)
    for target in books.granted | books.revoked:
        if target not in rows:
            yield Finding("a revoked unlock is gone" if target in books.revoked else "a grant is gone", target.text())
    for target, row in rows.items():
        if books.is_erased(target.subject):
            yield Finding("an unlock of an erased user", target.text())
            continue
        before = books.rows.get(target, row)
        yield from _backwards(books, before, row)
        if target != touched and not is_judged(program, target):
            yield from _unjudged(books, before, row)


def _backwards(books: Books, before: Row, row: Row) -> Iterator[Finding]:
    """Tell what no step may do to a row."""
    target = row.target
    if target in books.revoked and row.revoked_at is None:
        yield Finding("a revoked unlock came back", target.text())
    if target not in books.revoked and row.revoked_at is not None:
        yield Finding("revoked by no operator", target.text())
    if target in books.never and row.granted_at is not None:
        yield Finding("granted, though it was revoked before", target.text())
    if before.granted_at is not None and before.granted_at != row.granted_at:
        yield Finding("granted_at has moved", target.text())
    if before.published_at is not None and row.published_at is None:
        yield Finding("what was announced is not marked any more", target.text())
    too_soon = row.granted_at is not None and (row.settles_at or 0) > books.latest_clock
    if too_soon and target not in books.granted and target not in books.by_hand:
        yield Finding("granted before it has settled", target.text())


def _unjudged(books: Books, before: Row, row: Row) -> Iterator[Finding]:
    """Tell what may not happen to a row that no rule judges, and no operator speaks of."""
    if before.granted_at is not None and (before.evidence, before.contested_at) != (row.evidence, row.contested_at):
        yield Finding("what no rule judges has moved", row.target.text())
    if row.granted_at is None and row.revoked_at is None and (row.settles_at or 0) > books.latest_clock:
        yield Finding("what no rule judges goes on settling", row.target.text())


async def _remains(world: World, books: Books) -> list[Finding]:
    """Return what is left of erased users."""
    found: list[Finding] = []
    for table, column, scope in _PERSONAL:
        asked = f"SELECT DISTINCT tenant_id, {column} AS name FROM {table}{scope}"  # noqa: S608 - names of ours
        found += [
            Finding(f"an erased user is in {table}", row["name"])
            for row in await world.eyes.fetch(asked)
            if (row["tenant_id"], row["name"]) in books.erased
        ]
    for row in await world.eyes.fetch("SELECT nats_subject, body FROM dead_letter"):
        tokens = row["nats_subject"].split(".")
        # What has been blanked has a subject of no user.
        if _named(row["body"]) & books.erased or tuple(tokens[1:3]) in books.erased:
            found.append(Finding("a dead letter of an erased user", row["body"].decode()))
    return found


def _named(body: bytes) -> set[tuple[str, str]]:
    """Return the tenants and users that a body speaks of: JSON, unless it is blanked."""
    if b'"user_id"' not in body:
        return set()
    said: dict[str, str] | list[dict[str, str]] = json.loads(body)
    return {(one["tenant_id"], one["user_id"]) for one in (said if isinstance(said, list) else [said])}


_PERSONAL: Final = (
    ("event", "user_id", ""),
    ("progress", "subject", " WHERE scope = 'user'"),
    ("checkpoint", "subject", " WHERE scope = 'user'"),
    ("evaluation", "subject", " WHERE scope = 'user'"),
)


def _announced(books: Books, announced: dict[str, int]) -> Iterator[Finding]:
    for name, times in announced.items():
        target = books.names.get(name)
        if times > 1:
            yield Finding("announced twice", target.text() if target else name)
        if target is None:
            yield Finding("announced, and in no table", name)
            continue
        if books.is_erased(target.subject):
            continue
        if target in books.never:
            yield Finding("announced, though it was revoked before it was granted", target.text())
        if target not in books.rows:
            yield Finding("announced, and in no table", target.text())
        books.granted.add(target)


# -- when all are up to date -------------------------------------------------------------------------------------------


async def judge(world: World, books: Books, *, slow: bool = False, announced: bool = False) -> list[Finding]:
    """Return all that differs from the replay and from what operators did; `announced`: nothing is left to announce."""
    rules = read(books.text)
    events = await ledger(world.eyes, rules)
    wanted = expected_of(books.text, events, await clock_of(world))
    rows = await unlock_rows(world.eyes)
    found = [
        *(Finding("earned twice", target.text()) for target in wanted.twice),
        *_rows_against(wanted, books, rows),
        *await _decisions(world, rows, books),
        *await _results(world, wanted, rows),
        *await _checkpoints(world, wanted),
        *_missing(books, events),
    ]
    if announced and world.broker is not None:
        found += _unannounced(rows, await world.announced())
        table = [dict(row) for row in await world.eyes.fetch("SELECT * FROM unlock")]
        found += [Finding("corrections", one) for one in corrected(await announcements(world.settings), table)]
        if left := await world.eyes.fetchval("SELECT count(*) FROM correction"):
            found.append(Finding("corrections are not announced", str(left)))
    if slow and len(events) <= SLOW_EVENTS:
        found += _by_reference(rules, wanted)
    return found


def _rows_against(wanted: Expected, books: Books, rows: dict[Target, Row]) -> Iterator[Finding]:
    for target in wanted.grants:
        if target not in rows:
            yield Finding("not granted", target.text())
    for target, row in rows.items():
        if row.revoked_at is not None:
            continue
        if row.by_hand != (target in books.by_hand):
            yield Finding("by hand, says the table alone" if row.by_hand else "a grant by hand is lost", target.text())
        if row.by_hand and (row.contested_at is not None or row.granted_at is None):
            yield Finding("a grant by hand that does not stand", target.text())
        if target in wanted.grants:
            yield from _supported(wanted, target, row)
        elif is_judged(wanted.program, target):
            yield from _unsupported(books, row)


def _unsupported(books: Books, row: Row) -> Iterator[Finding]:
    if row.by_hand:
        if row.event_id:
            yield Finding("a grant by hand with evidence that is none", f"{row.target.text()}: {row.event_id}")
    elif row.granted_at is None and row.target not in books.granted:
        yield Finding("settles, though nothing supports it", row.target.text())
    elif row.contested_at is None:
        yield Finding("supported by nothing, and not contested", row.target.text())


def _supported(wanted: Expected, target: Target, row: Row) -> Iterator[Finding]:
    grant = wanted.grants[target]
    if row.contested_at is not None:
        yield Finding("contested, though it is supported", target.text())
    elif row.evidence != (grant.version, grant.earned_at, grant.event_id):
        yield Finding("other evidence", f"{target.text()}: {row.evidence}, not {grant}")
    elif row.settles_at not in {grant.earned_at + grant.settle, None if grant.settle == 0 else -1}:
        # What settled under a version before, and does not under this one, is due at once.
        yield Finding("settles at another time", f"{target.text()}: {row.settles_at}")
    elif row.granted_at is None and row.settles_at is None:
        yield Finding("not granted, though it does not settle", target.text())


async def _decisions(world: World, rows: dict[Target, Row], books: Books) -> list[Finding]:
    last: dict[Target, asyncpg.Record] = {}
    ever: defaultdict[Target, set[str]] = defaultdict(set)
    asked = "SELECT * FROM evaluation ORDER BY evaluation_id"
    for row in await world.eyes.fetch(asked):
        subject = Subject(row["tenant_id"], row["scope"], row["subject"])
        target = Target(subject, row["achievement"], row["tier"], row["occurrence"])
        last[target] = row
        ever[target].add(row["decision"])
    found: list[Finding] = []
    for target in ever.keys() | rows.keys():
        row, decided = rows.get(target), last.get(target)
        decision = "none" if decided is None else decided["decision"]
        if row is None:
            if decision != "withdrawn" or ever[target] & {"granted", "restored", "contested"}:
                found.append(Finding("decisions about what is not there", f"{target.text()}: {sorted(ever[target])}"))
            continue
        if row.by_hand or target in books.by_hand:
            continue
        if decision not in _DECISIONS[_state(row)]:
            found.append(Finding("the last decision differs", f"{target.text()}: {_state(row)}, decided {decision}"))
        elif decided is not None and row.revoked_at is None:
            evidence = decided["version"], us(decided["earned_at"]), decided["event_id"]
            if evidence != row.evidence:
                found.append(Finding("other evidence was decided", f"{target.text()}: {row.evidence}, not {evidence}"))
    return found


def _state(row: Row) -> str:
    if row.revoked_at is not None:
        return "revoked"
    if row.contested_at is not None:
        return "contested"
    return "settling" if row.granted_at is None else "granted"


_DECISIONS: Final = {
    "revoked": {"revoked"},
    "contested": {"contested"},
    "settling": {"settling", "amended", "restored"},
    "granted": {"granted", "amended", "restored"},
}


async def _results(world: World, wanted: Expected, rows: dict[Target, Row]) -> list[Finding]:
    """Compare what `ach digest` says."""
    rules = await load_deployed(world.store, world.settings)
    clock = None if world.settings.clock is Clock.STREAM else wanted.clock
    try:
        stored = await read_results(world.store, rules, clock=clock)
    except StaleError as error:
        return [Finding("the digest is refused", str(error))]
    program = wanted.program
    unlocks = [
        wanted.unlock(target)
        for target in wanted.grants
        if wanted.due(target) and target in rows and rows[target].revoked_at is None
    ]
    found: list[Finding] = []
    if Counter(stored.unlocks) != Counter(unlocks):
        more, less = Counter(stored.unlocks) - Counter(unlocks), Counter(unlocks) - Counter(stored.unlocks)
        found.append(Finding("other unlocks in the digest", f"{list(more)} in place of {list(less)}"))
    elif stored.digest != digest(program, unlocks, wanted.states):
        found.append(Finding("another digest", _progress(wanted, stored.states)))
    return found


def _progress(wanted: Expected, states: Mapping[Subject, State]) -> str:
    def of(state: State | None, subject: Subject) -> str:
        return "" if state is None else digest(wanted.program, [], {subject: state})

    nothing = digest(wanted.program, [], {})
    subjects = sorted(wanted.states.keys() | states.keys())
    other = [
        "/".join(one)
        for one in subjects
        if (of(wanted.states.get(one), one) or nothing) != (of(states.get(one), one) or nothing)
    ]
    return f"progress of {other}"


async def _checkpoints(world: World, wanted: Expected) -> list[Finding]:
    """Compare each checkpoint with the fold up to its mark."""
    rules = await load_deployed(world.store, world.settings)
    found: list[Finding] = []
    for row in await world.eyes.fetch("SELECT * FROM checkpoint"):
        subject = Subject(row["tenant_id"], row["scope"], row["subject"])
        if rules.stamps.get(subject.scope) != row["stamp"]:
            continue
        plan = wanted.program.scopes[subject.scope]
        mark = Position(us(row["mark_at"]) or 0, row["mark_id"])
        heard = wanted.heard.get(subject, [])
        before = [event for event in heard if Position(event.at, event.id) <= mark]
        state = decode(row["state"].encode())
        pure, _ = fold(plan, before)
        # Read back, since equal states are not always written alike: a set has no order.
        if state is None or state != decode(encode(pure)):
            found.append(Finding("another checkpoint", f"{'/'.join(subject)} at {mark}: {row['state']}"))
    return found


def _missing(books: Books, events: Iterable[Event]) -> Iterator[Finding]:
    there = {(event.tenant, event.id) for event in events}
    for key in books.due.keys() - there:
        yield Finding("an event is not in the ledger", "/".join(key))


def _unannounced(rows: dict[Target, Row], announced: dict[str, int]) -> Iterator[Finding]:
    for target, row in rows.items():
        if row.granted_at is not None and row.revoked_at is None and row.id not in announced:
            yield Finding("not announced", target.text())
        if row.granted_at is None and row.revoked_at is None and row.id in announced:
            yield Finding("announced, and not granted", target.text())
        if row.granted_at is not None and row.revoked_at is None and row.published_at is None:
            yield Finding("not marked as announced", target.text())


def _by_reference(rules: Ruleset, wanted: Expected) -> Iterator[Finding]:
    tick = Event(tenant="", id="", type=TICK, user="", at=wanted.clock, offset=0, fields={})
    slow = {
        (
            Target(Subject(*one.subject), one.achievement, one.tier or "", one.occurrence or ""),
            one.version,
            one.earned_at,
        )
        for one in supported_unlocks(rules, [*wanted.events, tick])
    }
    # The clock of the reference is never behind an event.
    clock = max([wanted.clock, *(event.at for event in wanted.events)])
    have = {
        (target, grant.version, grant.earned_at)
        for target, grant in wanted.grants.items()
        if grant.earned_at + grant.settle <= clock
    }
    for one in slow ^ have:
        yield Finding("the reference differs", f"{one[0].text()} {one[1:]}")
