"""Granting an unlock by hand: an operator's word, which no evidence takes back.

What an operator grants is announced as any other unlock, and never contested. It says which event supports it once one
does, and is no part of a digest until then. It counts for nothing else: what an achievement comes `after` has to be
earned by events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsl.calendar import index_of, label, unit_index
from dsl.compile import TENANT, USER, scope_of
from dsl.diagnostics import nearest
from dsl.explain import tiers_of
from dsl.fold import reach, start, walk
from dsl.outcome import full_name
from dsl.progress import Grant
from dsl.syntax import RepeatBy, RepeatEach
from worker.contract.partition import partition_of
from worker.engine.batch import MAX_SUBJECT_BYTES
from worker.engine.decide import settling_until
from worker.engine.reconcile import Kind, State, Stored, by_hand, stored_grant, unlock_id
from worker.engine.state_cache import BEGINNING
from worker.pipeline.fence import hold_partitions
from worker.pipeline.ledger import read_back

if TYPE_CHECKING:
    from uuid import UUID

    from dsl.judge import Judge, Ruling
    from dsl.outcome import Subject
    from worker.engine.rule_set import Deployed
    from worker.store import Session, Store

MAX_DIGITS = 9
"""Of the number of an occurrence."""


class CannotGrantError(ValueError):
    """There is no such unlock to grant; the message says why, `hint` what there is."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class Granted(NamedTuple):
    """An unlock that stands by an operator's word, and where it stood before: None where there was none."""

    unlock_id: UUID
    before: State | None

    @property
    def new(self) -> bool:
        """Whether there was no such unlock, in whatever state."""
        return self.before is None

    @property
    def restored(self) -> bool:
        """Whether it had been revoked."""
        return self.before is State.REVOKED


async def grant_by_hand(  # noqa: PLR0913 - the parts of an unlock's key, each by name
    store: Store,
    rules: Deployed,
    subject: Subject,
    achievement: str,
    tier: str | None,
    occurrence: str | None,
    *,
    reason: str,
    by: str,
    now: int,
) -> Granted:
    """Grant an unlock whatever the events say, in one transaction, and note who did and why; `now` in microseconds.

    What settles is granted at once, what was revoked is granted again. Doing it again is harmless.

    Raises:
        CannotGrantError: the rules have no such unlock, or the user was erased.
        RulesMovedError: other rules are in force by now; load them, and try again.
        UnavailableError: nothing is known to have happened.
    """
    if not reason.strip():
        raise CannotGrantError("a grant by hand needs a reason: it is all that supports it")
    bare = grant_meant(rules, subject, achievement, tier, occurrence, now=now)
    key = unlock_id(subject, bare)
    async with store.transaction(patient=True) as session:
        # As any writer of a subject: a worker that has read its unlocks without a lock finds another mark there.
        await hold_partitions(session, [partition_of(*subject)], epoch=rules.epoch)
        tenant, _, name = subject
        if subject.scope == USER and await session.value(bool, "user_is_erased", tenant_id=tenant, user_id=name):
            raise CannotGrantError(f"{subject.subject} was erased from tenant {subject.tenant_id}, for good")
        row = await _stored(session, subject, key)
        key = key if row is None else row.unlock_id
        if row is not None and row.state is State.BY_HAND:
            return Granted(key, State.BY_HAND)
        made = by_hand(row, bare, await _evidence(session, rules, subject, row, bare, now=now), now=now)
        grant = made.grant
        decided: dict[str, object] = {
            **subject._asdict(),
            "achievement": bare.achievement,
            "tier": bare.tier or "",
            "occurrence": bare.occurrence or "",
            "version": grant.version,
            "earned_at": grant.earned_at,
            "event_id": grant.event_id,
            "now": now,
            "by": by,
            "reason": reason,
        }
        await session.run(
            "grant_by_hand",
            unlock_id=key,
            settles_at=settling_until(grant),
            granted_at=made.granted_at,
            reward=rules.terms(bare).reward,
            **decided,
        )
        await session.run("insert_operators_word", decision=Kind.GRANTED_BY_HAND.value, **decided)
    return Granted(key, made.before)


async def _stored(session: Session, subject: Subject, key: UUID) -> Stored | None:
    tenant, scope, name = subject
    rows = await session.rows(Stored, "unlocks_of_subjects", tenant_ids=[tenant], scopes=[scope], subjects=[name])
    return next((row for row in rows if row.key == key), None)


