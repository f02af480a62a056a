"""`ach progress` and `ach unlocks` say the same, of unlocks in every state, through real servers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from dsl.outcome import Subject
from tests.integration.engine import event
from worker.admin.manual_grant import grant_by_hand
from worker.admin.results import UnreadableError, read_named
from worker.admin.revocation import revoke
from worker.app import wall_clock
from worker.commands.dead.list import Wanted, list_dead_letters
from worker.commands.progress import Asked, show_progress
from worker.commands.servers import CommandError, command_errors
from worker.commands.unlocks import list_unlocks
from worker.pipeline.dead_letters import list_letters
from worker.pipeline.rules_in_force import load_deployed
from worker.settings import Clock, Settings
from worker.store import open_store

if TYPE_CHECKING:
    from tests.integration.engine import Engine

pytestmark = pytest.mark.anyio

RULES = """
event a.done { team: string?, x: decimal? }
event b.done {}
event c.done {}

achievement tidy { title "Tidy" when count(event=a.done, >= 2, unless=b.done) }
achievement crew { title "Crew" scope team when count(event=a.done, >= 2) }
achievement gated { title "Gated" after tidy when count(event=c.done, >= 1) }
achievement much { title "Much" when sum(event=a.done, of=x, > 100) }
achievement prize { title "Prize" when count(event=c.done, >= 9) }
achievement slow { title "Slow" when count(event=c.done, >= 1) settle 1h }
achievement steps { title "Steps" repeat each tier low { when count(event=a.done, >= 2) } }
achievement weekly { title "Weekly" repeat every week when count(event=a.done, >= 2) }
"""
OLD = RULES + 'achievement old { title "Old" when count(event=a.done, >= 1) }\n'


class Asking:
    """What the commands print of one deployment."""

    def __init__(self, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
        self._settings = engine.with_settings(clock=Clock.STREAM).settings
        self._capsys = capsys
        self.err = ""

    async def progress(self, name: str = "u1", tenant: str = "t1", scope: str | None = None) -> dict[str, Any]:
        self._capsys.readouterr()
        await show_progress(self._settings, Asked(tenant, name, scope), as_json=True)
        out, self.err = self._capsys.readouterr()
        return {".".join(filter(None, (row["achievement"], row["tier"]))): row for row in json.loads(out)}

    async def text(self, name: str = "u1") -> dict[str, str]:
        self._capsys.readouterr()
        await show_progress(self._settings, Asked("t1", name), as_json=False)
        return {line.split()[1]: line for line in self._capsys.readouterr().out.splitlines() if len(line.split()) > 2}

    async def unlocks(self) -> list[dict[str, Any]]:
        self._capsys.readouterr()
        asked: dict[str, Any] = {"tenant": "t1", "subject": "u1", "status": None, "limit": 100}
        await list_unlocks(self._settings, **asked, as_json=True)
        return json.loads(self._capsys.readouterr().out)


@pytest.fixture
def asking(engine: Engine, capsys: pytest.CaptureFixture[str]) -> Asking:
    return Asking(engine, capsys)


async def test_unlocks_in_every_state(engine: Engine, asking: Asking) -> None:
    await engine.apply(OLD)
    week = 7 * 24 * 60
    await engine.publish([event(1, x=60, team="red"), event(2, x=40, team="red"), event(3, "c.done")])
    await engine.drain(clock=Clock.STREAM)
    rows = await asking.progress()
    assert {name: (row["status"], row["percent"]) for name, row in rows.items()} == {
        "tidy": ("earned", 100),
        "gated": ("earned", 100),
        "much": ("in_progress", 99),
        "old": ("earned", 100),
        "prize": ("in_progress", 11),
        "slow": ("settling", 100),
        "steps.low": ("locked", 0),
        "weekly": ("earned", 100),
    }
    assert (rows["steps.low"]["occurrence"], rows["steps.low"]["last_occurrence"]) == ("2", "1")
    assert (rows["weekly"]["occurrence"], rows["weekly"]["times"]) == ("2026-W15", 1)
    assert (rows["much"]["current"], rows["much"]["target"], rows["much"]["more_than"]) == ("100", "100", True)
    assert rows["slow"]["settles_at"] > rows["slow"]["earned_at"]
    assert "100 of more than 100" in (await asking.text())["much"]
    assert set(await asking.progress("red")) == {"crew"}
    # A week later nothing is done in it yet; late evidence contests what came before.
    await engine.publish([event(week, "e.done"), event(1, "b.done")])
    await engine.publish([event(week + 1, "c.done", user="u2")])
    await engine.drain(clock=Clock.STREAM)
    rows = await asking.progress()
    assert (rows["weekly"]["status"], rows["weekly"]["current"], rows["weekly"]["earned"]) == ("locked", "0", False)
    assert (rows["weekly"]["occurrence"], rows["weekly"]["last_occurrence"]) == ("2026-W16", "2026-W15")
    assert (rows["tidy"]["status"], rows["tidy"]["current"], rows["tidy"]["earned"]) == ("contested", "1", False)
    assert (rows["gated"]["status"], rows["gated"]["held_back"], rows["gated"]["percent"]) == ("contested", True, 99)
    assert rows["slow"]["status"] == "earned"
    # Operators.
    async with open_store(engine.settings.database_url) as store:
        deployed, now = await load_deployed(store, engine.settings), wall_clock()
        ids = {one["achievement"]: one["unlock_id"] for one in await asking.unlocks()}
        await revoke(store, UUID(ids["slow"]), now=now, by="x", reason="y")
        await revoke(store, UUID(ids["weekly"]), now=now, by="x", reason="y")
        who = Subject("t1", "user", "u1")
        await grant_by_hand(store, deployed, who, "prize", None, None, reason="y", by="x", now=now)
    await engine.apply(RULES)
    await engine.backfill()
    rows, text = await asking.progress(), await asking.text()
    assert (rows["slow"]["status"], rows["slow"]["percent"], rows["slow"]["current"]) == ("revoked", 0, None)
    assert (rows["weekly"]["times"], rows["weekly"]["last_occurrence"]) == (0, None)
    assert (rows["prize"]["status"], rows["prize"]["by_hand"], rows["prize"]["percent"]) == ("earned", True, 100)
    assert "earned, by hand" in text["prize"]
    assert (rows["old"]["in_force"], rows["old"]["status"]) == (False, "earned")
    listed = {one["achievement"]: one["status"] for one in await asking.unlocks()}
    assert listed == {
        "tidy": "contested",
        "gated": "contested",
        "old": "announced",
        "prize": "granted",
        "slow": "revoked",
        "steps": "announced",
        "weekly": "revoked",
    }


async def test_an_unknown_subject_is_at_the_beginning(engine: Engine, asking: Asking) -> None:
    await engine.apply(RULES)
    await asking.progress("u9")
    assert "a backfill is not finished" in asking.err
    await engine.backfill()
    for name, scope, expected in (("u9", None, 7), ("red", "team", 1), ("u9", "user", 7)):
        rows = await asking.progress(name, scope=scope)
        assert len(rows) == expected
        assert all((row["status"], row["percent"], row["times"]) == ("locked", 0, 0) for row in rows.values())
        assert "is not known" in asking.err
    with pytest.raises(CommandError) as refused:
        await asking.progress("red", scope="taem")
    assert refused.value.hint == "did you mean team?"
    async with open_store(engine.settings.database_url) as store, store.transaction() as session:
        await session.script(
            "INSERT INTO erasure (tenant_id, user_id, erased_at, erased_by) VALUES ('t1', 'u9', now(), 'x')"
        )
    await asking.progress("u9")
    assert "was erased" in asking.err


async def test_progress_that_cannot_be_read_is_not_said_to_be_old(engine: Engine) -> None:
    await engine.publish([event(1)])
    await engine.drain()
    async with open_store(engine.settings.database_url) as store:
        deployed = await load_deployed(store, engine.settings)
        async with store.transaction() as session:
            await session.script("UPDATE progress SET state = '[1, []]'")
        with pytest.raises(UnreadableError, match="next event"):
            await read_named(store, deployed, "t1", "u1")
        assert not (await engine.backfill()).subjects
        await engine.publish([event(2)])
        await engine.drain()
        assert (await read_named(store, deployed, "t1", "u1")).states


async def test_dead_letters_as_json(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    await engine.publish([b"nonsense"])
    await engine.drain()
    async with open_store(engine.settings.database_url) as store:
        (letter,) = await list_letters(store)
    capsys.readouterr()
    await list_dead_letters(engine.settings, Wanted(None, replayed=False, limit=9), as_json=True)
    (said,) = json.loads(capsys.readouterr().out)
    assert (said["dead_letter_id"], said["bytes"]) == (letter.dead_letter_id, 8)
    assert (said["died_at"][:2], said["headers"], said["replayed_at"]) == ("20", {}, None)


def test_unreadable_progress_is_a_sentence() -> None:
    with pytest.raises(CommandError), command_errors(Settings(nats_url="nats://x", database_url="postgresql://x/x")):
        raise UnreadableError(1)
