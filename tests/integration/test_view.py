"""What readers see of a deployment, on real servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import asyncpg
import msgspec
import pytest

from dsl.outcome import Subject
from tests.integration.engine import PATIENCE, event, until_waiting
from tests.integration.pipelines import sent
from tests.integration.views import RULES, U1, USER, by_id, seen, view_on
from worker.admin.erasure import erase_user
from worker.admin.manual_grant import grant_by_hand
from worker.admin.results import StaleError, UnreadableError, read_results
from worker.admin.revocation import revoke
from worker.app import wall_clock
from worker.engine.answer import OPERATOR, Presence, Reader
from worker.engine.entries import Catalogue
from worker.engine.why import CannotExplainError, Question
from worker.pipeline.rules_in_force import load_deployed
from worker.settings import Clock
from worker.store import UnavailableError, open_store
from worker.view import standing as reading
from worker.view.rarity import Rarity, read_rarities
from worker.view.reader import UnknownScopeError
from worker.view.reveal import StoreRevealer
from worker.view.standing import RulesChangedError, read_facts

if TYPE_CHECKING:
    from tests.integration.engine import Engine
    from worker.engine.why import Why
    from worker.store import Store

pytestmark = pytest.mark.anyio


@pytest.fixture
async def engine_of(engine: Engine) -> Engine:
    await engine.apply(RULES)
    await engine.backfill()
    return engine


# -- one subject -------------------------------------------------------------------------------------------------------


async def test_a_user_sees_what_is_revealed(engine_of: Engine) -> None:
    await sent(engine_of, event(0, "user.updated", plan="free"), *(event(n) for n in range(2)))
    standing = await seen(engine_of, reader=Reader(("fr", "de"), as_user=True))
    assert (standing.presence, standing.hidden) == (Presence.KNOWN, 2)
    items = by_id(standing)
    assert list(items) == ["far", "paid", "steps.low", "steps.high"]
    far, paid, low = items["far"], items["paid"], items["steps.low"]
    assert (far.title, far.language, far.fallback, far.about) == ("Weit", "de", False, "A long way.")
    assert (far.current, far.target, far.percent, far.unit, far.status) == ("2", "4", 50, "event", "in_progress")
    assert (bytes(far.reward), far.family) == (b'{"xp":7}', "ways")
    assert (paid.title, paid.language, paid.fallback) == ("Paid", "und", True)
    assert (paid.eligible, far.eligible) == (False, True)
    assert (low.status, low.times, low.next_tier, low.granted_at is not None) == ("earned", 1, "high", True)
    assert bytes(low.reward) == b'{"xp": 1}'
    everything = await seen(engine_of, reader=OPERATOR)
    assert {item.id: item.hidden for item in everything.items if item.hidden} == {"secret": True, "steps.mid": True}
    assert by_id(everything)["steps.low"].next_tier == "mid"
    assert (await seen(engine_of, Subject("t1", "user", "u2"))).presence is Presence.UNKNOWN


async def test_what_was_shown_stays_visible(engine_of: Engine) -> None:
    await sent(engine_of, *(event(n) for n in range(2)))
    # Who cannot write it down shows it while the progress is there; an operator's look reveals nothing.
    assert "far" in by_id(await seen(engine_of, revealing=False))
    assert "far" in by_id(await seen(engine_of, reader=OPERATOR))
    assert await engine_of.rows("SELECT FROM revealed") == []
    assert "far" in by_id(await seen(engine_of))
    (row,) = await engine_of.rows("SELECT tenant_id, scope, subject, achievement, tier FROM revealed")
    assert tuple(row.values()) == ("t1", "user", "u1", "far", "")
    await sent(engine_of, event(9, "b.done"))
    far = by_id(await seen(engine_of, revealing=False))["far"]
    assert (far.percent, far.status) == (0, "locked")
    # Of another user, or of another tenant's user of the same name, nothing was shown.
    for other in (Subject("t1", "user", "u2"), Subject("t2", "user", "u1")):
        assert "far" not in by_id(await seen(engine_of, other))


async def test_without_a_revealer_it_hides_again(engine_of: Engine) -> None:
    await sent(engine_of, *(event(n) for n in range(2)))
    assert "far" in by_id(await seen(engine_of, revealing=False))
    await sent(engine_of, event(9, "b.done"))
    assert "far" not in by_id(await seen(engine_of, revealing=False))


async def test_a_role_that_only_reads_may_reveal_and_nothing_else(engine_of: Engine) -> None:
    await sent(engine_of, *(event(n) for n in range(2)))
    await engine_of.rows("DROP ROLE IF EXISTS looker")
    await engine_of.rows("CREATE ROLE looker LOGIN PASSWORD 'x'")
    try:
        await engine_of.rows("GRANT SELECT ON ALL TABLES IN SCHEMA public TO looker")
        url = engine_of.settings.database_url
        own = engine_of.with_settings(database_url=_as_role(url))
        assert "far" in by_id(await seen(own))
        assert await engine_of.rows("SELECT FROM revealed") == []
        await engine_of.rows("GRANT EXECUTE ON FUNCTION keep_revealed TO looker")
        # Tables of its own of the same names are not looked at.
        connection = await asyncpg.connect(own.settings.database_url)
        try:
            await connection.execute("CREATE TEMPORARY TABLE revealed (LIKE public.revealed)")
            assert await connection.fetchval("SELECT keep_revealed('t1', 'user', 'u1', '{far}', '{\"\"}', now())") == 1
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("DELETE FROM public.revealed")
        finally:
            await connection.close()
        assert len(await engine_of.rows("SELECT FROM revealed")) == 1
    finally:
        await engine_of.rows("DROP OWNED BY looker")
        await engine_of.rows("DROP ROLE looker")


def _as_role(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://looker:x@{rest.partition('@')[2] or rest}"


async def test_an_erased_user_is_an_answer_of_its_own(engine_of: Engine) -> None:
    await sent(engine_of, *(event(n) for n in range(4)), *(event(n, user="u2") for n in range(2)))
    for user in ("u1", "u2"):
        await seen(engine_of, Subject("t1", "user", user))
    digest = await digest_of(engine_of)
    async with open_store(engine_of.settings.database_url) as store:
        await erase_user(store, engine_of.settings, "t1", "u1", by="x", now=wall_clock())
        # A reader that had the user before the erasure writes nothing down any more.
        await StoreRevealer(store).reveal(U1, [("far", None)], wall_clock())
    assert [row["subject"] for row in await engine_of.rows("SELECT subject FROM revealed")] == ["u2"]
    standing = await seen(engine_of)
    assert (standing.presence, standing.items, standing.kept, standing.hidden) == (Presence.ERASED, [], [], 0)
    assert await digest_of(engine_of) != digest


async def test_what_was_shown_is_no_part_of_the_digest(engine_of: Engine) -> None:
    await sent(engine_of, *(event(n) for n in range(3)))
    before = await digest_of(engine_of)
    assert "far" in by_id(await seen(engine_of))
    assert await digest_of(engine_of) == before


async def digest_of(engine: Engine) -> str:
    async with open_store(engine.settings.database_url) as store:
        return (await read_results(store, await load_deployed(store, engine.settings))).digest


async def test_an_erasure_and_a_reader_take_their_turns(engine_of: Engine) -> None:
    """The reader has begun to write before the erasure comes: what it writes goes too."""
    await sent(engine_of, *(event(n) for n in range(3)))
    done = anyio.Event()

    async def erasing() -> None:
        async with open_store(engine_of.settings.database_url) as store:
            await erase_user(store, engine_of.settings, "t1", "u1", by="x", now=wall_clock())
        done.set()

    async with open_store(engine_of.settings.database_url) as store, anyio.create_task_group() as tasks:
        async with store.transaction() as session:
            asked: dict[str, Any] = {"tenant_id": "t1", "scope": "user", "subject": "u1", "now": wall_clock()}
            assert await session.value(int, "keep_revealed", **asked, achievements=["far"], tiers=[""]) == 1
            tasks.start_soon(erasing)
            await until_waiting(engine_of)
            assert not done.is_set()
        with anyio.fail_after(PATIENCE):
            await done.wait()
    assert await engine_of.rows("SELECT FROM revealed") == []


async def test_teams_and_tenants_stand_by_themselves(engine_of: Engine) -> None:
    await sent(engine_of, event(0, team="red"), event(1, team="red"))
    items = by_id(await seen(engine_of, Subject("t1", "team", "red")))
    assert {name: item.status for name, item in items.items()} == {"crew": "earned"}
    assert by_id(await seen(engine_of, Subject("t2", "team", "red")))["crew"].status == "locked"
    with pytest.raises(UnknownScopeError) as refused:
        await seen(engine_of, Subject("t1", "taem", "red"))
    assert refused.value.scopes == ["team", "user"]


async def test_operators_and_rules_that_have_left(engine_of: Engine) -> None:
    await sent(engine_of, *(event(n) for n in range(2)))
    async with open_store(engine_of.settings.database_url) as store:
        deployed = await load_deployed(store, engine_of.settings)
        who = (U1, "secret", None, None)
        await grant_by_hand(store, deployed, *who, reason="y", by="x", now=wall_clock())
        assert by_id(await seen(engine_of))["secret"].by_hand
        (row,) = await engine_of.rows("SELECT unlock_id FROM unlock WHERE achievement = 'secret'")
        await revoke(store, row["unlock_id"], now=wall_clock(), by="x", reason="y")
    # It was seen, so it stays, and says that it was taken back.
    assert by_id(await seen(engine_of))["secret"].status == "revoked"
    await engine_of.apply(RULES.replace("achievement secret", "achievement other"))
    await engine_of.backfill()
    standing = await seen(engine_of)
    assert "secret" not in by_id(standing)
    (kept,) = standing.kept
    assert (kept.id, kept.in_force, kept.title, kept.status) == ("secret", False, None, "revoked")


# -- rules that change under a reader ----------------------------------------------------------------------------------


async def test_a_reader_follows_the_rules_in_force(engine_of: Engine) -> None:
    await sent(engine_of, *(event(n) for n in range(2)))
    async with view_on(engine_of) as view:
        before = await view.standing(U1, USER, wall_clock())
        await engine_of.apply(RULES + 'achievement more { title "More" when count(event=a.done, >= 5) }')
        # No backfill has come so far: the user's own events are folded by the reader.
        after = await view.standing(U1, USER, wall_clock())
        more = by_id(after)["more"]
        assert (after.rules_epoch, before.rules_epoch) == (3, 2)
        assert (more.current, more.target, more.percent) == ("2", "5", 40)
        # A team's events may not be listed yet.
        await engine_of.rows("INSERT INTO progress VALUES ('t1', 'team', 'red', 'old', now(), '', '', 0, now())")
        with pytest.raises(StaleError):
            await view.standing(Subject("t1", "team", "red"), USER, wall_clock())
    async with open_store(engine_of.settings.database_url) as store:
        old = Catalogue(await load_deployed(store, engine_of.settings))
        await engine_of.apply(RULES)
        with pytest.raises(RulesChangedError):
            await read_facts(store, old, U1)


async def test_there_is_an_end_to_what_a_reader_folds(engine_of: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    await sent(engine_of, *(event(n) for n in range(3)))
    await engine_of.rows("UPDATE progress SET stamp = 'old'")
    assert by_id(await seen(engine_of))["far"].current == "3"
    monkeypatch.setattr(reading, "MOST_FOLDED", 2)
    with pytest.raises(StaleError):
        await seen(engine_of)


async def test_a_state_that_cannot_be_read_is_said_to_be_one(engine_of: Engine) -> None:
    await sent(engine_of, event(1))
    await engine_of.rows("UPDATE progress SET state = '[1, []]'")
    with pytest.raises(UnreadableError):
        await seen(engine_of)


# -- tags --------------------------------------------------------------------------------------------------------------


async def test_a_tag_changes_with_the_answer(engine_of: Engine) -> None:
    now, tags = wall_clock(), list[str]()
    await sent(engine_of, event(0))
    async with view_on(engine_of) as view:

        async def look() -> str:
            standing = await view.standing(U1, USER, now)
            assert await view.tag(U1, USER, now + 600_000_000) == await view.tag(U1, USER, now)
            tags.append(standing.tag)
            return standing.tag

        assert await look() == await look() == await view.tag(U1, USER, now)
        await sent(engine_of, event(1))  # a user's row of progress may be some events behind
        await look()
        await look()  # what was revealed is written down
        await engine_of.rows("UPDATE unlock SET revision = revision + 1, contested_at = now()")
        await look()
        await sent(engine_of, event(-5))  # late
        await look()
        await sent(engine_of, event(-9, "user.updated", plan="x"))  # late, and no unlock moves
        await look()
        await engine_of.apply(RULES.replace('"Psst"', '"Hush"'))
        await look()
        assert len(set(tags)) == len(tags) - 1
        assert await view.tag(U1, OPERATOR, now) not in tags
        assert await view.tag(Subject("t1", "user", "u2"), USER, now) not in tags
        assert await view.tag(Subject("t2", "user", "u1"), USER, now) not in tags


async def test_where_rules_ask_for_the_time_a_tag_lasts_a_minute(engine_of: Engine) -> None:
    await engine_of.apply(RULES + 'achievement w { title "W" repeat every week when count(event=a.done, >= 2) }')
    now = wall_clock() // 60_000_000 * 60_000_000
    async with view_on(engine_of) as view:
        first = await view.tag(U1, USER, now)
        assert await view.tag(U1, USER, now + 59_999_999) == first
        assert await view.tag(U1, USER, now + 60_000_000) != first


async def test_the_clock_may_be_that_of_the_events(engine_of: Engine) -> None:
    await sent(engine_of, event(0), event(7, "b.done", user="u2"))
    standing = await seen(engine_of.with_settings(clock=Clock.STREAM))
    assert standing.as_of == event(7)["occurred_at"]


# -- rarity ------------------------------------------------------------------------------------------------------------


async def test_rarity_counts_subjects_of_the_tenant(engine_of: Engine) -> None:
    await sent(engine_of, *(event(n, user=f"v{user}") for user in range(59) for n in range(1 + (user < 6))))
    await sent(engine_of, *(event(n, user=f"w{user}", tenant="t2") for user in range(9) for n in range(2)))
    async with open_store(engine_of.settings.database_url) as store:
        deployed = await load_deployed(store, engine_of.settings)
        who = Subject("t1", "user", "unknown")
        await grant_by_hand(store, deployed, who, "steps", "low", None, reason="y", by="x", now=wall_clock())
        for user, column in (("v0", "contested_at"), ("v1", "revoked_at")):
            await engine_of.rows(f"UPDATE unlock SET {column} = now() WHERE subject = '{user}'")  # noqa: S608
        found = await read_rarities(store, "t1", 7)
        assert (found.as_of, found.subjects["user"]) == (7, 60)
        assert found.earned == {("user", "steps", "low"): 5}
        rarity = found.of("user", "steps", "low")
        assert rarity is not None
        assert (rarity.earned, rarity.subjects, rarity.percent) == (5, 60, "8.3")
        assert found.of("user", "far", None) is not None
        assert found.of("team", "crew", None) is None
        small = await read_rarities(store, "t2", 7)
        assert (small.subjects, small.of("user", "steps", "low")) == ({"user": 9}, None)
        assert (await read_rarities(store, "t3", 7)).subjects == {}


async def test_rarity_is_asked_once_an_age(engine_of: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = read_rarities

    async def counting(store: Store, tenant: str, now: int) -> Any:  # noqa: ANN401
        asked.append(tenant)
        return await real(store, tenant, now)

    monkeypatch.setattr("worker.view.rarity.read_rarities", counting)
    async with open_store(engine_of.settings.database_url) as store:
        rarity = Rarity(store, seconds=10)
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(rarity.of, "t1", 0)
        assert (await rarity.of("t1", 9_999_999)).as_of == 0
        await rarity.of("t2", 1)
        assert asked == ["t1", "t2"]
        assert (await rarity.of("t1", 10_000_000)).as_of == 10_000_000
        assert asked == ["t1", "t2", "t1"]


# -- the rest ----------------------------------------------------------------------------------------------------------


async def test_the_catalogue_shows_its_public_part(engine_of: Engine) -> None:
    async with view_on(engine_of) as view:
        offer = await view.offer("t1", Reader(("de",), as_user=True), wall_clock())
        assert [item.id for item in offer.items] == ["crew", "paid", "steps.low", "steps.high"]
        assert (offer.hidden, offer.items[2].next_tier) == (3, "high")
        body = msgspec.json.encode(offer)
        assert b"Psst" not in body
        assert b"Weit" not in body
        everything = await view.offer("t1", OPERATOR, wall_clock())
        assert {item.id: item.reveal for item in everything.items}["far"] == "at"
        assert everything.hidden == 3


async def test_a_user_asks_why(engine_of: Engine) -> None:
    gated = 'achievement gated { title "Gated" after secret when count(event=a.done, >= 1) }'
    await engine_of.apply(RULES + gated)
    await sent(engine_of, *(event(n) for n in range(3)), event(4, team="red"))
    async with view_on(engine_of) as view:

        async def ask(name: str, tier: str | None = None, reader: Reader = USER, subject: Subject = U1) -> Why:
            return await view.why(subject, Question(name, tier), reader, wall_clock())

        (low, high) = (await ask("steps")).explanations
        assert (low.tier, low.outcome, high.tier, high.outcome) == ("low", "earned", "high", "not yet")
        assert [one.tier for one in (await ask("steps", reader=OPERATOR)).explanations] == ["low", "mid", "high"]
        assert (await ask("secret", reader=OPERATOR)).explanations[0].outcome == "not yet"
        (crew,) = (await ask("crew", subject=Subject("t1", "team", "red"))).explanations
        assert crew.subject == "red"
        # A hidden achievement and a missing one have the same answer, and no guess names it.
        refusals: set[str] = set()
        for name, tier in (("secret", None), ("secrte", None), ("steps", "mid"), ("steps", "nid")):
            with pytest.raises(CannotExplainError) as refused:
                await ask(name, tier)
            assert refused.value.hint is None
            refusals.add(str(refused.value))
        assert refusals == {"there is no such achievement here"}
        with pytest.raises(CannotExplainError, match="not revealed yet"):
            await ask("gated")
        with pytest.raises(CannotExplainError) as refused:
            await ask("secrte", reader=OPERATOR)
        assert refused.value.hint == "did you mean secret?"
        with pytest.raises(CannotExplainError, match="no team earns far"):
            await ask("far", reader=OPERATOR, subject=Subject("t1", "team", "red"))


async def test_a_database_that_is_away(engine_of: Engine) -> None:
    gone = engine_of.with_settings(database_url="postgresql://x@127.0.0.1:9/x")
    with pytest.raises(UnavailableError):
        await seen(gone)
    async with open_store(gone.settings.database_url) as store:
        await StoreRevealer(store).reveal(U1, [("far", None)], wall_clock())