async def _evidence(
    session: Session, rules: Deployed, subject: Subject, row: Stored | None, bare: Grant, *, now: int
) -> Grant | None:
    """Return the grant that the events support.

    The row says it, but for one that was revoked: no evidence moves that, so that the ledger has to be asked.
    """
    match None if row is None else row.state:
        case State.SETTLING | State.GRANTED if row is not None:
            return stored_grant(row)
        case State.REVOKED:
            plan = rules.program.scopes[subject.scope]
            state, same = start(plan), bare[:3]
            async for page in read_back(session, rules, subject.scope, {subject: BEGINNING}):
                for grant in walk(plan, state, [event for _, event in page]):
                    if grant[:3] == same:
                        return grant
            return next((grant for grant in reach(plan, state, now) if grant[:3] == same), None)
        case _:
            return None


# -- what can be granted: pure --------------------------------------------------------------------------------------


def grant_meant(
    rules: Deployed, subject: Subject, achievement: str, tier: str | None, occurrence: str | None, *, now: int
) -> Grant:
    """Return the unlock that is meant, by the version in effect at `now` (microseconds), without evidence.

    The achievement goes by its first name.

    Raises:
        CannotGrantError: there is none; the message names what is near.
    """
    versions, called = rules.rules.achievements.get(achievement), rules.renames.now(achievement)
    if versions is None:
        raise _unknown("achievement", called, list(rules.written.achievements))
    tiers = tiers_of(rules.rules, achievement)
    if tier not in tiers:
        if tier is None:
            named = ", ".join(f"{called}.{one}" for one in tiers)
            raise CannotGrantError(f"{called} has tiers: name one", named)
        raise _unknown(f"tier of {called}", tier, [one for one in tiers if one is not None])
    _check_subject(subject, called, scope_of(versions[0]))
    ruling = _ruling(rules, subject.scope, achievement, tier)
    judge = ruling.in_effect(now)
    if judge is None:
        raise CannotGrantError(f"no version of {full_name(called, tier)} is in effect now")
    _check_occurrence(judge, called, occurrence, now)
    return Grant(achievement, tier, occurrence, judge.version.version, now, "", 0)


def _unknown(what: str, name: str, known: list[str]) -> CannotGrantError:
    guess = nearest(name, known)
    hint = f"there are: {', '.join(sorted(known)[:20]) or 'none'}" if guess is None else f"did you mean {guess}?"
    return CannotGrantError(f"there is no {what} {name}", hint)


def _ruling(rules: Deployed, scope: str, achievement: str, tier: str | None) -> Ruling:
    rulings = rules.program.scopes[scope].rulings
    return next(ruling for ruling in rulings if (ruling.achievement, ruling.tier) == (achievement, tier))


def _check_subject(subject: Subject, achievement: str, scope: str) -> None:
    if subject.scope != scope:
        raise CannotGrantError(f"{achievement} is earned by the scope {scope}, not {subject.scope}", f"--scope {scope}")
    for what, name in (("tenant", subject.tenant_id), (scope, subject.subject)):
        try:
            size = len(name.encode())
        except UnicodeEncodeError:
            raise CannotGrantError(f"the name of the {what} is no Unicode text") from None
        if not 1 <= size <= MAX_SUBJECT_BYTES or "\0" in name:
            raise CannotGrantError(f"the name of a {what} has 1 to {MAX_SUBJECT_BYTES} bytes, none of them 0")
    if scope == TENANT and subject.subject != subject.tenant_id:
        raise CannotGrantError(f"{achievement} is earned by a tenant: the subject is {subject.tenant_id} itself")


def _check_occurrence(judge: Judge, achievement: str, occurrence: str | None, now: int) -> None:
    """Raise an error unless an occurrence is named just where the achievement repeats, in its form."""
    unit = judge.built.unit
    if judge.version.repeat is None:
        if occurrence is not None:
            raise CannotGrantError(f"{achievement} does not repeat: it has no occurrences")
    elif isinstance(judge.version.repeat, RepeatBy):
        field = judge.version.repeat.field.text
        if not occurrence or len(occurrence.encode(errors="replace")) > MAX_SUBJECT_BYTES or "\0" in occurrence:
            raise CannotGrantError(f"{achievement} repeats by {field}: name a value of it, such as --occurrence x")
    elif isinstance(judge.version.repeat, RepeatEach) or unit is None:
        if occurrence is None or not _counts(occurrence):
            raise CannotGrantError(f"{achievement} repeats: name its occurrence by number, such as --occurrence 1")
    elif occurrence is None or index_of(unit, occurrence) is None:
        example = label(unit, unit_index(unit, now))
        raise CannotGrantError(f"{achievement} repeats every {unit.value}: name one, such as --occurrence {example}")


def _counts(text: str) -> bool:
    return text.isascii() and text.isdigit() and not text.startswith("0") and len(text) <= MAX_DIGITS
