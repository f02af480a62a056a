"""Decisions that a restored backup has forgotten come back from the journal, which names no one."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from dsl.outcome import Subject
from tests.integration.engine import Engine, event
from worker.admin.backfill import bring_up_to_date
from worker.admin.erasure import erase_user
from worker.admin.journal import JournalError, journaled, pseudonyms, read_journal
from worker.admin.manual_grant import grant_by_hand
from worker.admin.reapply import Journal, Reapplied, reapply
from worker.admin.revocation import revoke_all
from worker.admin.stream_people import people_of_stream
from worker.admin.tombstone import lift_tombstone
from worker.app import wall_clock
from worker.engine.journal import (
    Erasure,
    Lift,
    Pseudonyms,
    Revocation,
    UnreadableJournalError,
    entries_of,
    manual_grant,
)
from worker.pipeline.rules_in_force import load_deployed
from worker.settings import SettingsError, read_settings
from worker.store import UnavailableError, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from worker.store import Store

pytestmark = pytest.mark.anyio

RULES = """
event a.done {}
achievement one { title "One" when count(event=a.done, >= 1) }
achievement two { title "Two" when count(event=a.done, >= 2) }
"""
MORE = RULES + 'achievement three { title "Three" when count(event=a.done, >= 3) }\n'


@pytest.fixture
def kept(engine: Engine, tmp_path: Path) -> Engine:
    key = tmp_path / "key"
    key.write_text("k" * 32)
    return engine.with_settings(journal=str(tmp_path / "journal"), journal_key_file=str(key))


@asynccontextmanager
async def store_of(engine: Engine) -> AsyncGenerator[Store]:
    async with open_store(engine.settings.database_url) as store:
        yield store


async def copy_of(engine: Engine) -> str:
    """Back the database up: a copy of it, on the same server."""
    url, backup = engine.settings.database_url, f"backup_{uuid4().hex}"
    name = urlsplit(url).path.removeprefix("/")
    connection = await asyncpg.connect(url.replace(name, "postgres", 1))
    try:
        await connection.execute(f'CREATE DATABASE {backup} TEMPLATE "{name}"')
    finally:
        await connection.close()
    return url.replace(name, backup, 1)


async def again(engine: Engine, *, dry_run: bool = False) -> Reapplied:
    settings = engine.settings
    journal = Journal(read_journal(path_of(engine)), pseudonyms(settings))
    async with store_of(engine) as store:
        return await reapply(
            store, settings, journal, await people_of_stream(settings), now=wall_clock, dry_run=dry_run
        )


def path_of(engine: Engine) -> Path:
    assert engine.settings.journal is not None
    return Path(engine.settings.journal)


def happened(done: Reapplied) -> dict[str, int]:
    return {name: value for name, value in msgspec.structs.asdict(done).items() if value and isinstance(value, int)}


async def revoke(engine: Engine, user: str, achievement: str) -> None:
    (row,) = await engine.rows(
        "SELECT unlock_id FROM unlock WHERE subject = $1 AND achievement = $2", user, achievement
    )
    now, ids = wall_clock(), [row["unlock_id"]]
    async with store_of(engine) as store:
        with journaled(engine.settings, lambda names: Revocation(tuple(map(names.of_unlock, ids))), by="kim", at=now):
            await revoke_all(store, ids, now=now, by="kim", reason="he cheated")


async def grant(engine: Engine, user: str, achievement: str) -> None:
    subject, now, key = Subject("t1", "user", user), wall_clock(), (achievement, None, None)
    async with store_of(engine) as store:
        rules = await load_deployed(store, engine.settings)
        with journaled(engine.settings, lambda names: manual_grant(names, subject, key), by="kim", at=now):
            await grant_by_hand(store, rules, subject, *key, reason="ticket", by="kim", now=now)


async def erase(engine: Engine, user: str) -> None:
    async with store_of(engine) as store:
        erased = await erase_user(store, engine.settings, "t1", user, by="kim", now=wall_clock())
        await bring_up_to_date(store, engine.settings, erased.since, now=wall_clock)


async def lift(engine: Engine, user: str) -> None:
    now, subject = wall_clock(), Subject("t1", "user", user)
    async with store_of(engine) as store:
        with journaled(engine.settings, lambda names: Lift(names.of_subject(subject)), by="kim", at=now):
            await lift_tombstone(store, "t1", user, by="kim", reason="came back", now=now)


def done(n: int, user: str) -> dict[str, Any]:
    return event(n, id=f"{user}-{n}", user=user, tenant="t1")


async def standing(engine: Engine) -> dict[str, list[str]]:
    rows = await engine.rows(
        "SELECT subject, achievement, revoked_at IS NOT NULL AS revoked, by_hand FROM unlock ORDER BY 1, 2"
    )
    found: dict[str, list[str]] = {}
    for row in rows:
        mark = "-" if row["revoked"] else "+" if row["by_hand"] else ""
        found.setdefault(row["subject"], []).append(mark + row["achievement"])
    return found


async def test_what_a_backup_forgets_comes_back(kept: Engine) -> None:
    await kept.apply(RULES)
    await kept.publish([done(n, user) for user in ("ann", "bob", "cy", "dee") for n in range(2)])
    await kept.drain()
    backup = await copy_of(kept)
    # What comes after the backup: newcomers, and decisions.
    await kept.publish([done(n, user) for user in ("eve", "flo") for n in range(2)])
    await kept.drain()
    await kept.apply(MORE)
    await kept.backfill()
    await erase(kept, "ann")
    await erase(kept, "eve")
    await revoke(kept, "bob", "one")
    await revoke(kept, "flo", "two")
    await revoke(kept, "cy", "one")
    await grant(kept, "cy", "one")
    await grant(kept, "dee", "three")
    expected = await standing(kept)
    assert expected == {
        "bob": ["-one", "two"], "cy": ["+one", "two"], "dee": ["one", "+three", "two"], "flo": ["one", "-two"],
    }  # fmt: skip
    assert happened(await again(kept)) == {"entries": 9}

    restored = kept.with_settings(database_url=backup, consumer="other")
    assert await restored.rows("SELECT FROM erasure") == []
    would = await again(restored, dry_run=True)
    assert would.rules == "would be put into force"
    assert await restored.rows("SELECT FROM erasure") == []
    first = await again(restored)
    assert first.rules == "put into force, as epoch 3"
    # A newcomer who was erased is known from the stream, one whose unlock was revoked has none yet.
    assert happened(first) == {"entries": 9, "erased": 2, "revoked": 2, "granted": 2, "waiting": 1}
    assert await restored.rows("SELECT FROM event WHERE user_id IN ('ann', 'eve')") == []
    # Workers read the stream again, and nothing of the erased comes in.
    await restored.drain()
    assert happened(await again(restored)) == {"entries": 9, "revoked": 1}
    assert await standing(restored) == expected
    assert happened(await again(restored)) == {"entries": 9}
    assert await restored.rows("SELECT FROM event WHERE user_id IN ('ann', 'eve')") == []


async def test_what_an_interrupted_run_has_left_is_done(kept: Engine) -> None:
    """It died behind the switch of its rules, and behind an erasure: teams were not folded again."""
    team = 'achievement crew { title "Crew" scope team when count(event=a.done, >= 2) }\n'
    rules = RULES.replace("event a.done {}", "event a.done { team: string? }") + team
    more = rules + MORE.removeprefix(RULES)
    await kept.apply(rules)
    await kept.publish([event(n, user=user, team="red") for user in ("ann", "bob") for n in range(3)])
    await kept.drain()
    backup = await copy_of(kept)
    await kept.apply(more)
    await kept.backfill()
    await erase(kept, "ann")
    expected = await standing(kept)

    restored = kept.with_settings(database_url=backup, consumer="other")
    silent = restored.with_settings(journal=None, journal_key_file=None)
    await silent.apply(more)
    entries = read_journal(path_of(kept))
    (at,) = [one.at for one in entries if isinstance(one.what, Erasure)]
    async with store_of(silent) as store:
        await erase_user(store, silent.settings, "t1", "ann", by="kim", now=at)
    assert (await again(restored, dry_run=True)).rules == "in force already, as epoch 3"
    assert (await again(restored)).rules == "in force already, as epoch 3, and built to the end"
    assert await standing(restored) == expected
    async with store_of(silent) as store:
        await erase_user(store, silent.settings, "t1", "bob", by="kim", now=at + 1)
    assert await restored.rows("SELECT FROM progress WHERE stamp = ''") != []
    await again(restored)
    assert await restored.rows("SELECT FROM progress WHERE stamp = ''") == []


async def test_a_lifted_tombstone_stays_lifted(kept: Engine) -> None:
    await kept.apply(RULES)
    await kept.publish([done(0, "ann"), done(0, "bob")])
    await kept.drain()
    backup = await copy_of(kept)
    await erase(kept, "ann")
    await kept.drain()
    await lift(kept, "ann")
    await kept.publish([done(7, "ann")])
    await kept.drain()
    # Nothing is done to what came after, however often it runs.
    assert happened(await again(kept)) == {"entries": 3}
    assert len(await kept.rows("SELECT FROM event WHERE user_id = 'ann'")) == 1

    restored = kept.with_settings(database_url=backup, consumer="other")
    assert happened(await again(restored)) == {"entries": 3, "erased": 1, "waiting": 1}
    assert await restored.rows("SELECT FROM event WHERE user_id = 'ann'") == []
    await restored.rows("DELETE FROM correction")  # as a worker does that has announced them
    assert happened(await again(restored)) == {"entries": 3, "lifted": 1}
    assert happened(await again(restored)) == {"entries": 3}


async def test_the_journal_names_no_one(kept: Engine) -> None:
    await kept.apply(RULES)
    await kept.publish([done(n, "annika") for n in range(2)])
    await kept.drain()
    (row,) = await kept.rows("SELECT unlock_id FROM unlock WHERE achievement = 'one'")
    await revoke(kept, "annika", "one")
    await grant(kept, "annika", "two")
    await erase(kept, "annika")
    said = path_of(kept).read_text()
    for secret in ("annika", str(row["unlock_id"]), row["unlock_id"].hex, "he cheated", "ticket", "k" * 32):
        assert secret not in said
    assert path_of(kept).stat().st_mode & 0o077 == 0
    # Who does not have the key cannot try names out; another key finds no one.
    other = kept.with_settings(journal_key_file=str(path_of(kept).with_name("other")))
    path_of(kept).with_name("other").write_text("x" * 32)
    assert happened(await again(other)) == {"entries": 4, "waiting": 3}


async def test_nothing_is_done_where_the_journal_cannot_be_written(kept: Engine, tmp_path: Path) -> None:
    await kept.apply(RULES)
    await kept.publish([done(0, "ann")])
    await kept.drain()
    for changes, said in (
        ({"journal": str(tmp_path / "none" / "journal")}, "No such file"),
        ({"journal": str(tmp_path)}, "Is a directory"),
        ({"journal_key_file": str(tmp_path / "gone")}, "there is no file"),
    ):
        with pytest.raises(JournalError, match=said):
            await erase(kept.with_settings(**changes), "ann")
    (tmp_path / "short").write_text("x" * 31)
    with pytest.raises(JournalError, match="31 bytes"):
        await kept.with_settings(journal_key_file=str(tmp_path / "short")).apply(MORE)
    assert len(await kept.rows("SELECT FROM event")) == 1
    assert len(await kept.rows("SELECT FROM rule_set")) == 2
    with pytest.raises(SettingsError, match="both"):
        read_settings({"ACH_JOURNAL": "/x"})


async def test_what_was_not_done_is_not_done_again(kept: Engine) -> None:
    path = path_of(kept)
    subject = Subject("t1", "user", "ann")

    def decided() -> list[str]:
        return [entry.by for entry in read_journal(path)]

    for by, error in (("refused", ValueError), ("away", UnavailableError), ("killed", KeyboardInterrupt)):
        with (
            pytest.raises(error),
            journaled(kept.settings, lambda names: Erasure(names.of_subject(subject)), by=by, at=1),
        ):
            raise error
    assert sorted(decided()) == ["away", "killed"]
    # A process that dies within a line leaves it torn, and the next one begins its own.
    with path.open("ab") as file:
        file.write(b'{"entry":"x","at":')
    assert sorted(decided()) == ["away", "killed"]
    with journaled(kept.settings, lambda names: Erasure(names.of_subject(subject)), by="next", at=2):
        pass
    assert decided()[-1] == "next"
    assert len(decided()) == 3


@pytest.mark.parametrize("line", [b"{}\n", b"[1]\n", b"x\n", b'{"closes":1}\n', b"[" * 100_000 + b"\n"])
def test_what_is_no_journal_is_refused(line: bytes) -> None:
    with pytest.raises(UnreadableJournalError, match="line 2"):
        entries_of([b"\n", line])


def test_a_line_says_what_was_done(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    settings = (
        Engine(read_settings({})).with_settings(journal=str(path), journal_key_file=str(tmp_path / "key")).settings
    )
    (tmp_path / "key").write_text("k" * 40)
    with journaled(settings, lambda names: Lift(names.of_subject(Subject("t", "user", "u"))), by="kim", at=5):
        (line,) = path.read_text().splitlines()  # it lies there before it is done
        assert json.loads(line)["by"] == "kim"
    assert [json.loads(one).get("outcome") for one in path.read_text().splitlines()] == [None, "done"]


def test_nothing_is_known_without_the_key() -> None:
    ann, bob = (Subject("t", "user", name) for name in ("ann", "bob"))
    mine, other = Pseudonyms(b"k" * 32), Pseudonyms(b"x" * 32)
    assert mine.of_subject(ann) == Pseudonyms(b"k" * 32).of_subject(ann)
    hashes = {mine.of_subject(ann), mine.of_subject(bob), other.of_subject(ann), other.of_subject(bob)}
    assert len(hashes) == 4
    assert not any(b"ann".hex() in one for one in hashes)
    # Parts do not run into each other.
    assert mine.of_subject(Subject("a", "user", "bc")) != mine.of_subject(Subject("ab", "user", "c"))
