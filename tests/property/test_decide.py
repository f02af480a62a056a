"""The decision of the worker, without a server: whatever batches arrive, in whatever order, the books say what the slow
reference says of all events that are in the ledger.

Two workers commit batches to the same books by either way, each with a memory that may have forgotten;
operators revoke, grant by hand and erase between batches; rules come into force and are taken back. After every
batch the subjects that it touched are compared. `ACH_DECISIONS` asks for more batches than the quick run has.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Final
from unittest.mock import patch

import pytest

from dsl.compile import USER
from dsl.event import Position
from dsl.fold import fold, standings, walk
from dsl.outcome import Subject
from dsl.progress import Grant, decode
from tests.faults.changes_chain import BEGIN, LAST, MINUTE, USERS, Sent
from tests.faults.changes_rules import Rulebook, Version, first_rules
from tests.reference import timeline as slow
from tests.reference.books import Books, Terms, Worker, backfill, earns_at_moment, subjects_in
from tests.reference.rule_text import read
from tests.reference.unlocks import unlocks_of
from worker.contract.message import Message
from worker.contract.partition import partition_of
from worker.engine import fast_users, folding
from worker.engine.decoding import decode as read_messages
from worker.engine.reconcile import State, Stored, by_hand, stored_grant, unlock_id
from worker.engine.rule_set import Deployed, RuleFile, read_rules
from worker.engine.state_cache import BEGINNING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dsl.progress import State as DslState
    from worker.engine.batch import Batch

pytestmark = pytest.mark.timeout(900)

BATCHES: Final = int(os.environ.get("ACH_DECISIONS", "6000"))
PARTS: Final = 2
"""Tests that share the batches, so that several processes may."""
STREAMS: Final = 3
"""Streams of one rule set: to draw and read one costs as much as a dozen batches."""
NOW: Final = BEGIN + LAST * MINUTE
HAPPENS: Final = (
    *("fast", "fast refolds", "fast absorbs", "fast earns", "long", "long refolds", "long absorbs", "long earns"),
    *("granted", "settling", "amended", "contested", "restored", "withdrawn", "duplicates", "erased", "known before"),
    *("partition_not_ours", "unknown_user", "erased", "shared_subject", "other_rules", "duplicate", "not_worth_it"),
    *("late_without_trust", "too_many_refolds", "revokes", "partition_moved", "event_known", "unlock_known", "lost"),
    *("id_conflict", "contract", "revoked by an operator", "granted by hand", "erased by an operator", "backfilled"),
)
"""What has to happen in so many batches, or they show little."""


@dataclass
class World:
    """One stream of batches, and the books that come of it."""

    dice: Random
    book: Rulebook
    books: Books = field(default_factory=Books)
    seen: Counter[str] = field(default_factory=Counter[str])
    number: int = 0
    epoch: int = 0
    now: int = NOW
    sent: list[Sent] = field(default_factory=list[Sent])
    stale: set[Subject] = field(default_factory=set[Subject])
    """Subjects that no batch and no backfill has brought up to date with the rules in force yet."""

    def __post_init__(self) -> None:
        dice = self.dice
        self.streamed = dice.random() < 0.3
        self.wanted = self.book
        self.rules = self._deployed(self.book, {})
        self.workers = [self._worker(name) for name in "ab"]
        self.lost = dice.choice((0, 0.05))
        self.in_order = dice.choice((0.4, 0.6, 0.8))
        self.pace = dice.choice((10, 40, 60))

    def _deployed(self, book: Rulebook, since: dict[str, int]) -> Deployed:
        self.epoch += 1
        self.text = book.text()
        ruleset = read_rules([RuleFile("r.ach", self.text)])
        rules = Deployed(self.epoch, ruleset, since=since, prefix="e", skew=10**15)
        if self.epoch > 1:
            rules.former.adopt(self.rules.former)
        return rules

    def _worker(self, name: str) -> Worker:
        return Worker(self.books, f"{name}{self.dice.random()}", self.dice.choice((2, 100, 100)))

    def chance(self, share: float) -> bool:
        return self.dice.random() < share

    # -- events --------------------------------------------------------------------------------------------------------

    def event(self) -> Sent:
        dice = self.dice
        tenant, user = USERS[dice.choice((0, 0, 0, 0, 0, 1, 1, 2, 3))]
        late = not self.chance(self.in_order)
        kind = dice.choices(("a", "b", "c", "user.updated", "d"), (9, 9 if late else 3, 5, 1, 1))[0]
        payload: dict[str, object] = {}
        if kind == "user.updated":
            payload = {"plan": dice.choice(("pro", "free")), "timezone": dice.choice(("Asia/Tokyo", "America/Lima"))}
        else:
            drawn = {"n": dice.randint(0, 5), "s": dice.choice("xy"), "x": dice.choice((0.5, 1, 2.5)), "f": True}
            likely = {"a": "nsf", "b": "n", "c": "xs", "d": ""}[kind]
            payload = {name: drawn[name] for name in likely if self.chance(0.9)}
            if kind in "ab" and self.chance(0.3):
                payload["team"] = dice.choice(("red", "blue"))
        self.number += 1
        # In order as a rule: the later in the stream, the later it happened.
        at = self.number * self.pace
        minute = max(0, at - dice.randrange(0, 20) * self.pace) if late else at
        name, offset = f"{dice.choice('mzA')}{self.number}", dice.choice((0, 0, 0, 540, -300))
        return Sent(name, kind, tenant, user, minute, offset, tuple(payload.items()))

    def batch(self) -> Batch:
        dice = self.dice
        events = [self.event() for _ in range(dice.choice((1, 1, 2, 3, 4, 8)))]
        self.sent += events
        if self.chance(0.12):
            events += dice.sample(self.sent, min(len(self.sent), dice.choice((1, 1, 2, 4))))
        if self.chance(0.2):
            dice.shuffle(events)
        bodies = [json.dumps(event.said()).encode() for event in events]
        if self.chance(0.05):  # an id that stands for another event already
            other = self.dice.choice(self.sent)
            bodies.append(json.dumps({**other.said(), "event_type": "a" if other.type == "c" else "c"}).encode())
        if self.chance(0.05):
            bodies.append(json.dumps({**events[0].said(), "payload": {"n": "none"}}).encode())
        messages = [Message("e.raw", body, b"", seq, "") for seq, body in enumerate(bodies, 1)]
        return read_messages(messages, self.rules, now=self.now)

    # -- steps ---------------------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Commit a batch, and compare what it has touched."""
        if self.chance(0.1):
            self.workers.reverse()
        worker, other = self.workers
        batch = self.batch()

        def meanwhile() -> None:
            if self.chance(0.03):
                between = self.batch()
                other.commit(between, self.terms())
                touched.update(between.subjects)

        touched = set(batch.subjects)
        terms = self.terms()._replace(meanwhile=meanwhile)
        for writes in worker.commit(batch, terms):
            self.stale -= {*writes.progress, *writes.forgotten}
            self.seen.update(letter.reason.value for letter in writes.arrivals.letters)
        self.compare(touched)

    def terms(self) -> Terms:
        return Terms(self.dice, self.streamed, self.dice.choice((1, 3, 32)), lambda: None, self.lost)

    def others(self) -> None:
        """Do what is no batch, now and then."""
        steps = (self.revoke, self.grant, self.erase, self.relay, self.restart, self.apply, self.backfill)
        if self.chance(0.2):
            self.dice.choices(steps, (4, 3, 0.7, 4, 2, 3, 3))[0]()

    def revoke(self) -> None:
        rows = [row for row in self.books.unlocks.values() if row.revoked_at is None]
        if rows:
            row = self.dice.choice(rows)
            self.books.unlocks[row.unlock_id] = row._replace(revoked_at=self.now)
            self.seen["revoked by an operator"] += 1

    def grant(self) -> None:
        """Grant by hand: something that is there, or something that a user has not earned."""
        rows = list(self.books.unlocks.values())
        row = self.dice.choice(rows) if rows and self.chance(0.6) else None
        bare = self._bare() if row is None else stored_grant(row)
        if bare is None:
            return
        subject = self._subject(row)
        key = unlock_id(subject, bare)
        row = self.books.unlocks.get(key)
        if (row is not None and row.state is State.BY_HAND) or subject in self.books.erased:
            return
        self.books.take([partition_of(*subject)], "")
        made = by_hand(row, bare, self._evidence(subject, row, bare), now=self.now)
        grant, tier, occurrence = made.grant, bare.tier or "", bare.occurrence or ""
        evidence = grant.version, grant.earned_at, grant.event_id
        self.books.unlocks[key] = Stored(
            *subject,
            bare.achievement,
            tier,
            occurrence,
            key,
            *evidence,
            None,
            made.granted_at,
            None,
            None,
            by_hand=True,
        )
        self.seen["granted by hand"] += 1

    def _subject(self, row: Stored | None) -> Subject:
        if row is not None:
            return Subject(*row[:3])
        tenant, user = self.dice.choice(USERS)
        return Subject(tenant, USER, user)

    def _bare(self) -> Grant | None:
        plan = self.rules.program.scopes[USER]
        judges = [judge for ruling in plan.rulings if (judge := ruling.in_effect(self.now)) is not None]
        once = [judge for judge in judges if judge.version.repeat is None]
        if not once:
            return None
        version, judge = (chosen := self.dice.choice(once)).version, chosen
        ruling = next(ruling for ruling in plan.rulings if ruling.in_effect(self.now) is judge)
        return Grant(ruling.achievement, ruling.tier, None, version.version, self.now, "", 0)

    def _evidence(self, subject: Subject, row: Stored | None, bare: Grant) -> Grant | None:
        match None if row is None else row.state:
            case State.SETTLING | State.GRANTED if row is not None:
                return stored_grant(row)
            case State.REVOKED if subject.scope in self.rules.program.scopes:
                _, grants = fold(self.rules.program.scopes[subject.scope], self.books.heard_by(self.rules, subject))
                return next((grant for grant in grants if grant[:3] == bare[:3]), None)
            case _:
                return None

    def erase(self) -> None:
        tenant, name = self.dice.choice(USERS)
        user = Subject(tenant, USER, name)
        mine = [item for item in self.books.ledger.values() if item.audience.user == user]
        since: dict[Subject, Position] = {}
        for item in mine:
            place = Position(item.event.at, item.event.id)
            for scope in ("team", "tenant"):
                other = slow.name_in(scope, item.event)
                if other is not None:
                    subject = Subject(tenant, scope, other)
                    since[subject] = min(since.get(subject, place), place)
        self.books.take({partition_of(*subject) for subject in (user, *since)}, "")
        for subject, position in {user: BEGINNING, **since}.items():
            self.books.progress.pop(subject, None)
            self.books.forget(subject, position)
        for item in mine:
            del self.books.ledger[item.key]
        self.books.unlocks = {key: row for key, row in self.books.unlocks.items() if Subject(*row[:3]) != user}
        self.books.erased.add(user)
        self.seen["erased by an operator"] += 1
        tended = {subject: place for subject, place in since.items() if subject.scope in self.rules.program.scopes}
        self._backfill(tended)
        self.compare(tended)

    def relay(self) -> None:
        clock = self.clock()
        for key, row in self.books.unlocks.items():
            due = row.settles_at is not None and row.settles_at <= clock
            if row.granted_at is None and row.revoked_at is None and due:
                self.books.unlocks[key] = row._replace(granted_at=self.now)
        self.now += self.dice.choice((0, 400, 1500)) * MINUTE

    def restart(self) -> None:
        self.seen.update(self.workers[0].seen)
        self.workers = [*self.workers[1:], self._worker("n")]

    def apply(self) -> None:
        """Put rules into force that lack an achievement, or have it back."""
        before, names = self.rules, self.book.names()
        gone = self.dice.choice(names)
        self.wanted = self.book.without(gone) if self.wanted is self.book else self.book
        if not self.wanted.versions or not _is_valid(self.wanted.text()):
            self.wanted = self.book
            return
        plans = {scope: plan.fingerprint for scope, plan in before.program.scopes.items()}
        since = {scope: int(before.stamps[scope].rpartition("@")[2]) for scope in plans}
        now = read_rules([RuleFile("r.ach", self.wanted.text())]).program
        assert now is not None
        same = {scope for scope, plan in now.scopes.items() if plans.get(scope) == plan.fingerprint}
        self.rules = self._deployed(self.wanted, {scope: since[scope] for scope in same})
        self.books.partitions = {at: (number + 1, "") for at, (number, _) in self.books.partitions.items()}
        changed = {scope for scope in now.scopes if before.stamps.get(scope) != self.rules.stamps[scope]}
        self.stale |= {subject for subject in subjects_in(self.books, self.rules) if subject.scope in changed}
        self.stale = {subject for subject in self.stale if subject.scope in now.scopes}
        for subject in [one for one in self.books.progress if one.scope not in now.scopes]:
            del self.books.progress[subject]
            self.books.checkpoints.pop(subject, None)

    def backfill(self) -> None:
        if self.stale:
            self._backfill(dict.fromkeys(sorted(self.stale), BEGINNING))
            touched, self.stale = self.stale, set()
            self.compare(touched)
            self.seen["backfilled"] += 1

    def _backfill(self, since: dict[Subject, Position]) -> None:
        writes = backfill(self.books, self.rules, since, self.terms(), now=self.now)
        self.stale -= {*writes.progress, *writes.forgotten}

    # -- comparing -----------------------------------------------------------------------------------------------------

    def compare(self, touched: Iterable[Subject]) -> None:
        ready = [one for one in touched if one.scope in self.rules.program.scopes and one not in self.stale]
        self._pass_moments(ready)
        for subject in ready:
            self._compare_unlocks(subject)
            self._compare_progress(subject)

    def clock(self) -> int:
        if self.streamed:
            return max((item.event.at for item in self.books.ledger.values()), default=0)
        return self.now

    def _pass_moments(self, subjects: Iterable[Subject]) -> None:
        """Do what a worker does when versions begin."""
        for subject in subjects:
            if earns_at_moment(self.rules, subject, self.books.state_of(self.rules, subject), self.clock()):
                self._backfill({subject: BEGINNING})
                self.seen["moments"] += 1

    def _compare_unlocks(self, subject: Subject) -> None:
        """Compare rows with what the slow reference finds earned."""
        rules = read(self.text)
        events = [event for event in self.books.events_of(subject) if event.type in rules.events]
        line = slow.timeline(rules, slow.Subject(*subject), events)
        earned = {
            (one.achievement, one.tier or "", one.occurrence or ""): one
            for one in unlocks_of(rules, line, self.clock())
        }
        rows = {row[3:6]: row for row in self.books.unlocks_of([subject]).get(subject, ())}
        for key, unlock in earned.items():
            row = rows.pop(key)
            if row.revoked_at is None:
                assert row.contested_at is None, row
                assert (row.version, row.earned_at, row.event_id) == (unlock.version, unlock.by.at, unlock.by.id), row
        for key, row in rows.items():
            if self.rules.rules_on(subject.scope, *key[:2]) and row.revoked_at is None:
                assert row.contested_at is not None or (row.by_hand and row.event_id == ""), row

    def _compare_progress(self, subject: Subject) -> None:
        """Compare what is saved, and what is remembered, with a fold of all events."""
        plan = self.rules.program.scopes[subject.scope]
        heard = self.books.heard_by(self.rules, subject)
        expected, _ = fold(plan, heard, self.clock())
        now = max(self.now, heard[-1].at) if heard else self.now
        saved = self.books.up_to_date(self.rules, subject)
        for state in (saved, *self._remembered(subject)):
            if state is None:
                assert not heard
                continue
            assert state.mark == expected.mark
            assert state.earned == expected.earned
            assert standings(plan, state, now) == standings(plan, expected, now)
        for mark, point in self.books.checkpoints.get(subject, {}).items():
            if point.stamp == self.rules.stamps[subject.scope]:
                state = decode(point.state.encode())
                assert state is not None
                walk(plan, state, [event for event in heard if Position(event.at, event.id) > mark])
                assert standings(plan, state, now) == standings(plan, expected, now)

    def _remembered(self, subject: Subject) -> Iterator[DslState | None]:
        """Yield what is remembered of a subject by who was the last to write its partition."""
        partition = partition_of(*subject)
        for worker in self.workers:
            found = worker.cache.expected_state(subject)
            if found and found.state and found.stamp != self.rules.stamps[subject.scope]:
                continue  # of earlier rules, and up to date all the same
            if found and self.books.partitions[partition] == (
                worker.cache.expected_generation(partition),
                worker.cache.owner,
            ):
                yield found.state


