"""A state that is carried from one plan to another, and the part of its events that this needs, are a fold of all.

Rules are drawn and edited, events come under one set of rules, some later under another that does not hear them; then a
state of the first set, which may lag behind, is carried over all of them. What comes of it is compared with a
fold of all events under the last. `ACH_CARRIED` multiplies the number of the quick run.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import pytest
from hypothesis import given
from msgspec.structs import replace

from dsl.carry import carry
from dsl.compile import USER
from dsl.event import Event, Position
from dsl.fold import fold, reach, walk
from dsl.nodes.totals import Distinct
from dsl.outcome import by_subject, canonical_order
from dsl.progress import Grant, SinceValues, State, UnitValues, Values, decode, encode
from dsl.roles import base_of
from tests.faults.changes_chain import BEGIN, LAST, MINUTE, USERS
from tests.faults.changes_rules import Rulebook, Version, edited, first_rules, is_valid
from tests.reference.draw_settings import thorough
from tests.reference.rule_changes import Chain, chains, compiled, seen_by
from worker.admin.outdated import Watch
from worker.contract.strict_reader import Contract
from worker.engine.rule_set import RuleFile, read_rules
from worker.engine.state_cache import BEGINNING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dsl.carry import Carriage, Carried
    from dsl.compile import Plan, Program
    from dsl.outcome import Subject
    from dsl.schema import Rules

TIMES: Final = int(os.environ.get("ACH_CARRIED", "1"))
BOOKS: Final = 24 * TIMES
"""Rule sets to begin with."""
STREAMS: Final = 4
"""Of each: to read rules costs the most."""
HAPPENS: Final = (
    "certain",
    "doubtful",
    "absent",
    "unearned",
    "lost",
    "part",
    "lags",
    "between",
    "without",
    "plain",
    "passed over",
    "moment",
)
"""What has to happen, or the test shows little."""

_thorough = thorough(8)
pytestmark = pytest.mark.timeout(900)


class Case(NamedTuple):
    """One subject: events as each set of rules sees them, in canonical order, and where the state stands."""

    plans: list[Plan]
    heard: list[list[Event]]
    """Of each plan."""
    saved: int
    """How many events of the first plan the state has seen; those that come `late` apart."""
    late: set[str]
    """Ids of events that came when the first plan was in force no more."""
    until: int
    """What the clock shows in the end."""
    name: str
    """Of the subject."""
    text: str


def _clock(case: Case) -> int:
    """Return what the clock showed when the state was saved: before all that it has not seen, or the end of it all."""
    first = case.plans[0]
    known = [event for event in case.heard[0] if event.id not in case.late]
    state, _ = fold(first, known[: case.saved])
    others = [event for heard in case.heard for event in heard if state.mark is not None and _place(event) > state.mark]
    return min((event.at for event in others), default=case.until)


def check(case: Case, seen: Counter[str]) -> None:
    """Carry the state of a case, and compare everything with a fold of all events."""
    old, new = case.plans[0], case.plans[-1]
    known = [event for event in case.heard[0] if event.id not in case.late]
    state, before = fold(old, known[: case.saved], _clock(case))
    carriage = carry(case.plans)
    if state.mark is None or carriage.void:
        seen["void"] += carriage.void
        return
    mark = state.mark
    _, wanted = pure = fold(new, case.heard[-1], case.until)
    seen["moment"] += not mark.id
    events = [event for event in case.heard[-1] if _place(event) <= mark]
    rest = [event for event in case.heard[-1] if _place(event) > mark]
    carried = carriage.of(_copy(state))
    seen["plain"] += carriage.plain
    note(carried, seen)
    made, given, complete = carried.state, list[Grant](), set(carried.unearned)
    part = carriage.part(carried)
    if part is not None:
        seen["part"] += 1
        folded, given = fold(part, events, mark.at)
        copies = carriage.copies
        made = carriage.merged(carried, part, folded, 0 if copies is None else fold(copies, events)[0].suppressed)
        complete |= part.judged
    given += walk(new, made, rest)
    given += reach(new, made, case.until)
    if carriage.undone(mark):
        seen["undone"] += 1
    seen["lags"] += bool(rest)
    seen["between"] += len(case.plans) > 2
    compare(
        new, made, pure[0], exact_mark=bool(rest) or not (carriage.dropped or carriage.undone(mark)), text=case.text
    )
    compare_grants(new, mark, before, given, wanted, complete, case.text)
    if not any(event.type in carriage.types for event in events):
        seen["without"] += bool(carriage.types)
        check_without(carriage, state, case, wanted, seen)


def check_without(carriage: Carriage, state: State, case: Case, wanted: Sequence[Grant], seen: Counter[str]) -> None:
    """Do the same for a subject without events of what is new: what is certain needs none at all."""
    new, mark = case.plans[-1], state.mark
    assert mark is not None
    carried = carriage.without.of(_copy(state))
    seen["certain without"] += carried.certain and bool(carriage.types)
    if not carried.certain:
        return
    known = [event for event in case.heard[0] if event.id not in case.late]
    _, before = fold(case.plans[0], known[: case.saved], _clock(case))
    rest = [event for event in case.heard[-1] if _place(event) > mark]
    pure, _ = fold(new, case.heard[-1], case.until)
    given = walk(new, carried.state, rest)
    given += reach(new, carried.state, case.until)
    compare(new, carried.state, pure, exact_mark=bool(rest) or not carriage.dropped, text=case.text)
    compare_grants(new, mark, before, given, wanted, set(carried.unearned), case.text)
    if not case.late and not carriage.ruled_anew:
        seen["passed over"] += check_passed_over(carriage, state, case, wanted)


def check_passed_over(carriage: Carriage, state: State, case: Case, wanted: Sequence[Grant]) -> bool:
    """Compare all that both plans grant where the state says that nothing is otherwise, and return whether it does."""
    watch, mark = Watch(carriage), state.mark
    carried = watch.carriage.of(_copy(state))
    known = [event for event in case.heard[0] if event.type in carriage.dropped]
    behind = {event.id: event for event in (*known, *case.heard[-1]) if _place(event) > (mark or BEGINNING)}
    unsaved = [replace(event, type=base_of(event.type)) for event in sorted(behind.values(), key=canonical_order)]
    both = carried.state, _copy(state)
    if not carried.certain or carried.lost or watch.grants_otherwise(*both, case.name, unsaved, case.until):
        return False
    judged = {(ruling.achievement, ruling.tier) for ruling in carriage.new.rulings}
    assert {grant for grant in fold(carriage.old, case.heard[0], case.until)[1] if grant[:2] in judged} == set(
        wanted
    ), case.text
    return True


def compare(plan: Plan, made: State, pure: State, *, exact_mark: bool, text: str) -> None:
    """Compare states; what no bound asks for is left out."""
    made, pure = _bare(plan, made), _bare(plan, pure)
    if not exact_mark:
        made.mark = pure.mark = None
    assert made == pure, text


def _bare(plan: Plan, state: State) -> State:
    bare = _copy(state)
    for entry in plan.entries:
        node, cap = (
            bare.nodes.get(entry.aggregate.slot),
            entry.aggregate.cap if isinstance(entry.aggregate, Distinct) else 0,
        )
        match node:
            case Values(seen=seen) if len(seen) >= cap:
                node.seen = set()
            case UnitValues(seen=seen, best=best) | SinceValues(seen=seen, best=best) if max(len(seen), best) >= cap:
                node.seen, node.best = set() if len(seen) >= cap else seen, cap
            case _:
                pass
    if plan.scope != USER:
        bare.suppressed = 0
    return bare


def compare_grants(  # noqa: PLR0917 - both sides
    plan: Plan,
    mark: Position,
    before: Sequence[Grant],
    given: Sequence[Grant],
    wanted: Sequence[Grant],
    complete: set[int],
    text: str,
) -> None:
    """Compare all that rulings grant that were decided anew; of others, what the old plan granted, and the rest."""
    slots = {(ruling.achievement, ruling.tier): ruling.slot for ruling in plan.rulings}
    anew = {grant for grant in wanted if slots[grant[:2]] in complete or _earned(grant) > mark}
    assert {grant for grant in given if slots[grant[:2]] in complete or _earned(grant) > mark} == anew, text
    kept = {grant for grant in before if slots.get(grant[:2], -1) not in complete and grant[:2] in slots}
    assert kept == set(wanted) - anew, text


def note(carried: Carried, seen: Counter[str]) -> None:
    seen["certain"] += carried.certain
    for name in ("doubtful", "absent", "unearned", "lost"):
        seen[name] += bool(getattr(carried, name))


def _place(event: Event) -> Position:
    return Position(event.at, event.id)


def _earned(grant: Grant) -> Position:
    return Position(grant.earned_at, grant.event_id)


def _copy(state: State) -> State:
    copied = decode(encode(state))
    assert copied is not None
    return copied


# -- edits of drawn rules ----------------------------------------------------------------------------------------------


class World(NamedTuple):
    """Rule sets that follow each other, and a ledger."""

    texts: list[str]
    events: list[tuple[Event, str]]
    """Each with its payload."""


def drawn(dice: Random) -> World:
    book = first_rules(dice)
    for _ in range(dice.choice((0, 0, 2, 4))):
        book = _bound_from(dice, book, [])
    seen, texts = [book], [book.text()]
    for _ in range(dice.choice((1, 1, 2, 3))):
        for _ in range(dice.choice((1, 1, 2))):
            edit = dice.choice((_edited, _edited, _bound, _bound, _tier, _tier, _bound_from, _bound_from, _bound_from))
            book = edit(dice, book, seen)
        seen.append(book)
        texts.append(book.text())
    return World(texts, _stream(dice))


def _stream(dice: Random) -> list[tuple[Event, str]]:
    # Some streams end before the versions begin that are drawn.
    last = dice.choice((LAST, LAST, LAST // 6))
    return [_event(dice, number, last) for number in range(dice.choice((5, 15, 30)))]


def _edited(dice: Random, book: Rulebook, seen: list[Rulebook]) -> Rulebook:
    edit = edited(dice, book, seen)
    return book if edit is None else edit.rules


def _valid(book: Rulebook, made: Rulebook) -> Rulebook:
    return made if is_valid(made.text()) else book


def _bound(dice: Random, book: Rulebook, _: list[Rulebook]) -> Rulebook:
    """Change one bound."""
    if not book.versions:
        return book
    old = dice.choice(book.versions)
    parts = tuple((tier, _other_bound(dice, when)) for tier, when in old.parts)
    return _valid(book, _exchanged(book, old, old._replace(parts=parts)))


def _other_bound(dice: Random, when: str) -> str:
    bounds = list(re.finditer(r">= \d", when))
    if not bounds:
        return when
    found = dice.choice(bounds)
    return f"{when[: found.start()]}>= {dice.choice((1, 2, 3, 4, 6))}{when[found.end() :]}"


def _bound_from(dice: Random, book: Rulebook, _: list[Rulebook]) -> Rulebook:
    """Add a version with another bound from an instant on."""
    if not book.versions:
        return book
    last = book.of(dice.choice(book.names()))[-1]
    begins = [
        since
        for since in ("2026-04-13T12:00:00Z", "2026-04-14T09:30:00Z", "2026-04-15T00:00:00Z")
        if since > last.since
    ]
    if not begins:
        return book
    parts = tuple((tier, _other_bound(dice, when)) for tier, when in last.parts)
    made = last._replace(number=last.number + 1, since=dice.choice(begins), parts=parts)
    at = book.versions.index(last) + 1
    return _valid(book, book._replace(versions=(*book.versions[:at], made, *book.versions[at:])))


def _tier(dice: Random, book: Rulebook, _: list[Rulebook]) -> Rulebook:
    """Add a tier to a version, or take one away."""
    tiered = [version for version in book.versions if version.parts[0][0]]
    if not tiered:
        return book
    old = dice.choice(tiered)
    *others, last = old.parts
    if len(others) > 1 or dice.random() < 0.2:
        return _valid(book, _exchanged(book, old, old._replace(parts=tuple(others))))
    more = f"t{len(others)}", _other_bound(dice, last[1])
    return _valid(book, _exchanged(book, old, old._replace(parts=(*old.parts, more))))


def _exchanged(book: Rulebook, old: Version, new: Version) -> Rulebook:
    return book._replace(versions=tuple(new if version == old else version for version in book.versions))


def _event(dice: Random, number: int, last: int) -> tuple[Event, str]:
    tenant, user = USERS[dice.choice((0, 0, 0, 0, 1, 3))]
    kind = dice.choices(("a", "b", "c", "user.updated", "d"), (9, 5, 5, 2, 1))[0]
    if kind == "user.updated":
        payload: dict[str, object] = {
            "plan": dice.choice(("pro", "free")),
            "timezone": dice.choice(("Asia/Tokyo", "UTC", "America/Lima")),
        }
        del payload[dice.choice(("plan", "timezone"))]
    else:
        values = {
            "n": (0, 1, 2, 3, 5),
            "s": ("x", "y", "z", "w"),
            "team": ("red", "blue"),
            "f": (True, False),
            "x": (0.5, 1, 2.5),
        }
        payload = {name: dice.choice(some) for name, some in values.items() if dice.random() < 0.8}
    at = BEGIN + dice.randrange(0, last) * MINUTE
    event = Event(tenant, f"{dice.choice('mzA')}{number}", kind, user, at, dice.choice((0, 0, 32400, -18000)), {})
    return event, json.dumps(payload)


def cases(
    dice: Random, programs: list[tuple[Program, Rules]], see: Callable[[Rules], list[Event]], text: str
) -> list[Case]:
    """Return a case of each subject that has a plan throughout."""
    events = [by_subject(program, sorted(see(rules), key=canonical_order)) for program, rules in programs]
    found: list[Case] = []
    for subject in sorted({subject for each in events for subject in each}):
        plans = [program.scopes.get(subject.scope) for program, _ in programs]
        if any(plan is None for plan in plans):
            continue
        all_plans = [plan for plan in plans if plan is not None]
        heard = [each.get(subject, []) for each in events]
        late = _late(dice, all_plans, heard, subject)
        there = sum(event.id not in late for event in heard[0])
        saved = dice.choice((there, there, dice.randint(0, there)))
        until = max((event.at for events in heard for event in events), default=0)
        until += dice.choice((0, 0, MINUTE, 1440 * MINUTE, 10080 * MINUTE))
        found.append(Case(all_plans, heard, saved, late, until, subject.subject, f"{text}\n{subject} {saved} {late}"))
    return found


def _late(dice: Random, plans: list[Plan], heard: list[list[Event]], subject: Subject) -> set[str]:
    """Draw events that came under plans in between, and that none of these hears."""
    del subject
    between = {event.id for events in heard[1:-1] for event in events}
    unheard = [event.id for event in (*heard[0], *heard[-1]) if event.id not in between]
    return {name for name in unheard if dice.random() < 0.5} if len(plans) > 2 else set()


def test_drawn_edits() -> None:
    seen = Counter[str]()
    for number in range(BOOKS):
        dice = Random(f"carry {number}")  # noqa: S311 - no secret
        world = drawn(dice)
        text = "\n---\n".join(world.texts)
        sets = [read_rules([RuleFile("r.ach", each)]) for each in world.texts]

        def see(rules: Rules) -> list[Event]:
            contract = Contract(rules.events, prefix="e", skew=0)
            return [
                msgspec.structs.replace(each, fields=contract.fields(each.type, payload))
                for each, payload in world.events  # noqa: B023 - called before the next one is drawn
            ]

        programs = [(each.program, each.rules) for each in sets if each.program is not None]
        for _ in range(STREAMS):
            for case in cases(dice, programs, see, text):
                check(case, seen)
            world = world._replace(events=_stream(dice))
    assert all(seen[name] for name in HAPPENS), seen


def test_drawn_chains() -> None:
    """The same with conditions of every kind, and contracts that change."""
    seen = Counter[str]()

    @_thorough
    @given(chains(4))
    def carried(chain: Chain) -> None:
        sets = [made for text in chain.texts if (made := compiled(text)) is not None]
        programs = [(each.program, each.rules) for each in sets if each.program is not None]
        dice = Random(len(chain.events))  # noqa: S311 - no secret
        for case in cases(dice, programs, lambda rules: seen_by(rules, chain), "\n---\n".join(chain.texts)):
            check(case, seen)

    carried()
    assert seen["certain"]
    assert seen["part"]
