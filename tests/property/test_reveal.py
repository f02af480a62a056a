"""What a subject sees of drawn rules and streams: reveal, the hidden count, tiers and percent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from dsl.fold import fold
from dsl.outcome import Subject, by_subject, canonical_order
from dsl.ruleset import build
from tests.property.test_subject_standing import KINDS, LATER, deployed, row
from tests.reference import strategies
from tests.reference.draw_settings import thorough
from worker.engine.answer import OPERATOR, Facts, Held, Presence, Reader, answer_of, of_family
from worker.engine.entries import Catalogue
from worker.engine.standing import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DataObject

    from worker.engine.answer import Answer, Shown
    from worker.engine.entries import Key

USER: Final = Reader(as_user=True)
REVEALS: Final = ("", "always", "secret", "at 0%", "at 30%", "at 99%", "at 100%", "after x", "after tier.low")
FULL: Final = {Status.EARNED, Status.SETTLING}
_HEAD: Final = re.compile(r'(?m)^  title "T"$')
_TIER: Final = re.compile(r"(?m)^  tier (\w+) \{ when")


def with_reveals(text: str, data: DataObject) -> str:
    """Return rules that reveal one way or another, with titles that differ."""
    numbers = iter(range(10_000))

    def reveal() -> str:
        drawn = data.draw(st.sampled_from(REVEALS))
        return f"reveal {drawn}" if drawn else ""

    text = text.replace("reveal at 30%", "")
    text = _HEAD.sub(lambda _: f'  title "title {next(numbers)}" {reveal()}', text)
    return _TIER.sub(lambda tier: f'  tier {tier[1]} {{ title "title {next(numbers)}" {reveal()} when', text)


def key_of(item: Shown) -> Key:
    return item.achievement, item.tier


def visible(answer: Answer) -> set[Key]:
    return {key_of(item) for item in answer.standing.items}


@thorough(40)
@given(strategies.scenarios(), st.data())
def test_what_a_subject_sees(scenario: strategies.Scenario, data: DataObject) -> None:
    text = with_reveals(scenario.text, data)
    assume(not build([("drawn.ach", text.encode())]).errors)
    rules = deployed(text)
    catalogue = Catalogue(rules)
    now = max((event.at for event in scenario.events), default=0) + data.draw(st.sampled_from(LATER))
    for subject, events in by_subject(rules.program, scenario.events).items():
        ordered = sorted(events, key=canonical_order)
        state, grants = fold(rules.program.scopes[subject.scope], ordered)
        # What can come of an unlock: also that an operator has taken it back, and that late evidence contests it.
        held = [Held(row(subject, grant, data.draw(st.sampled_from(KINDS))), '{"given":1}') for grant in grants]
        facts = Facts(subject, Presence.KNOWN, state, held, frozenset(), "", building=False, clock=now)
        check(catalogue, facts, now)
        # What was shown once stays, whatever becomes of the progress.
        before = answer_of(catalogue, facts, USER, now)
        half, _ = fold(rules.program.scopes[subject.scope], ordered[: len(ordered) // 2])
        later = facts._replace(state=half, shown=frozenset(before.fresh))
        again = answer_of(catalogue, later, USER, now)
        assert visible(again) >= visible(before) & {key_of(one) for one in again.standing.items} | set(before.fresh)
        check(catalogue, later, now)


def check(catalogue: Catalogue, facts: Facts, now: int) -> None:
    seen, everything = answer_of(catalogue, facts, USER, now), answer_of(catalogue, facts, OPERATOR, now)
    items = everything.standing.items
    assert everything.fresh == ()
    assert [item for item in items if not item.hidden] == unranked(seen.standing.items, items)
    assert seen.standing.hidden == everything.standing.hidden == sum(item.hidden for item in items)
    assert all(key in visible(seen) and key not in facts.shown for key in seen.fresh)
    rows = [held.stored for held in facts.unlocks]
    granted = {(one.achievement, one.tier or None) for one in rows if one.granted_at is not None}
    for item in items:
        check_item(catalogue, item, granted, facts.shown)
        check_next(items, seen.standing.items, item)
    hidden = {item.title for item in items if item.hidden}
    body = msgspec.json.encode(seen.standing)
    assert not [title for title in hidden if title is not None and msgspec.json.encode(title) in body]
    some = of_family(seen.standing, "some")
    assert all(item.family == "some" for item in some.items)
    assert some.hidden == seen.standing.hidden


def unranked(items: Sequence[Shown], all_items: Sequence[Shown]) -> list[Shown]:
    """Return items with the next tier that an operator sees."""
    next_tiers = {key_of(item): item.next_tier for item in all_items}
    return [msgspec.structs.replace(item, next_tier=next_tiers[key_of(item)]) for item in items]


def check_item(catalogue: Catalogue, item: Shown, granted: set[Key], shown: frozenset[Key]) -> None:
    entry = catalogue.entry(*key_of(item), item.version)
    assert entry is not None
    assert (item.percent == 100) == (item.status in FULL)
    assert bytes(item.reward) == (b'{"given":1}' if item.granted_at is not None else entry.reward.encode())
    reveal, key = entry.reveal, key_of(item)
    if key in granted:
        assert not item.hidden
    elif reveal.after is not None:
        name = reveal.after.achievement.text
        tiers = {tier for one, tier in granted if one == name}
        wanted = tiers if reveal.after.tier is None else tiers & {reveal.after.tier.text}
        assert item.hidden == (not wanted)
    elif reveal.kind == "secret":
        assert item.hidden
    elif reveal.percent is None:
        assert not item.hidden
    else:
        percent = 100 if item.held_back else item.percent or 0
        assert item.hidden == (percent < reveal.percent and key not in shown)


def check_next(items: Sequence[Shown], seen: Sequence[Shown], item: Shown) -> None:
    """The tier behind is the next of the same version; where it is hidden, a user sees the one behind it."""
    tiers = [one.tier for one in items if one.achievement == item.achievement and one.version == item.version]
    place = tiers.index(item.tier)
    if item.tier is not None and len(tiers) > place + 1:
        assert item.next_tier == tiers[place + 1]
    for one in seen:
        if key_of(one) == key_of(item) and one.next_tier is not None:
            assert one.next_tier in {each.tier for each in seen if each.achievement == one.achievement}


def test_a_subject_of_no_scope_that_rules_have() -> None:
    catalogue = Catalogue(deployed('event e {}\nachievement a { title "A" when count(event=e, >= 1) }'))
    facts = Facts(Subject("t", "team", "red"), Presence.UNKNOWN, None, [], frozenset(), "", building=False, clock=0)
    standing = answer_of(catalogue, facts, USER, 0).standing
    assert (standing.items, standing.kept, standing.hidden) == ([], [], 0)
