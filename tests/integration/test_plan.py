"""A plan says what an apply and its backfill decide: the same unlocks, one by one."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from dsl.calendar import format_instant
from dsl.outcome import Subject
from dsl.ruleset import build
from tests.databases import FORGET
from tests.integration.engine import Engine, event
from tests.integration.pipelines import pipeline_on, send, sent
from tests.integration.roles import with_roles
from tests.integration.test_changed_rules import AFTER, TIMES, divided, some_chains
from worker.admin import preview_events, preview_states
from worker.admin.backfill import backfill
from worker.admin.manual_grant import grant_by_hand
from worker.admin.preview import Asked, preview
from worker.admin.preview_reading import Sampled
from worker.admin.revocation import revoke
from worker.admin.rollout import apply_rules
from worker.engine.change import Announced, Policy
from worker.engine.preview import Moves, Preview, Refusal, Status
from worker.engine.rule_set import RuleFile
from worker.pipeline.rules_in_force import load_deployed
from worker.settings import Clock
from worker.store import open_store

if TYPE_CHECKING:
    from dsl.ruleset import RuleSet
    from worker.engine.effects import Line
    from worker.store import Store

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

DRAWN: Final = 6 * TIMES
KINDS: Final = {"granted", "contested", "amended"}
"""Decisions that the chains have to make, at least."""
EVENTS: Final = "event a.done { n: int? >= 0, team: string? }\nevent b.done {}\nevent c.done {}\n"
THREE: Final = 'achievement three { title "3" when count(event=a.done, >= 3) }\n'
FOUR: Final = THREE.replace("three {", "three version 2 from 2026-04-01T00:00:00Z {").replace(">= 3", ">= 4")
END: Final = 'achievement end { title "End" when count(event=b.done, >= 1) after three }\n'


DECISIONS: Final = """
SELECT tenant_id, scope, subject, achievement, tier, occurrence, version, decision,
    (extract(epoch FROM earned_at) * 1000000)::bigint AS earned_at, event_id
FROM evaluation
WHERE evaluation_id > $1
"""


class Decided(NamedTuple):
    """What is decided about one unlock."""

    subject: Subject
    achievement: str
    tier: str
    occurrence: str
    version: int
    decision: str
    earned_at: int
    event_id: str


def ruleset(text: str) -> RuleSet:
    made = build([("rules.ach", text.encode())])
    assert not made.errors, made.problems
    return made


async def planned(store: Store, engine: Engine, text: str, *, now: int = AFTER) -> tuple[Preview, list[Decided]]:
    """Return a plan, and all that it foresees, unlock by unlock."""
    found: list[Decided] = []

    def note(line: Line) -> None:
        key, subject, decision = line
        grant = decision.grant
        where = grant.occurrence or "", grant.version, decision.kind.value
        found.append(Decided(subject, key.achievement, key.tier, *where, grant.earned_at, grant.event_id))

    seen = await preview(store, engine.settings, Asked(ruleset(text), on_line=note), now=now)
    assert sum(effect.unlocks for one in seen.achievements for effect in (*one.effects, *one.consequences)) == len(
        found
    )
    return seen, sorted(found)


async def decided(store: Store, engine: Engine, text: str, *, now: int = AFTER) -> list[Decided]:
    """Apply rules, bring all subjects up to date, and return what the books say of that."""
    last = (await engine.rows("SELECT coalesce(max(evaluation_id), 0) AS last FROM evaluation"))[0]["last"]
    files = [RuleFile("rules.ach", text)]
    await apply_rules(store, files, engine.settings, by="test", now=now, accept_contracts=True)
    await backfill(store, engine.settings, now=lambda: now, pause=0)
    rows = [tuple(row.values()) for row in await engine.rows(DECISIONS, last)]
    return sorted(Decided(Subject(*row[:3]), *row[3:]) for row in rows)


async def check(engine: Engine, text: str, *, now: int = AFTER) -> Preview:
    """Fail unless a plan foresees what an apply and a backfill then decide."""
    async with open_store(engine.settings.database_url) as store:
        seen, foreseen = await planned(store, engine, text, now=now)
        assert await decided(store, engine, text, now=now) == foreseen
        return seen


def counts(seen: Preview) -> dict[str, int]:
    """Return unlocks by name and decision."""
    found = Counter[str]()
    for one in seen.achievements:
        for effect in (*one.effects, *one.consequences):
            moves = "" if effect.moves is None else f" {effect.moves.value}"
            found[f"{effect.achievement} {effect.decision}{moves}"] += effect.unlocks
    return dict(found)


@pytest.fixture
async def streamed(engine: Engine) -> Engine:
    """An engine without rules, whose clock is that of the stream."""
    async with open_store(engine.settings.database_url) as store, store.transaction(patient=True) as session:
        await session.script(FORGET)
    return engine.with_settings(clock=Clock.STREAM, skew=10**9)


async def deploy(engine: Engine, text: str) -> None:
    async with open_store(engine.settings.database_url) as store:
        await decided(store, engine, text)


# -- the same as an apply ----------------------------------------------------------------------------------------------


async def test_drawn_changes(streamed: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the rules are, and whatever operators have said meanwhile."""
    monkeypatch.setattr(preview_events, "LINES", 2)
    monkeypatch.setattr(preview_states, "SCANNED", 2)
    foreseen = Counter[str]()
    async with open_store(streamed.settings.database_url) as store:
        drawn = (chain for seeded in range(38, 44) for chain in some_chains(DRAWN, seeded))
        for number, chain in enumerate(drawn):
            if number >= DRAWN and foreseen.keys() >= KINDS:
                break
            dice = Random(f"plan {number}")  # noqa: S311 - no secret
            monkeypatch.setattr(preview_states, "BY_SCAN", dice.choice((0, 24)))
            monkeypatch.setattr(preview_states, "MANY", dice.choice((0, 100)))
            async with store.transaction(patient=True) as session:
                await session.script(FORGET)
            async with pipeline_on(streamed) as pipeline:
                for text, bodies in zip((*chain.texts, chain.texts[0]), (*divided(dice, chain), []), strict=True):
                    _, found = await planned(store, streamed, text)
                    assert await decided(store, streamed, text) == found, "\n---\n".join(chain.texts)
                    foreseen.update(one.decision for one in found)
                    await send(pipeline, *bodies)
                    await operate(store, streamed, dice)
    assert foreseen.keys() >= KINDS