def _is_valid(text: str) -> bool:
    try:
        return bool(read_rules([RuleFile("r.ach", text)]))
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set sizes for users of few events."""
    monkeypatch.setattr(folding, "CHECKPOINT_EVERY", 3)
    monkeypatch.setattr(folding, "CHECKPOINT_BYTES", 10**6)
    monkeypatch.setattr(folding, "CHECKPOINTS_KEPT", 3)
    monkeypatch.setattr(fast_users, "MOST_REFOLDS", 1)


def drawn_rules(dice: Random) -> Rulebook:
    """Draw rules, with some that late events take back, and some that they hardly ever do."""
    book = first_rules(dice)
    of_users = tuple(version for version in book.versions if version.scope == USER)
    if of_users and dice.random() < 0.7:  # what other scopes hear takes the long way
        book = book._replace(versions=of_users)
    whens = (f"count(event=a, >= {dice.choice((2, 3, 3, 4))}, unless=b)", f"count(event=a, >= {dice.choice((6, 9))})")
    for name, when in zip(("u", "m"), whens, strict=True):
        if dice.random() < 0.7:
            clauses = (f"settle {dice.choice(('6h', '1d'))}",) if dice.random() < 0.5 else ()
            repeat = dice.choice(("", "every day", "every hour", "each"))
            more = Version(name, 1, "", fresh=False, scope=USER, repeat=repeat, parts=(("", when),), clauses=clauses)
            book = book._replace(versions=(*book.versions, more))
    return book


def lived(seed: str, book: Rulebook, batches: int) -> Counter[str]:
    """Commit batches of one stream; return what has happened."""
    dice = Random(seed)  # noqa: S311 - no secret
    with patch.object(fast_users, "WORTH_IT", dice.choice((0.0, 0.0, 0.0, 0.5, 2.0))):
        world = World(dice, book)
        for _ in range(batches):
            world.commit()
            world.others()
        for worker in world.workers:
            world.seen.update(worker.seen)
    return world.seen


@pytest.mark.parametrize("part", range(PARTS))
def test_the_books_say_what_the_reference_says(part: int) -> None:
    done, number, seen = 0, 0, Counter[str]()
    while done < BATCHES // PARTS:
        dice = Random(f"{part} {number}")  # noqa: S311 - no secret
        book = drawn_rules(dice)
        for stream in range(STREAMS):
            batches = dice.randint(8, 30)
            seed = f"{part} {number} {stream}"
            try:
                seen += lived(seed, book, batches)
            except BaseException as error:
                error.add_note(f"stream {seed!r} of\n{book.text()}")
                raise
            done += batches
        number += 1
    assert [name for name in HAPPENS if not seen[name]] == []
