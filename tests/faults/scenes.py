"""What operators do, each beginning with a database made for it: for tests that interrupt it and look at what is left.

A scene's database is made once and copied for every trial, with the announcements that its broker held.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import nats
from msgspec.structs import replace
from nats.js.errors import NotFoundError

from tests.databases import fresh_database, name_of
from tests.faults.oracle import announced_bodies, corrected
from tests.integration.engine import Engine, event, own_streams
from worker.admin.archive import Archived, Asked, archive
from worker.admin.erasure import erase_user
from worker.admin.journal import journaled
from worker.admin.pending import Terms
from worker.admin.results import StaleError, read_digest
from worker.admin.revocation import of_change, revoke_all
from worker.app import wall_clock
from worker.broker.streams import open_broker
from worker.distribution import release
from worker.engine.change import Announced, Policy
from worker.engine.journal import Revocation
from worker.pipeline.rules_in_force import load_deployed
from worker.settings import Settings
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from pathlib import Path

    from worker.local.servers import Servers

EVENTS: Final = "event a.done { team: string? }\nevent b.done {}\nevent c.done { team: string? }\n"
OLD: Final = (
    EVENTS
    + """
achievement three { title "Three" when count(event=a.done, >= 3) }
achievement clean { title "Clean" when count(event=a.done, >= 2, unless=b.done) }
achievement slow { title "Slow" when count(event=c.done, >= 1) settle 1h }
achievement team { title "Team" scope team when count(event=a.done, >= 3) }
"""
)
NEW: Final = (
    OLD.replace("achievement slow", "achievement quick").replace("settle 1h", "")
    + """
achievement three version 2 from 2026-04-12T13:23:00Z { title "Three" when count(event=a.done, >= 4) }
achievement after { title "After" when count(event=b.done, >= 1) after three }
achievement team_news { title "Team news" scope team when count(event=c.done, >= 1) }
"""
)
"""Grants, contests, amends, withdraws what settles, and hears new events of teams."""
LATER: Final = tuple(
    event(number, "c.done", user=f"u{number % 4}", team="red", id=f"l{number}") for number in range(40, 46)
)
"""Events that a worker takes while a change is built."""


def history() -> list[dict[str, Any]]:
    """Return events of some users of two tenants."""
    made: list[dict[str, Any]] = []
    for user in range(6):
        who = {"user": f"u{user}", "tenant": f"t{user % 2}"}
        made += [event(number, team=f"m{number % 2}", **who) for number in range(user + 1)]
        made += [event(20, "b.done", **who)] * (user % 3 == 0)
        made += [event(30, "c.done", team=f"m{user % 2}", **who)]
    return made


async def _old(engine: Engine) -> None:
    await engine.apply(OLD)
    await engine.backfill()
    await engine.publish(history())
    await engine.drain()


async def begin_new(engine: Engine) -> None:
    """Apply new rules; nothing of them is announced yet."""
    await _old(engine)
    await engine.apply(NEW, by="ann")
    await engine.backfill()


async def _silent(engine: Engine) -> None:
    await _old(engine)
    await engine.apply(NEW, Terms(policy=Policy(Announced.NONE)), by="ann")
    await engine.backfill()


async def begin_building(engine: Engine) -> None:
    await _old(engine)
    await engine.apply(NEW, by="ann")


async def _aged(engine: Engine) -> None:
    """Let all events have been received long ago."""
    await _old(engine)
    await engine.rows("UPDATE event SET received_at = received_at - interval '400 days'")


async def _packed(engine: Engine) -> None:
    await _aged(engine)
    async with open_store(engine.settings.database_url) as store:
        now = wall_clock()
        await archive(store, Asked(now - 86_400_000_000, now, release()), Archived())


async def _spoilt(engine: Engine) -> None:
    """Let states and unlocks be other than the events make them."""
    await _old(engine)
    await engine.rows("UPDATE unlock SET contested_at = granted_at WHERE subject = 'u3' AND achievement = 'three'")
    await engine.rows("UPDATE progress SET state = '{}' WHERE subject IN ('u4', 'm0')")
    await engine.rows("DELETE FROM unlock WHERE subject = 'u5' AND achievement = 'three'")


async def _erased(engine: Engine) -> None:
    await _old(engine)
    async with open_store(engine.settings.database_url) as store:
        await erase_user(store, engine.settings, "t1", "u3", by="ann", now=wall_clock())
    await engine.drain()


class Scene(NamedTuple):
    """What an operator does, and where."""

    name: str
    begin: Callable[[Engine], Awaitable[None]]
    arguments: tuple[str, ...]
    """Of `ach`, called in a folder that has `old.ach` and `new.ach`."""
    codes: frozenset[int] = frozenset({0})
    """Exit codes that say that it is done."""
    nothing_left: str = ""
    """What it may say in place of that, with exit code 1, when it had been done before."""
    files: tuple[str, ...] = ()
    """What it writes into the folder."""
    worker: bool = False
    """Whether it is a worker that takes LATER, and no command."""
    journal: bool = False
    """Whether the folder has a journal of decisions that the database has forgotten."""


_CHANGE: Final = ("change",)
SCENES: Final = (
    Scene("plan", _old, ("plan", "new.ach", "--out", "made.plan"), frozenset({0, 2}), files=("made.plan",)),
    Scene("apply", _old, ("apply", "new.ach", "-m", "why")),
    Scene("backfill", begin_building, ("backfill",)),
    Scene("resume", begin_building, (*_CHANGE, "resume", "2")),
    Scene("lazy", begin_building, (), worker=True),
    Scene("pause", begin_building, (*_CHANGE, "pause", "2")),
    Scene("cancel", begin_building, (*_CHANGE, "cancel", "2")),
    Scene("announce", _silent, (*_CHANGE, "announce", "2")),
    Scene("rollback", begin_new, ("rollback", "1", "--yes"), nothing_left="is in force, with the rules of epoch 1"),
    Scene("retire", begin_new, ("rules", "retire", "quick", "--reason", "why"), nothing_left="no achievement quick"),
    Scene("revoke", begin_new, ("revoke", "--change", "2", "--reason", "why", "--yes"), nothing_left="is not revoked"),
    Scene("rebuild", _spoilt, ("rebuild", "-q"), frozenset({0, 1})),
    Scene("archive", _aged, ("archive", "--older-than", "300d")),
    Scene("erase", _old, ("erase", "u3", "-t", "t1", "--yes")),
    Scene("erase_packed", _packed, ("erase", "u3", "-t", "t1", "--yes")),
    Scene(
        "erase_undo",
        _erased,
        ("erase", "u3", "-t", "t1", "--undo", "--yes", "--reason", "why"),
        nothing_left="is not erased",
    ),
    Scene("reapply", _old, ("reapply", "--without-stream"), journal=True),
)


class Made(NamedTuple):
    """A scene's database, ready to be copied."""

    scene: Scene
    template: str
    prefix: str
    said: list[tuple[str, bytes]]
    """Subjects and bodies of the announcements that the broker has."""
    journal: bytes