async def operate(store: Store, engine: Engine, dice: Random) -> None:
    """Revoke some unlocks, and grant some of those by hand."""
    rules = await load_deployed(store, engine.settings)
    rows = await engine.rows("SELECT * FROM unlock ORDER BY unlock_id")
    for row in dice.sample(rows, len(rows) // 5):
        await revoke(store, row["unlock_id"], now=AFTER, by="test", reason="drawn")
        if dice.random() < 0.5 and rules.rules_on(row["scope"], row["achievement"], row["tier"]):
            key = Subject(row["tenant_id"], row["scope"], row["subject"]), row["achievement"]
            of = row["tier"] or None, row["occurrence"] or None
            await grant_by_hand(store, rules, *key, *of, reason="drawn", by="test", now=AFTER)


async def test_a_higher_bound_and_what_follows(streamed: Engine) -> None:
    await deploy(streamed, EVENTS + THREE + END)
    for user, done in (("ann", 3), ("ben", 4), ("cal", 2), ("dan", 3)):
        await sent(streamed, *(event(number, user=user) for number in range(done)))
    await sent(streamed, *(event(100, "b.done", user=user) for user in ("ann", "ben")))
    seen = await check(streamed, EVENTS + THREE + FOUR + END)
    assert counts(seen) == {"three contested": 2, "three amended later": 1, "end contested": 1}
    (change,) = seen.achievements
    assert (change.achievement, change.status) == ("three", Status.CHANGED)
    assert [(one.version, one.status) for one in change.versions] == [(2, Status.NEW)]
    assert [(one.place, one.before, one.now) for one in change.versions[0].differences] == [("count", ">= 3", ">= 4")]
    assert [effect.achievement for effect in change.consequences] == ["end"]
    later = next(effect for effect in change.effects if effect.moves is Moves.LATER)
    assert (later.version, later.median_seconds, later.examples[0].subject) == (2, 60, "ben")


async def test_events_that_no_state_has_seen_count(streamed: Engine) -> None:
    """A worker writes a state once in many events; the others are in the ledger alone."""
    await deploy(streamed, EVENTS + THREE)
    async with pipeline_on(streamed) as pipeline:
        for number in range(5):
            await send(pipeline, event(number))
    (row,) = await streamed.rows("SELECT count(*) AS n FROM progress JOIN event ON occurred_at > mark_at")
    assert row["n"] > 0
    tier = THREE.replace("three {", "three_more {").replace(">= 3", ">= 5")
    assert counts(await check(streamed, EVENTS + THREE + tier)) == {"three_more granted": 1}


GROUPS: Final = (
    'achievement groups { title "G" when count(event=a.done, >= 2, unless=c.done, by=n) }\n'
    'achievement recent { title "R" when count(event=a.done, distinct=n, >= 99, within=30d) }\n'
)
"""States of these have slots and values as keys, with numbers behind them."""


async def test_the_text_of_a_state_says_who_is_far(streamed: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of users who plainly have too few events, the server hands out no state: those just read are looked at."""
    base = f"{EVENTS}{THREE}{GROUPS}"
    await deploy(streamed, base)
    done = {"ann": 3, "ben": 35, "cal": 36, "dan": 66, "eve": 99, "fay": 100, "gus": 131, "hal": 0}
    async with pipeline_on(streamed) as pipeline:
        for user, number in done.items():
            bodies = [event(n, user=user, n=n % 3) for n in range(number)]
            await send(pipeline, *bodies[: number // 2])
            for body in bodies[number // 2 :]:
                await send(pipeline, body)
            await send(pipeline, event(500, "b.done", user=user), event(501, "c.done", user=user))
    looked_at: list[str] = []
    inner = preview_states.FromStates._judged  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    async def noted(self: preview_states.FromStates, page: list[preview_states.StateRow], *rest: Any) -> list[Any]:  # noqa: ANN401
        looked_at.extend(row.subject for row in page)
        return await inner(self, page, *rest)

    monkeypatch.setattr(preview_states.FromStates, "_judged", noted)
    tier = 'achievement many { title "M" tier high { when count(event=a.done, >= 100) } }\n'
    seen = await check(streamed, base + tier)
    assert counts(seen) == {"many granted": 2}
    assert seen.subjects == len(done)
    assert "ann" not in looked_at
    assert {"dan", "eve", "fay", "gus"} <= set(looked_at)


async def test_a_tier_that_comes_back_finds_its_unlocks(streamed: Engine) -> None:
    tiers = 'achievement tiers { title "T" tier high { when count(event=a.done, >= 70) } }\n'
    await deploy(streamed, EVENTS + THREE + tiers)
    for user, done in (("ann", 71), ("ben", 3)):
        await sent(streamed, *(event(number, user=user) for number in range(done)))
    await deploy(streamed, EVENTS + THREE)
    await sent(streamed, *(event(number, user="cal") for number in range(70)))
    await sent(streamed, *(event(200, user=user) for user in ("ann", "ben")))
    stamps = await streamed.rows("SELECT DISTINCT stamp FROM progress")
    assert len(stamps) == 1  # of the rules that had no such tier
    assert counts(await check(streamed, EVENTS + THREE + tiers)) == {"tiers granted": 1}


async def test_doubtful_users_are_read_in_one_scan(streamed: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where many have reached a bound; also who has an unlock and no event any more."""
    monkeypatch.setattr(preview_states, "SCANNED", 3)
    await deploy(streamed, EVENTS + THREE)
    for user, done in (("ann", 7), ("ben", 4), ("cal", 2), ("dan", 5), ("eve", 6)):
        await sent(streamed, *(event(number, user=user) for number in range(done)))
    async with open_store(streamed.settings.database_url) as store, store.transaction() as session:
        await session.script("DELETE FROM event WHERE user_id IN ('ben', 'eve')")
    tier = THREE.replace("three {", "more {").replace(">= 3", ">= 4")
    async with open_store(streamed.settings.database_url) as store:
        seen, foreseen = await planned(store, streamed, EVENTS + THREE + tier)
    assert {one.subject.subject for one in foreseen} == {"ann", "dan"}
    assert counts(seen) == {"more granted": 2}
    four = THREE.replace(">= 3", ">= 4")
    async with open_store(streamed.settings.database_url) as store:
        seen, _ = await planned(store, streamed, EVENTS + four)
    assert counts(seen) == {"three amended later": 2, "three contested": 2}


async def test_what_was_earned_before_a_version_begins_stays(streamed: Engine) -> None:
    await deploy(streamed, EVENTS + THREE)
    await sent(streamed, *(event(number, user=user) for user in ("ann", "ben") for number in range(3)))
    seen = await check(streamed, EVENTS + THREE + FOUR.replace("2026-04-01", "2026-06-01"))
    assert (counts(seen), seen.build.events) == ({}, 0)


async def test_before_any_rules_everything_is_new(streamed: Engine) -> None:
    async with open_store(streamed.settings.database_url) as store:
        empty, _ = await planned(store, streamed, EVENTS + THREE)
    assert (empty.epoch, empty.applied_at, empty.events, empty.gained, empty.is_change) == (0, None, 0, 0, True)
    seen = await check(streamed, EVENTS + THREE)
    assert [one.status for one in seen.achievements] == [Status.NEW]
    async with open_store(streamed.settings.database_url) as store:
        same, _ = await planned(store, streamed, EVENTS + THREE)
    assert (same.is_change, same.unchanged, same.build.events) == (False, 1, 0)


async def test_what_settles_is_foreseen_by_the_clock(streamed: Engine) -> None:
    await deploy(streamed, EVENTS + THREE)
    await sent(streamed, event(0, user="ann"), event(50, user="ben"), event(60, "c.done", user="cal"))
    slow = 'achievement slow { title "S" when count(event=a.done, >= 1) settle 30m }\n'
    seen = await check(streamed, EVENTS + THREE + slow)
    assert counts(seen) == {"slow granted": 1, "slow settling": 1}
    gone = await check(streamed, EVENTS + THREE)
    assert counts(gone) == {"slow withdrawn": 1}
    assert [(one.status, one.kept) for one in gone.achievements] == [(Status.RETIRED, 1)]


async def test_scopes_of_fields_and_tenants(streamed: Engine) -> None:
    """The ledger does not know the subjects of a field before rules hear it; the plan does."""
    await deploy(streamed, EVENTS + THREE)
    for number in range(12):
        who = {"user": f"u{number}", "tenant": f"t{number % 2}"}
        await sent(streamed, event(number, team=f"team{number % 3}", id=f"e{number}", **who))
    team = 'achievement team { title "T" scope team when count(event=a.done, >= 2) repeat each }\n'
    all_of = 'achievement all { title "A" scope tenant when count(event=a.done, >= 6) }\n'
    seen = await check(streamed, EVENTS + THREE + team + all_of)
    assert counts(seen) == {"all granted": 2, "team granted": 6}
    assert {one.achievement: one.effects[0].subjects for one in seen.achievements} == {"all": 2, "team": 6}


async def test_a_contract_that_changes(streamed: Engine) -> None:
    text = EVENTS + 'achievement big { title "B" when sum(event=a.done, of=n, >= 10) }\n' + END + THREE
    await deploy(streamed, text)
    await sent(streamed, *(event(number, n=4) for number in range(4)))
    seen = await check(streamed, text.replace("n: int? >= 0", "n: int? >= 5"))
    assert counts(seen) == {"big contested": 1}
    assert [(one.declaration, one.place, one.achievements) for one in seen.contracts] == [
        ("event a.done", "n", ["big"])
    ]
    assert seen.refused == [Refusal("big", 1, ["event a.done: n was `int >= 0`, is `int >= 5`"], by_declarations=True)]


async def test_subjects_without_events_are_judged_too(streamed: Engine) -> None:
    """What supported an unlock was heard by earlier rules, and by none of the new ones."""
    await deploy(streamed, EVENTS + THREE)
    for user in ("ann", "ben", "zoe"):
        await sent(streamed, *(event(number, user=user) for number in range(3)))
    await sent(streamed, event(9, "b.done", user="mia"))
    other = THREE.replace("three {", "three version 2 from 1970-01-01T00:00:00Z {").replace("a.done", "b.done")
    seen = await check(streamed, EVENTS + other.replace(">= 3", ">= 1"))
    assert counts(seen) == {"three granted": 1, "three contested": 3}


async def test_an_earlier_change_that_is_not_finished_is_part_of_it(streamed: Engine) -> None:
    await deploy(streamed, EVENTS + THREE)
    await sent(streamed, *(event(number) for number in range(4)))
    two = 'achievement two { title "2" when count(event=a.done, >= 2) }\n'
    files = [RuleFile("rules.ach", EVENTS + THREE + two)]
    async with open_store(streamed.settings.database_url) as store:
        await apply_rules(store, files, streamed.settings, by="test", now=AFTER)
    seen = await check(streamed, EVENTS + THREE + two + END)
    assert seen.building
    assert counts(seen) == {"two granted": 1}
    assert [(one.achievement, one.status) for one in seen.achievements] == [
        ("end", Status.NEW),
        ("two", Status.UNCHANGED),
    ]


# -- samples, policies, rights -----------------------------------------------------------------------------------------


async def test_a_sample_holds_what_is_true(streamed: Engine) -> None:
    await deploy(streamed, EVENTS + THREE)
    for number in range(150):
        await sent(
            streamed,
            event(number, user=f"u{number}"),
            *([event(number, "b.done", user=f"u{number}")] * (number % 3 == 0)),
        )
    rules = ruleset(EVENTS + THREE + 'achievement b { title "B" when count(event=b.done, >= 1) }\n')
    async with open_store(streamed.settings.database_url) as store:
        whole = await preview(store, streamed.settings, Asked(rules), now=AFTER)
        part = await preview(store, streamed.settings, Asked(rules, Sampled(400_000)), now=AFTER)
        again = await preview(store, streamed.settings, Asked(rules, Sampled(400_000)), now=AFTER)
    assert whole.sample is None
    assert part.sample is not None
    assert part.sample.of == 150
    assert 30 < part.sample.subjects < 90
    (effect,) = part.achievements[0].effects
    assert effect.estimate is not None
    assert effect.estimate.low <= 50 <= effect.estimate.high
    assert effect == again.achievements[0].effects[0]


async def test_a_policy_counts_what_is_announced(streamed: Engine) -> None:
    await deploy(streamed, EVENTS + THREE)
    await sent(streamed, *(event(day * 1440, "b.done", user=f"u{day}") for day in range(10)))
    rules = ruleset(EVENTS + THREE + 'achievement b { title "B" when count(event=b.done, >= 1) }\n')
    since = 1_776_000_000_000_000 + 7 * 86_400_000_000
    async with open_store(streamed.settings.database_url) as store:
        found = [
            await preview(store, streamed.settings, Asked(rules, policy=policy), now=AFTER)
            for policy in (Policy(), Policy(Announced.SINCE, since), Policy(Announced.NONE))
        ]
    assert [(one.gained, one.announced) for one in found] == [(10, 10), (10, 3), (10, 0)]
    assert found[0].taken_at == format_instant(AFTER)


async def test_a_reader_may_plan_and_a_plan_writes_nothing(streamed: Engine) -> None:
    await deploy(streamed, EVENTS + THREE + END)
    await sent(streamed, *(event(number) for number in range(3)))
    text = EVENTS + THREE + FOUR + END
    team = 'achievement team { title "T" scope team when count(event=a.done, >= 2) }\n'
    async with with_roles(streamed.settings.database_url) as deployment:
        reader = streamed.with_settings(database_url=deployment.url_as(deployment.roles.reader))
        async with open_store(reader.settings.database_url) as store:
            before = await everything(streamed)
            seen, _ = await planned(store, reader, text + team)
            sampled = Asked(ruleset(text), Sampled(500_000))
            await preview(store, reader.settings, sampled, now=AFTER)
            assert counts(seen) == {"three contested": 1}
            assert await everything(streamed) == before


async def everything(engine: Engine) -> list[int]:
    """Return how many rows were ever written to each table, by the server's own count of transactions."""
    tables = ("event", "progress", "unlock", "evaluation", "rule_set", "event_subject", "checkpoint")
    rows = [await engine.rows(f"SELECT count(*) AS n, max(xmin::text::bigint) AS x FROM {table}") for table in tables]  # noqa: S608
    return [value for (row,) in rows for value in (row["n"], row["x"])]
