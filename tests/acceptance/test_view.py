"""What readers see of users of every fixture: it is what the fold says, and nothing that is hidden leaks.

Of the long streams a sample of users is asked for; `just faults-long` asks for all.

What is expected here is worked out from the rules' trees and the fold alone, not by the modules that answer.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import anyio
import msgspec
import pytest

from dsl.calendar import format_instant
from dsl.fold import fold, standings, start
from dsl.outcome import Subject, by_subject, canonical_order
from dsl.values import canonical_number
from tests.faults.tally import is_long
from tests.fixture_library import NOW, Fixture, by_reference, histories, stories
from worker.commands.replay.request import SKEW
from worker.engine.answer import OPERATOR, Presence, Reader
from worker.engine.replay import Intake
from worker.engine.standing import Status
from worker.local.replay_worker import replay_on
from worker.rulefiles import load
from worker.settings import Clock, Settings
from worker.store import open_store
from worker.view.reader import View
from worker.view.reveal import StoreRevealer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.fold import Standing as Folded
    from dsl.progress import Grant
    from dsl.ruleset import RuleSet
    from dsl.syntax import Achievement, Tier
    from worker.engine.answer import Shown, Standing

pytestmark = pytest.mark.anyio

EVERYTHING: Final = [*stories(), *histories()]
PATIENCE: Final = 90.0
SMALL: Final = 1000
"""Lines of a stream up to which the slow reference has its say."""
SAMPLE: Final = 40
"""Users that are asked for, if there are more."""
USER: Final = Reader(as_user=True)
Key = tuple[str, str | None]


class Expected(NamedTuple):
    """One subject by the fold, at an instant."""

    folded: dict[Key, Folded]
    grants: list[Grant]
    clock: int

    def has_earned(self, key: Key) -> bool:
        return any(grant[:2] == key and grant.earned_at + grant.settle <= self.clock for grant in self.grants)


class Seen(NamedTuple):
    """What a reader sees of one subject."""

    expected: Expected
    as_user: Standing
    again: Standing
    everything: Standing


def accepted(fixture: Fixture, rules: RuleSet) -> list[Any]:
    assert rules.program is not None
    intake = Intake(rules.rules, rules.program, skew=SKEW)
    intake.take_all(fixture.lines(), now=NOW)
    return intake.events


def folds(fixture: Fixture, rules: RuleSet) -> dict[Subject, Expected]:
    """Return every subject of a stream as it stands at its latest event; users that no rule hears too."""
    program, events = rules.program, accepted(fixture, rules)
    assert program is not None
    clock = max(event.at for event in events)
    found: dict[Subject, Expected] = {}
    for subject, heard in by_subject(program, events).items():
        plan = program.scopes[subject.scope]
        state, grants = fold(plan, sorted(heard, key=canonical_order))
        found[subject] = Expected(_by_key(standings(plan, state, clock)), grants, clock)
    plan = program.scopes.get("user")
    for event in events:
        subject = Subject(event.tenant, "user", event.user)
        if subject not in found:
            folded = {} if plan is None else _by_key(standings(plan, start(plan), clock))
            found[subject] = Expected(folded, [], clock)
    return found


def sampled(found: dict[Subject, Expected]) -> dict[Subject, Expected]:
    """Return a sample of some subjects, the same each time; all of them in the long form."""
    if is_long() or len(found) <= SAMPLE:
        return found
    chosen = Random(SAMPLE).sample(sorted(found), SAMPLE)  # noqa: S311 - no secret
    return {subject: found[subject] for subject in chosen}


def _by_key(each: list[Folded]) -> dict[Key, Folded]:
    return {(one.achievement, one.tier): one for one in each}


async def read(fixture: Fixture, rules: RuleSet, settings: Settings) -> dict[Subject, Seen]:
    """Run a stream through a worker, and ask for all of its subjects."""
    with anyio.fail_after(PATIENCE):
        await replay_on(settings, rules, fixture.lines(), now=NOW, on_progress=lambda what, done: None)
    found: dict[Subject, Seen] = {}
    async with open_store(settings.database_url) as store:
        view = View(store, settings, revealer=StoreRevealer(store))
        for subject, expected in sampled(folds(fixture, rules)).items():
            seen = [await view.standing(subject, reader, NOW) for reader in (USER, USER, OPERATOR)]
            found[subject] = Seen(expected, *seen)
    return found


@pytest.mark.parametrize("fixture", [pytest.param(each, id=each.name) for each in EVERYTHING])
async def test_readers_see_what_the_fold_says(fixture: Fixture, nats_url: str, database_url: str) -> None:
    settings = Settings(nats_url=nats_url, database_url=database_url, clock=Clock.STREAM)
    rules = load([fixture.rules])
    unlocks = by_reference(fixture, fixture.expected().dead) if len(fixture.lines()) <= SMALL else None
    found = await read(fixture, rules, settings)
    assert found
    for subject, one in found.items():
        known = bool(one.expected.grants) or one.everything.presence is Presence.KNOWN
        assert known
        assert one.everything.as_of == format_instant(one.expected.clock)
        check_items(one)
        check_visible(rules, one)
        check_leaks(rules, one)
        if unlocks is not None:
            counted = {(each.achievement, each.tier): 0 for each in one.everything.items}
            for unlock in unlocks:
                if Subject(unlock.tenant_id, unlock.scope, unlock.subject) == subject:
                    counted[unlock.achievement, unlock.tier] += 1
            assert {(each.achievement, each.tier): each.times for each in one.everything.items} == counted


# -- status and progress -----------------------------------------------------------------------------------------------


def check_items(found: Seen) -> None:
    items = {(item.achievement, item.tier): item for item in found.everything.items}
    assert found.expected.folded.keys() <= items.keys()
    for key, item in items.items():
        if key in found.expected.folded:
            check_item(item, found.expected.folded[key], found.expected)
        else:  # no version is in effect, and an earlier one has granted it
            assert any(grant[:2] == key for grant in found.expected.grants)


def check_item(item: Shown, folded: Folded, expected: Expected) -> None:
    own = [grant for grant in expected.grants if grant[:2] == (item.achievement, item.tier)]
    current = [grant for grant in own if item.occurrence is None or grant.occurrence == item.occurrence]
    settled = [grant for grant in current if grant.earned_at + grant.settle <= expected.clock]
    measure = folded.measure
    assert item.version == folded.version
    if settled:
        assert item.status is Status.EARNED
    elif current:
        assert item.status is Status.SETTLING
    elif item.status is not Status.CONTESTED:
        assert item.status is (Status.IN_PROGRESS if measure.fraction else Status.LOCKED)
    if current:
        assert item.percent == 100
        assert item.current == item.target == _number(measure.target)
        return
    assert (item.current, item.target) == (_number(measure.current), _number(measure.target))
    assert item.percent == min(int(measure.fraction * 100), 99)
    assert item.held_back == (measure.fraction == 1)


def _number(amount: Any) -> str | None:  # noqa: ANN401 - whatever is counted
    return None if amount is None else canonical_number(amount)


# -- what is hidden ----------------------------------------------------------------------------------------------------


def check_visible(rules: RuleSet, found: Seen) -> None:
    visible = {key for key, item in _items(found.everything) if is_visible(rules, key, item, found)}
    assert {key for key, _ in _items(found.as_user)} == visible
    assert found.as_user.hidden == len(found.everything.items) - len(visible)
    assert {key for key, item in _items(found.everything) if not item.hidden} == visible
    assert found.as_user.items == found.again.items


def _items(standing: Standing) -> Iterator[tuple[Key, Shown]]:
    return (((item.achievement, item.tier), item) for item in standing.items)


def is_visible(rules: RuleSet, key: Key, item: Shown, found: Seen) -> bool:
    version, tier = declared(rules, key, item.version)
    reveal = (tier.reveal if tier is not None else None) or version.reveal
    contested = {key for key, item in _items(found.everything) if item.status is Status.CONTESTED}
    if reveal is None or reveal.kind == "always" or found.expected.has_earned(key) or key in contested:
        return True
    if reveal.after is not None:
        name, wanted = reveal.after.achievement.text, reveal.after.tier
        tiers = {each for each, _ in _items(found.everything)} | contested
        return any(
            each[0] == name and (wanted is None or each[1] == wanted.text) and found.expected.has_earned(each)
            for each in tiers
        )
    if reveal.percent is None or key not in found.expected.folded:
        return False
    return found.expected.folded[key].measure.fraction * 100 >= reveal.percent


def declared(rules: RuleSet, key: Key, number: int) -> tuple[Achievement, Tier | None]:
    version = next(each for each in rules.rules.achievements[key[0]] if each.version == number)
    return version, next((tier for tier in version.tiers if tier.name.text == key[1]), None)


def check_leaks(rules: RuleSet, found: Seen) -> None:
    """Look in the bytes for what only hidden ones say."""
    seen = {key for key, _ in _items(found.as_user)}
    allowed = {text for key, item in _items(found.everything) if key in seen for text in words_of(rules, key, item)}
    body = msgspec.json.encode(found.as_user)
    for key, item in _items(found.everything):
        if key not in seen:
            for text in words_of(rules, key, item) - allowed:
                assert text not in body, (text, key)


def words_of(rules: RuleSet, key: Key, item: Shown) -> set[bytes]:
    """Return what gives an achievement and tier away: ids, titles in all languages, about, reward and family."""
    version, tier = declared(rules, key, item.version)
    title = (tier.title if tier is not None else None) or version.title
    texts = {item.id, key[0]} | ({key[1]} if key[1] else set[str]())
    texts |= {text for _, text in title.texts} if title is not None else set[str]()
    texts |= {str(version.about.value)} if version.about is not None else set[str]()
    texts |= {version.family.text} if version.family is not None else set[str]()
    rewards = {bytes(item.reward)} - {b"{}"}
    return {msgspec.json.encode(text) for text in texts} | rewards


def test_the_fixtures_hide_something() -> None:
    kinds = {
        reveal.kind
        for fixture in EVERYTHING
        for versions in load([fixture.rules]).rules.achievements.values()
        for version in versions
        for reveal in (version.reveal, *(tier.reveal for tier in version.tiers))
        if reveal is not None
    }
    assert kinds == {"always", "at", "after", "secret"}
