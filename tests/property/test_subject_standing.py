"""The progress of a subject agrees with its unlocks, after any decisions of operators and late events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hypothesis import assume, given
from hypothesis import strategies as st

from dsl.fold import fold, standings
from dsl.outcome import Subject, by_subject, canonical_order
from dsl.progress import Grant
from dsl.ruleset import build
from dsl.syntax import RepeatEach
from tests.reference import strategies
from tests.reference.draw_settings import thorough
from worker.engine.reconcile import Stored, unlock_id
from worker.engine.rule_set import Deployed
from worker.engine.standing import Item, Status, standing_of

if TYPE_CHECKING:
    from hypothesis.strategies import DataObject

    from dsl.progress import State

LATER: Final = (0, 1, 5 * strategies.HOUR, 30 * strategies.HOUR, 9 * strategies.DAY)
KINDS: Final = ("granted", "granted", "contested", "revoked", "revoked settling", "by hand", "settling")


def row(subject: Subject, grant: Grant, kind: str) -> Stored:
    """Return a row as the statements leave it, for a grant."""
    at = grant.earned_at
    settling = kind in {"settling", "revoked settling"}
    return Stored(
        *subject,
        grant.achievement,
        grant.tier or "",
        grant.occurrence or "",
        unlock_id(subject, grant),
        grant.version,
        at,
        grant.event_id,
        settles_at=at + strategies.HOUR if settling else None,
        granted_at=None if settling else at + 1,
        contested_at=at + 2 if kind == "contested" else None,
        revoked_at=at + 3 if kind.startswith("revoked") else None,
        by_hand=kind == "by hand",
    )


def deployed(text: str) -> Deployed:
    return Deployed(1, build([("drawn.ach", text.encode())]), since={}, prefix="events", skew=0)


def said(row: Stored) -> Status:
    """Return what the list of unlocks says of a row: the words of the view `v_unlock`, written once more."""
    if row.revoked_at is not None:
        return Status.REVOKED
    if row.contested_at is not None:
        return Status.CONTESTED
    return Status.SETTLING if row.granted_at is None else Status.EARNED


def check(item: Item, own: list[Stored]) -> None:
    """What an item says is what the unlocks of its achievement and tier say."""
    each = {one.occurrence: said(one) for one in own}
    if item.occurrence is None:
        assert (item.status is Status.EARNED) == (Status.EARNED in each.values())
        assert (item.unlock is None) == (not own)
    else:
        assert item.unlock == next((one for one in own if one.occurrence == item.occurrence), None)
    if item.unlock is not None:
        assert item.status is said(item.unlock)
    else:
        assert item.status in {Status.LOCKED, Status.IN_PROGRESS}
    assert item.times == [*each.values()].count(Status.EARNED)
    assert (item.last is None) == (not item.times)
    assert item.last is None or said(item.last) is Status.EARNED
    reached = item.reached
    assert (reached.percent == 100) == (item.status in {Status.EARNED, Status.SETTLING})
    assert 0 <= reached.percent <= 100
    assert not (reached.held_back and reached.more_than)
    if reached.current is not None and reached.current == reached.target:
        assert reached.percent == 100 or reached.held_back or reached.more_than
    assert (item.status is Status.LOCKED) <= (reached.percent == 0)


@thorough(60)
@given(strategies.scenarios(), st.data())
def test_progress_says_what_the_unlocks_say(scenario: strategies.Scenario, data: DataObject) -> None:
    assume(not build([("drawn.ach", scenario.text.encode())]).errors)
    rules = deployed(scenario.text)
    now = max((event.at for event in scenario.events), default=0) + data.draw(st.sampled_from(LATER))
    folded: dict[Subject, tuple[State | None, list[Grant]]] = {Subject("t", "user", "unknown"): (None, [])}
    for subject, events in by_subject(rules.program, scenario.events).items():
        folded[subject] = fold(rules.program.scopes[subject.scope], sorted(events, key=canonical_order))
    for subject, (state, grants) in folded.items():
        left = [Grant("gone", None, data.draw(st.sampled_from((None, "3"))), 1, now, "e", 0)]
        more = [
            Grant(name, tier or None, data.draw(st.sampled_from((None, "1", "2", "9"))), 1, now, "e", 0)
            for name, tier in rules.ruled(subject.scope)
        ]
        drawn = data.draw(
            st.lists(st.sampled_from([*grants, *more, *left]), unique_by=lambda one: one[:3], max_size=12)
        )
        rows = [row(subject, grant, data.draw(st.sampled_from(KINDS))) for grant in drawn]
        whole = standing_of(rules, subject, state, rows, now)
        for item in whole.items:
            check(item, [one for one in rows if (one.achievement, one.tier) == (item.achievement, item.tier or "")])
        assert len(whole.items) == len({(item.achievement, item.tier) for item in whole.items})
        seen = {(item.achievement, item.tier or "") for item in whole.items}
        assert {(one.achievement, one.tier) for one in rows if one not in whole.kept} <= seen
        assert all((one.achievement, one.tier) not in seen for one in whole.kept)
        assert [one.achievement for one in whole.kept] == ["gone"] * len(whole.kept)


@thorough(60)
@given(strategies.scenarios(), st.sampled_from(LATER))
def test_what_events_alone_have_earned_is_earned(scenario: strategies.Scenario, later: int) -> None:
    assume(not build([("drawn.ach", scenario.text.encode())]).errors)
    rules = deployed(scenario.text)
    now = max((event.at for event in scenario.events), default=0) + later
    for subject, events in by_subject(rules.program, scenario.events).items():
        plan = rules.program.scopes[subject.scope]
        state, grants = fold(plan, sorted(events, key=canonical_order))
        rows = [
            row(subject, grant, "settling" if grant.earned_at + grant.settle > now else "granted") for grant in grants
        ]
        items = {(item.achievement, item.tier): item for item in standing_of(rules, subject, state, rows, now).items}
        found = standings(plan, state, now)
        assert {(each.achievement, each.tier) for each in found} <= items.keys()
        for each in found:
            item = items[each.achievement, each.tier]
            own = [grant for grant in grants if grant[:2] == (each.achievement, each.tier)]
            versions = rules.rules.achievements[each.achievement]
            if item.occurrence is None:
                assert each.earned == (item.status in {Status.EARNED, Status.SETTLING}) == bool(own)
            elif isinstance(versions[0].repeat, RepeatEach):
                assert item.occurrence == str(len(own) + 1)
                assert item.unlock is None
            else:
                named = [grant for grant in own if grant.occurrence == item.occurrence]
                assert (item.status in {Status.EARNED, Status.SETTLING}) == bool(named)
            if item.unlock is None:
                assert (item.reached.current, item.reached.target) == each.measure[1:]
                assert item.reached.held_back == (each.measure.fraction == 1)
                assert item.reached.percent == (99 if item.reached.held_back else int(each.measure.fraction * 100))
