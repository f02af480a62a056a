"""An achievement gets another name: nothing of what is stored changes, and people and programs see the new name."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from anyio import to_thread
from click.testing import CliRunner

from dsl.ruleset import build
from tests.integration.consoles import logged_in
from tests.integration.engine import Engine, event
from tests.integration.serving import by_key, serving
from worker.admin.misnamed import MisnamedError
from worker.admin.preview import Asked, preview
from worker.admin.results import read_results
from worker.admin.rollout import MeaningChangedError
from worker.app import wall_clock
from worker.cli import main
from worker.commands.plan.page import lines
from worker.pipeline.rules_in_force import load_deployed
from worker.store import open_store

if TYPE_CHECKING:
    from worker.engine.preview import Preview

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

EVENTS: Final = "event a.done {}\nevent b.done {}\n"
OLD: Final = (
    'achievement threesome { title "Three" when count(event=a.done, >= 3, unless=b.done) reward { xp: 10 } }\n'
    'achievement after_it { title "After" when all(unlocked(threesome), count(event=a.done, >= 4)) after threesome }\n'
)
NEW: Final = OLD.replace("threesome", "trio").replace('"Three"', '"Three" renamed from threesome')
NEWEST: Final = NEW.replace("trio", "triple").replace("renamed from ", "renamed from trio, ")
STORED: Final = "SELECT * FROM unlock ORDER BY subject, achievement"


class Run(NamedTuple):
    """What a command has printed."""

    code: int
    out: str
    err: str

    def said(self) -> list[dict[str, Any]]:
        return json.loads(self.out)


async def ach(engine: Engine, *args: str) -> Run:
    """Run a command against the servers of an engine."""
    settings = engine.settings
    env = {
        "DATABASE_URL": settings.database_url,
        "NATS_URL": settings.nats_url,
        "ACH_INPUT_STREAM": settings.input_stream,
        "ACH_INPUT_PREFIX": settings.input_prefix,
        "ACH_UNLOCK_STREAM": settings.unlock_stream,
        "ACH_UNLOCK_PREFIX": settings.unlock_prefix,
    }
    done = await to_thread.run_sync(partial(CliRunner(env=env).invoke, main, list(args)))
    return Run(done.exit_code, done.stdout, done.stderr)


async def planned(engine: Engine, text: str) -> Preview:
    ruleset = build([("rules.ach", text.encode())])
    async with open_store(engine.settings.database_url) as store:
        return await preview(store, engine.settings, Asked(ruleset), now=wall_clock())


async def digest(engine: Engine) -> str:
    async with open_store(engine.settings.database_url) as store:
        return (await read_results(store, await load_deployed(store, engine.settings))).digest


@pytest.fixture
async def lived(engine: Engine) -> Engine:
    """An engine whose users have earned what has its first name."""
    await engine.apply(EVENTS + OLD)
    await engine.publish([*(event(n) for n in range(4)), *(event(n, user="u2") for n in range(2))])
    await engine.drain()
    assert set(await engine.unlocks()) == {("u1", "threesome"), ("u1", "after_it")}
    return engine


async def test_a_new_name_decides_nothing_and_announces_nothing(lived: Engine) -> None:
    before, said, hashed = await lived.rows(STORED), await lived.said(), await digest(lived)
    applied = await lived.apply(EVENTS + NEW)
    assert (applied.new, applied.retired, applied.renamed) == ((), (), (("threesome", "trio"),))
    assert not (await lived.backfill()).tallies
    assert (await lived.rows(STORED), await digest(lived)) == (before, hashed)
    await lived.publish([event(9)])
    assert (await lived.drain()).decisions == {}
    assert await lived.said() == said
    # By the next events, of users that have it and of those that do not.
    await lived.publish([event(9, user="u2"), event(5, "b.done", id="late")])
    assert (await lived.drain()).decisions["granted"] == 1
    (message,) = (await lived.said())[len(said) :]
    assert (message["achievement"], message["renamed_from"]) == ("trio", "threesome")
    assert message["title"] == {"und": "Three"}
    ids = {row["subject"]: row["unlock_id"] for row in await lived.rows(STORED) if row["achievement"] == "threesome"}
    assert str(ids["u2"]) == message["unlock_id"]


async def test_what_is_announced_while_names_change_is_announced_once(lived: Engine) -> None:
    # A worker has published it and died before it could note that.
    said = await lived.said()
    await lived.rows("UPDATE unlock SET published_at = NULL RETURNING 1")
    await lived.apply(EVENTS + NEW)
    await lived.publish([event(9, user="u3")])
    await lived.drain()
    assert await lived.said() == said
    assert all(row["published_at"] for row in await lived.rows(STORED))


async def test_corrections_name_the_new_name_and_where_the_unlock_was_announced(lived: Engine) -> None:
    await lived.apply(EVENTS + NEW)
    await lived.publish([event(1, "b.done", id="late", user="u1")])
    assert (await lived.drain()).decisions == {"contested": 2}
    message = {one["achievement"]: one for one in await lived.corrections()}
    assert message["trio"]["renamed_from"] == "threesome"
    assert "renamed_from" not in message["after_it"]


async def test_a_chain_of_names_and_the_first_one_again(lived: Engine) -> None:
    before = await lived.rows(STORED)
    await lived.apply(EVENTS + NEW)
    assert (await lived.apply(EVENTS + NEWEST)).renamed == (("trio", "triple"),)
    assert (await lived.apply(EVENTS + OLD)).renamed == (("triple", "threesome"),)
    again = OLD.replace('"Three"', '"Three" renamed from trio, threesome')
    assert (await lived.apply(EVENTS + again)).renamed == ()
    assert not (await lived.backfill()).tallies
    assert await lived.rows(STORED) == before


async def test_a_plan_says_what_a_new_name_keeps(lived: Engine) -> None:
    seen = await planned(lived, EVENTS + NEW)
    assert seen.is_change
    assert (seen.achievements, seen.same, seen.misnamed) == ([], [], [])
    page = "\n".join(line.text for line in lines(seen))
    assert "~ threesome -> trio   renamed; 1 unlock keeps its id, and nothing is announced of it" in page
    # With another meaning as well: a new version, under the new name.
    more = NEW + 'achievement trio version 2 from 2026-01-01T00:00:00Z { title "T" when count(event=a.done, >= 2) }\n'
    seen = await planned(lived, EVENTS + more)
    assert [(one.before, one.now, one.unlocks) for one in seen.renamed] == [("threesome", "trio", 1)]
    assert {change.achievement for change in seen.achievements} == {"trio"}
    assert "threesome" not in page.replace("~ threesome -> trio", "")


async def test_a_clause_that_goes_parts_the_achievement_from_its_unlocks(lived: Engine) -> None:
    await lived.apply(EVENTS + NEW)
    parted = NEW.partition("achievement after_it")[0].replace(" renamed from threesome", "")
    seen = await planned(lived, EVENTS + parted)
    page = "\n".join(line.text for line in lines(seen))
    assert "- threesome   retired; 1 unlock stays granted" in page.replace("unlock stay ", "unlock stays ")
    assert "write `renamed from threesome` into trio" in page
    with pytest.raises(MeaningChangedError, match="after_it version 1"):  # it would come after another one
        await lived.apply(EVENTS + NEW.replace(" renamed from threesome", ""))
    await lived.apply(EVENTS + parted)
    await lived.backfill()
    assert {("u1", "threesome"), ("u1", "trio")} <= set(await lived.unlocks())
    # Now there are unlocks of both, which would have one name.
    with pytest.raises(MisnamedError, match="another achievement was in force as trio"):
        await lived.apply(EVENTS + NEW)
    assert (await planned(lived, EVENTS + NEW)).misnamed


async def test_names_that_cannot_be_given(lived: Engine) -> None:
    await lived.apply(EVENTS + NEW)
    last = NEW.replace("trio", "last").replace("renamed from threesome", "renamed from trio")
    with pytest.raises(MisnamedError, match="write `renamed from trio, threesome`"):
        await lived.apply(EVENTS + last)
    with pytest.raises(MeaningChangedError, match="trio version 1"):
        await lived.apply(EVENTS + NEW.replace(">= 3", ">= 2"))


async def test_rules_with_the_clause_may_be_the_first(engine: Engine) -> None:
    await engine.apply(EVENTS + NEW)
    await engine.publish(event(n) for n in range(3))
    await engine.drain()
    (message,) = await engine.announced()
    assert (message["achievement"], message["renamed_from"]) == ("trio", "threesome")


async def test_commands_show_the_new_name_and_take_the_old_one(lived: Engine) -> None:
    await lived.apply(EVENTS + NEW)
    await lived.backfill()
    listings = (
        ("unlocks",), ("progress", "u1", "-t", "t1"), ("rules", "list"), ("digest", "--json"), ("reconcile",),
        ("replay", "--from-ledger"), ("export", "--user", "u1", "-t", "t1"), ("reconcile", "--list"),
    )  # fmt: skip
    for command in listings:
        ran = await ach(lived, *command)
        assert ran.code == 0, (command, ran)
        assert "threesome" not in ran.out, command
    assert "trio" in (await ach(lived, "unlocks")).out
    for name in ("trio", "threesome"):
        why = await ach(lived, "explain", "--from-ledger", "-u", "u1", "--tenant", "t1", "-a", name)
        assert (why.code, "trio" in why.out, "threesome" in why.out) == (0, True, False)
        assert ("threesome is called trio now" in why.err) == (name == "threesome")
        shown = await ach(lived, "rules", "show", name)
        assert shown.out.startswith("trio version 1")
    history = (await ach(lived, "rules", "history", "trio", "--json")).said()
    assert [one["renamed"] for one in history] == [[{"before": "threesome", "now": "trio"}], []]
    given = await ach(lived, "grant", "u9", "threesome", "-t", "t1", "--reason", "a prize")
    assert given.code == 0
    assert "threesome is called trio now" in given.err
    taken = await ach(lived, "revoke", "-a", "threesome", "-s", "u9", "--reason", "a cheat", "--yes")
    assert (taken.code, "trio of u9 in t1" in taken.out) == (0, True)
    rebuilt = await ach(lived, "rebuild", "--aggregate", "trio", "--json")
    assert rebuilt.code == 0
    unknown = await ach(lived, "grant", "u9", "tri", "-t", "t1", "--reason", "a prize")
    assert "did you mean trio?" in unknown.err
    retired = await ach(lived, "rules", "retire", "after_it", "--reason", "gone")
    assert retired.code == 0
    retired = await ach(lived, "rules", "retire", "threesome", "--reason", "gone")
    assert (retired.code, "retired: trio version 1" in retired.out) == (0, True)
    # Where no rule has it any more, it keeps the last name that it had.
    assert "threesome" not in (await ach(lived, "unlocks")).out
    back = await ach(lived, "rollback", "2", "--yes")
    assert back.code == 0
    assert "trio" not in (await ach(lived, "unlocks")).out


async def test_the_interface_and_the_console_show_the_new_name(lived: Engine) -> None:
    await lived.apply(EVENTS + NEW)
    await lived.backfill()
    async with serving(lived.settings) as client:
        standing = (await client.get("/v1/tenants/t1/users/u1/achievements", headers=by_key())).json()
        assert {item["id"] for item in standing["items"]} == {"trio", "after_it"}
        for name in ("trio", "threesome"):
            why = await client.get(f"/v1/tenants/t1/users/u1/achievements/{name}/why", headers=by_key())
            assert why.status_code == 200
            assert why.json()["explanations"][0]["achievement"] == "trio"
        page = (await client.get("/v1/tenants/t1/unlocks", headers=by_key())).text
        catalogue = (await client.get("/v1/tenants/t1/catalogue", headers=by_key())).text
        assert "trio" in page
        assert "trio" in catalogue
        assert "threesome" not in page + catalogue
    async with logged_in(lived, "ada") as client:
        pages = ("/", "/rules", "/rules/trio", "/rules/threesome", "/changes", "/subject?tenant=t1&scope=user&id=u1")
        for path in pages:
            answer = await client.get(path)
            assert answer.status_code == 200, path
            assert "threesome" not in answer.text.replace("renamed from threesome", ""), path
        why = await client.get("/subject/why?tenant=t1&scope=user&id=u1&achievement=threesome")
        assert "threesome" not in why.text
