"""An absorbed late event leaves the same state as folding all events in order, and moves no grant.

Events arrive in random orders, mostly in their own. The test absorbs a late event if possible, and folds again only
if not; after every event it compares grants and progress with those of all events in order. `ACH_EXAMPLES` sets the
number of examples.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.event import Event, Position
from dsl.fold import absorb, fold, standings, start, step
from dsl.outcome import by_subject, canonical_order
from dsl.progress import Run, Values, decode, encode
from dsl.ruleset import build
from tests.fixture_library import NOW, Fixture, histories, stories
from tests.reference import strategies
from tests.reference.dense_events import close_events, plain_rules
from tests.reference.draw_settings import thorough
from worker.commands.replay.request import SKEW
from worker.contract.strict_reader import Accepted, Contract
from worker.rulefiles import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.compile import Plan, Program
    from dsl.progress import Grant, NodeState, State

MINUTE: Final = 60_000_000
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
LONG: Final = 60
"""Events of a history from which on it is folded anew more seldom, to compare with."""
NOWS: Final = (0, 1, HOUR, DAY, 7 * DAY)
"""Microseconds behind the last event at which progress is compared."""


class Subject:
    """One subject whose events arrive in any order, held against folding them in order."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.state = start(plan)
        self.grants: list[Grant] = []
        self.history: list[Event] = []
        self.absorbed: Counter[bool] = Counter()

    def take(self, event: Event) -> None:
        """Take one event, and compare: of a long history now and then, in which nothing else is folded anew."""
        insort(self.history, event, key=canonical_order)
        mark = self.state.mark
        if mark is None or mark < Position(event.at, event.id):
            self.grants.extend(step(self.plan, self.state, event))
            return
        before = encoded(self.state)
        taken = absorb(self.plan, self.state, [event])
        self.absorbed[taken] += 1
        if taken and self.absorbed[True] % (len(self.history) // LONG + 1):
            return
        state, grants = fold(self.plan, self.history)
        if taken:
            assert sorted(self.grants, key=key) == sorted(grants, key=key)
        else:
            assert encoded(self.state) == before
            self.state, self.grants = state, grants
        self.compare(state)

    def compare(self, expected: State) -> None:
        """Compare with the state that was folded in order."""
        for later in NOWS:
            now = self.history[-1].at + later
            assert standings(self.plan, self.state, now) == standings(self.plan, expected, now)
        assert (self.state.mark, self.state.earned) == (expected.mark, expected.earned)
        assert (self.state.traits, self.state.counted) == (expected.traits, expected.counted)
        if not expected.earned:  # state without a reader may differ
            assert visible(self.state) == visible(expected)


def key(grant: Grant) -> tuple[object, ...]:
    return grant.earned_at, grant.event_id, grant.achievement, grant.tier or "", grant.occurrence or ""


def encoded(state: State) -> State | None:
    """Return what is left of a state when it was written down: equal ones compare equal, in whatever order."""
    return decode(encode(state))


def visible(state: State) -> dict[int, object]:
    return {slot: _visible(node) for slot, node in state.nodes.items()}


def _visible(node: NodeState) -> object:
    """Return what of a node is the same in every order: which values fill it up to its cap is not."""
    match node:
        case Values(seen=seen):
            return len(seen)
        case Run(best=best):  # another zone than UTC may seal its units sooner or later
            return best
        case _:
            return node


def arrive(program: Program, events: Sequence[Event]) -> Counter[bool]:
    """Let events arrive as given; return how many late ones were absorbed, and how many not."""
    subjects: dict[object, Subject] = {}
    for event in events:
        for subject in by_subject(program, [event]):
            plan = program.scopes[subject.scope]
            subjects.setdefault(subject, Subject(plan)).take(event)
    for subject in subjects.values():
        subject.compare(fold(subject.plan, subject.history)[0])
    return sum((subject.absorbed for subject in subjects.values()), Counter[bool]())


def shuffled(dice: Random, events: Sequence[Event]) -> list[Event]:
    """Draw an order of arrival: of some events, or most, each comes late by up to so many places."""
    share, places = dice.choice((0.1, 0.3, 1.0)), dice.choice((3, 20, 100))
    ordered = sorted(events, key=canonical_order)
    late = [(at + (dice.randint(1, places) if dice.random() < share else 0), at) for at in range(len(ordered))]
    return [ordered[at] for _, at in sorted(late)]


def program_of(text: str) -> Program:
    program = build([("drawn.ach", text.encode())]).program
    assert program is not None
    return program


def test_what_is_absorbed_is_as_if_it_had_come_in_order() -> None:
    absorbed: Counter[bool] = Counter()

    @thorough(100)
    @given(strategies.scenarios(), st.integers(0, 2**32))
    def run(scenario: strategies.Scenario, seed: int) -> None:
        dice = Random(seed)  # noqa: S311 - no secret
        absorbed.update(arrive(program_of(scenario.text), shuffled(dice, scenario.events)))

    run()
    assert absorbed[True] > absorbed.total() // 50


def test_much_of_what_comes_late_among_close_events_is_absorbed() -> None:
    absorbed: Counter[bool] = Counter()

    @thorough(150)
    @given(st.integers(0, 2**32))
    def run(seed: int) -> None:
        dice = Random(seed)  # noqa: S311 - no secret
        text = plain_rules(dice)
        if not strategies.impossible(text):
            absorbed.update(arrive(program_of(text), shuffled(dice, close_events(dice))))

    run()
    assert absorbed[True] > absorbed.total() // 5


STEPS: Final = """
event a {}
event b {}
event c {}
achievement steps { title "Steps" when all(sequence([a, b]), count(event=c, >= 9)) }
"""


@pytest.mark.parametrize(
    ("minute", "event_type", "taken"),
    [(-50, "a", True), (50, "a", False), (130, "b", False), (150, "a", False), (350, "b", False), (350, "c", True)],
)
def test_what_lifts_the_start_of_a_sequence_is_not_absorbed(minute: int, event_type: str, *, taken: bool) -> None:
    moments = [(0, "a"), (100, "b"), (120, "a"), (400, "c"), (minute, event_type)]
    events = [Event("t", f"{kind}{at}", kind, "u", at * MINUTE, 0, {}) for at, kind in moments]
    assert arrive(program_of(STEPS), events) == {taken: 1}


@pytest.mark.parametrize("fixture", [pytest.param(each, id=each.name) for each in (*stories(), *histories())])
def test_recorded_streams(fixture: Fixture) -> None:
    rules = load([fixture.rules])
    assert rules.program is not None
    contract = Contract(rules.rules.events, prefix="events", skew=SKEW)
    read = [each for line in fixture.lines() for each in contract.read("", line, now=NOW)]
    events = {(each.event.tenant, each.event.id): each.event for each in read if isinstance(each, Accepted)}
    arrive(rules.program, shuffled(Random(1), list(events.values())))  # noqa: S311 - no secret