@asynccontextmanager
async def made(servers: Servers, scene: Scene, folder: Path) -> AsyncGenerator[Made]:
    """Give a scene's database for the length of a block."""
    write_folder(folder)
    async with fresh_database(servers) as url:
        engine = _engine(servers, url, folder)
        try:
            await scene.begin(engine)
            journal = b""
            if scene.journal:
                async with fresh_database(servers, name_of(url)) as other:
                    journal = await _decided(_engine(servers, other, folder), folder)
            yield Made(
                scene, name_of(url), engine.settings.unlock_prefix, await announced_bodies(engine.settings), journal
            )
        finally:
            await _forget_streams(engine.settings)


def _engine(servers: Servers, url: str, folder: Path) -> Engine:
    settings = Settings(
        nats_url=servers.nats_url, database_url=url, **own_streams(), batch_size=8, writer_events=1, ack_wait=1
    )
    journal = {"journal": str(folder / "journal"), "journal_key_file": str(folder / "key")}
    return Engine(replace(settings, **journal))


async def _decided(engine: Engine, folder: Path) -> bytes:
    """Decide in a copy of the database what a backup does not know; return the journal."""
    await engine.apply(NEW, by="ann")
    await engine.backfill()
    async with open_store(engine.settings.database_url) as store:
        ids = [one.unlock_id for one in await of_change(store, 2)][:2]
        now = wall_clock()
        with journaled(engine.settings, lambda names: Revocation(tuple(map(names.of_unlock, ids))), by="ann", at=now):
            await revoke_all(store, ids, now=now, by="ann", reason="why")
        await erase_user(store, engine.settings, "t1", "u3", by="ann", now=wall_clock())
    return (folder / "journal").read_bytes()


def write_folder(folder: Path, journal: bytes = b"") -> None:
    """Write what an operator has in the folder of the commands."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("old.ach", OLD), ("new.ach", NEW), ("key", "k" * 32)):
        (folder / name).write_text(text)
    (folder / "key").chmod(0o600)
    if journal:
        (folder / "journal").write_bytes(journal)


@asynccontextmanager
async def copied(servers: Servers, made: Made, folder: Path) -> AsyncGenerator[Engine]:
    """Give an engine on a copy of a scene's database, with streams of its own and what was announced."""
    write_folder(folder, made.journal)
    async with fresh_database(servers, made.template) as url:
        engine = _engine(servers, url, folder)
        async with open_broker(engine.settings) as broker:
            for subject, body in made.said:
                await broker.publish(subject.replace(made.prefix, engine.settings.unlock_prefix, 1), body)
        try:
            yield engine
        finally:
            await _forget_streams(engine.settings)


async def _forget_streams(settings: Settings) -> None:
    client = await nats.connect(settings.nats_url)
    try:
        for stream in (settings.input_stream, settings.unlock_stream):
            with suppress(NotFoundError):
                await client.jetstream().delete_stream(stream)
    finally:
        await client.close()


# -- what is left ------------------------------------------------------------------------------------------------------

_LOOKS: Final = {
    "rules": "SELECT epoch, encode(hash, 'hex'), announce FROM rule_set",
    "versions": "SELECT achievement, version, epoch, retired_at IS NULL FROM rule_version",
    "changes": "SELECT epoch, state, message, announce, plan, sources IS NULL, applied_by FROM change"
    " WHERE epoch IS NOT NULL",
    "unlocks": "SELECT unlock.tenant_id, subject, achievement, tier, version, earned_at, event_id, settles_at,"
    " granted_at IS NULL, contested_at IS NULL, revoked_at IS NULL, published_at IS NULL, by_hand, revision, origin,"
    " silent, change.epoch FROM unlock LEFT JOIN change USING (change_id)",
    "earned": "SELECT tenant_id, scope, subject, achievement, tier, version, earned_at, contested_at IS NULL"
    " FROM unlock",
    "decisions": "SELECT evaluation.tenant_id, subject, achievement, tier, version, decision, earned_at, event_id,"
    " actor, reason, change.epoch FROM evaluation LEFT JOIN change USING (change_id)",
    "states": "SELECT tenant_id, scope, subject, stamp, state FROM progress",
    "waiting": "SELECT unlock_id, kind FROM correction",
    "ledger": "SELECT tenant_id, user_id, event_id FROM event",
    "members": "SELECT tenant_id, scope, subject, event_id FROM event_subject",
    "erased": "SELECT tenant_id, user_id, erased_by FROM erasure",
    "lifted": "SELECT tenant_id, user_id, lifted_by, reason FROM lifted_erasure",
    "packs": "SELECT tenant_id, user_id, part, events, first_at, last_at, types, body FROM pack",
    "packing": "SELECT * FROM packing",
    "fence": "SELECT partition_id, rules_epoch FROM partition",
    "aggregates": "SELECT scope, fingerprint, epoch, status FROM aggregate",
    "rebuilds": "SELECT tenant_id, achievement, ended_at IS NULL FROM rebuild",
}
_VARIES: Final = frozenset({"unlock_id", "granted_at", "published_at", "corrected_at", "change", "decided_at"})
"""What is another one in each run: instants, and numbers of changes that were given up in between."""


async def picture(engine: Engine) -> dict[str, list[str]]:
    """Return all that the servers hold, but for instants of work and names of processes."""
    found: dict[str, list[str]] = {}
    for name, query in _LOOKS.items():
        found[name] = sorted(str(tuple(row.values())) for row in await engine.rows(query))
    async with open_store(engine.settings.database_url) as store:
        rules = await load_deployed(store, engine.settings)
        try:
            found["digest"] = [(await read_digest(store, rules)).digest]
        except StaleError as error:
            found["digest"] = [str(error)]
    heard: list[dict[str, Any]] = [msgspec.json.decode(body) for _, body in await announced_bodies(engine.settings)]
    found["amiss"] = [*corrected(heard, await engine.rows("SELECT * FROM unlock"))]
    said = [{name: value for name, value in one.items() if name not in _VARIES} for one in heard]
    found["announcements"] = sorted(map(str, said))
    return found


ORDERED: Final = frozenset({"unlocks", "decisions", "announcements", "states"})
"""What depends on how events came in batches."""


def differences(
    wanted: dict[str, list[str]], found: dict[str, list[str]], *, but: frozenset[str] = frozenset()
) -> list[str]:
    """Return in words where two pictures differ, `but` for some parts of them."""
    return [
        f"{name}: lacks {[one for one in rows if one not in found[name]][:3]},"
        f" has {[one for one in found[name] if one not in rows][:3]}, {len(rows)} and {len(found[name])} rows"
        for name, rows in wanted.items()
        if name not in but and rows != found[name]
    ]


async def publish_later(engine: Engine, events: Sequence[dict[str, Any]] = LATER) -> None:
    """Publish what a worker takes while a change is built."""
    await engine.publish(events)
