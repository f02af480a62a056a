"""All that is stored about one person, and nothing of others; a tombstone that is lifted."""

from __future__ import annotations

import json
from functools import partial
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

import anyio
import msgspec
import nats
import pytest

from dsl.calendar import format_instant
from dsl.outcome import Subject
from tests.acceptance.conftest import ROOT
from tests.integration.engine import PATIENCE, Engine, event
from tests.integration.mirrors import Read, mirror
from tests.integration.pipelines import pipeline_on, send, sent
from tests.integration.roles import with_roles
from worker.admin.erasure import erase_user
from worker.admin.purge import purge_announcements
from worker.admin.tombstone import NotAnnouncedError, NoTombstoneError, lift_tombstone
from worker.app import wall_clock
from worker.engine.entries import Catalogue
from worker.pipeline.rules_in_force import load_deployed
from worker.store import Session, open_store
from worker.view.export import UnknownPersonError, export_person
from worker.view.person import Person, export_schema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

pytestmark = pytest.mark.anyio

SECRET: Final = "qxzv-of-another"
BROKEN: Final = {"occurred_at": ""}
"""Makes an event one of no contract."""


async def export(engine: Engine, user: str = "u1", tenant: str = "t1", *, url: str = "") -> dict[str, Any]:
    """Return a document, which is of its schema and the same at each time."""
    text = await exported(engine, user, tenant, url)
    assert json.loads(text) | {"as_of": ""} == json.loads(await exported(engine, user, tenant, url)) | {"as_of": ""}
    msgspec.json.decode(text, type=Person, strict=True)
    return json.loads(text)


async def exported(engine: Engine, user: str, tenant: str, url: str = "") -> str:
    paper = StringIO()
    async with open_store(url or engine.settings.database_url) as store:
        catalogue = Catalogue(await load_deployed(store, engine.settings))
        person = Subject(tenant, "user", user)
        done = await export_person(store, engine.settings, catalogue, person, now=wall_clock(), write=paper.write)
    found: dict[str, list[Any]] = json.loads(paper.getvalue())
    assert done.rows == {name: len(rows) for name, rows in found.items() if name in done.rows}
    return paper.getvalue()


async def erase(engine: Engine, user: str = "u1", tenant: str = "t1") -> None:
    async with open_store(engine.settings.database_url) as store:
        await erase_user(store, engine.settings, tenant, user, by="test", now=wall_clock())


async def lift(engine: Engine, user: str = "u1", tenant: str = "t1") -> None:
    async with open_store(engine.settings.database_url) as store:
        await lift_tombstone(store, tenant, user, by="ada", reason="asked to", now=wall_clock())


WAITS: Final = """event b.done {}
event c.done {}
achievement waits { title "Waits" when count(event=c.done, >= 2, unless=b.done) settle 1h }
"""
ROWS: Final = """
INSERT INTO revealed VALUES
    ('t1', 'user', 'u1', 'three', '', now()), ('t1', 'user', 'u2', 'clean', '', now()),
    ('t2', 'user', 'u1', 'clean', '', now()), ('t1', 'team', 'u1', 'clean', '', now());
INSERT INTO delivery (
    endpoint, webhook_id, type, tenant_id, scope, subject, attempt, attempted_at, outcome, latency_ms, detail)
SELECT detail, 'w', 'unlock', tenant, scope, subject, 1, now(), 'delivered', 1, detail
FROM (VALUES
    ('mine', 't1', 'user', 'u1'), ('qxzv-of-another', 't2', 'user', 'u1'), ('qxzv-of-another', 't1', 'team', 'u1'),
    ('qxzv-of-another', 't1', 'user', 'u2')) AS one (detail, tenant, scope, subject);
INSERT INTO action (begun_at, actor, kind, tenant_id, target, reason)
SELECT now(), 'ada', kind, tenant, target, reason
FROM (VALUES
    ('grant', 't1', 'three of user u1', 'mine'),
    ('revoke', 't1', 'clean.x of user u1, unlock 00000000-0000-8000-8000-000000000000', 'mine'),
    ('grant', 't1', 'three of team u1', 'qxzv-of-another'), ('grant', 't2', 'three of user u1', 'qxzv-of-another'),
    ('grant', 't1', 'three of user a of user u1', 'qxzv-of-another'),
    ('grant', 't1', 'three of user u11', 'qxzv-of-another'), ('replay', 't1', 'letter of user u1', 'qxzv-of-another')
) AS one (kind, tenant, target, reason);
"""


async def test_all_of_one_person_and_nothing_of_others(engine: Engine) -> None:
    """The same name in another tenant, a team of that name, and users with similar names never appear."""
    async with pipeline_on(engine) as pipeline:
        mine = [event(n, key=f"k{n}") for n in range(3)]
        others = [
            event(n, user=user, tenant=tenant, key=SECRET, team="u1")
            for n, (user, tenant) in enumerate(
                [("u1", "t2"), ("u2", "t1"), ("u11", "t1"), ("U1", "t1"), ("u1 ", "t1"), ("u1", "t")] * 3
            )
        ]
        await send(pipeline, *mine, *others)
        await send(pipeline, event(0, "b.done", id="late"), event(1, "b.done", id="later"))
        spoilt = json.dumps({**event(5, note="mine"), **BROKEN}).encode()
        theirs = [
            json.dumps({**event(6, tenant=tenant, user=user, note=SECRET), **BROKEN}).encode()
            for tenant, user in [("t2", "u1"), ("t1", "u2")]
        ]
        nameless = json.dumps({"user_id": "u1", "note": SECRET}).encode()
        await send(pipeline, spoilt, spoilt[:-2] + b"\xff", *theirs, nameless, b"[%s, %s" % (spoilt, theirs[1]))
    for statement in ROWS.split(";")[:-1]:
        await engine.rows(statement)
    found = await export(engine)
    assert SECRET not in json.dumps(found)
    assert [one["event_id"] for one in found["events"]] == [
        "a.done-0-u1", "late", "a.done-1-u1", "later", "a.done-2-u1"
    ]  # fmt: skip
    assert found["events"][2]["payload"] == {"key": "k1"}
    unlocks = {one["achievement"]: one for one in found["unlocks"]}
    assert {name: one["status"] for name, one in unlocks.items()} == {"clean": "contested", "three": "granted"}
    assert [one["decision"] for one in unlocks["clean"]["history"]] == ["granted", "contested"]
    assert (unlocks["three"]["version"], unlocks["three"]["reward"]) == (1, {"xp": 10})
    assert {one["id"]: one["status"] for one in found["progress"]}["three"] == "earned"
    assert [one["kind"] for one in found["corrections"]] == ["contested"]
    assert [one["achievement"] for one in found["revealed"]] == ["three"]
    assert [one["endpoint"] for one in found["deliveries"]] == ["mine"]
    assert [one["reason"] for one in found["actions"]] == ["mine", "mine"]
    assert "ada" not in json.dumps(found)
    letters = found["dead_letters"]
    assert [one["names_others"] for one in letters] == [False, False, True]
    assert [bool(one["body"]) for one in letters] == [True, False, False]
    assert [bool(one["body_base64"]) for one in letters] == [False, True, False]


async def test_what_is_withdrawn_has_its_decisions(engine: Engine) -> None:
    await engine.apply(WAITS)
    first, late, last = (wall_clock() - seconds * 1_000_000 for seconds in (90, 60, 30))
    await sent(
        engine, *(event(n, "c.done") | {"occurred_at": format_instant(at)} for n, at in enumerate((first, last)))
    )
    written = format_instant(late).replace("Z", "+00:00")
    await sent(engine, event(1, "b.done") | {"occurred_at": written})
    found = await export(engine)
    (settled,) = found["unlocks"]
    assert (settled["status"], settled["unlock_id"]) == ("withdrawn", None)
    assert [one["decision"] for one in settled["history"]] == ["settling", "withdrawn"]
    assert found["events"][1]["occurred_at"] == written


async def test_an_export_is_of_one_moment(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is committed while it reads is not half in it."""
    await sent(engine, event(1), event(2))
    pages = Session.pages

    async def meanwhile(
        session: Session, shape: Callable[..., Any], name: str, /, **args: object
    ) -> AsyncIterator[list[Any]]:
        if name == "unlocks_of_person":
            await sent(engine, event(3))
        async for page in pages(session, shape, name, **args):
            yield page

    monkeypatch.setattr(Session, "pages", meanwhile)
    found = json.loads(await exported(engine, "u1", "t1"))
    assert len(found["events"]) == 2
    assert [one["achievement"] for one in found["unlocks"]] == ["clean"]


async def test_an_unknown_and_an_erased_person(engine: Engine) -> None:
    await sent(engine, event(1), event(2), event(3))
    for user, tenant in (("ghost", "t1"), ("u1", "t2"), ("u", "t1")):
        with pytest.raises(UnknownPersonError):
            await exported(engine, user, tenant)
    await erase(engine)
    found = await export(engine)
    assert found.pop("erasure")["erased_at"]
    assert {name for name, value in found.items() if value not in ([], None)} == {
        "format", "tenant_id", "user_id", "as_of"
    }  # fmt: skip


async def test_the_operators_role_suffices_and_the_readers_does_not(engine: Engine) -> None:
    """Nor does an analyst's, whose views are of one tenant."""
    await sent(engine, event(1), event(2))
    async with with_roles(engine.settings.database_url, ("t1",)) as made:
        found = await export(engine, url=made.url_as(made.roles.operator))
        assert len(found["events"]) == 2
        for role in (made.roles.reader, made.tenants[0].role):
            with pytest.raises(Exception, match="permission denied"):
                await exported(engine, "u1", "t1", made.url_as(role))


def test_the_schema_is_the_one_that_is_kept() -> None:
    """`ach schema export > docs/export.schema.json`."""
    assert (ROOT / "docs" / "export.schema.json").read_bytes() == export_schema()


# -- tombstones that are lifted ----------------------------------------------------------------------------------------


async def test_a_worker_takes_events_again_without_a_restart(engine: Engine) -> None:
    """It has the user in its cache, as erased; what is earned anew is announced anew."""
    async with engine.worker() as stats:
        await until_forgetful(engine)
        await engine.publish(event(n) for n in range(3))
        await stats.reach("answered", 2)
        await erase(engine)
        await engine.publish(event(n, id=f"out-{n}") for n in range(3))
        await stats.reach("erased", 3)
        await stats.reach("corrected", 2)
        await forgotten(engine)
        assert await purge_announcements(engine.settings, "t1", "u1") == 4
        await lift(engine)
        await engine.publish(event(n, id=f"again-{n}") for n in range(3))
        await stats.reach("answered", 4)
        assert stats.erased == 3
    assert await engine.unlocks() == {("u1", "three"): "announced", ("u1", "clean"): "announced"}
    assert sorted(one["achievement"] for one in await announced(engine)) == ["clean", "three"]
    found = await export(engine)
    assert [one["event_id"] for one in found["events"]] == [f"again-{n}" for n in range(3)]
    (lifted,) = found["lifted_erasures"]
    assert (lifted["reason"], found["erasure"]) == ("asked to", None)
    (row,) = await engine.rows("SELECT lifted_by, reason, erased_by FROM lifted_erasure")
    assert tuple(row.values()) == ("ada", "asked to", "test")


async def until_forgetful(engine: Engine) -> None:
    """Make the broker forget the ids of announcements soon."""
    client = await nats.connect(engine.settings.nats_url)
    stream = client.jetstream()
    config = (await stream.stream_info(engine.settings.unlock_stream)).config
    await stream.update_stream(config.evolve(duplicate_window=0.1))
    await client.close()


async def forgotten(engine: Engine) -> None:
    """Return once the broker has forgotten the ids of all earlier announcements."""
    client = await nats.connect(engine.settings.nats_url)
    stream, headers = client.jetstream(), {"Nats-Msg-Id": "a-probe"}
    subject = f"{engine.settings.unlock_prefix}.probe"
    await stream.publish(subject, b"", headers=headers)
    with anyio.fail_after(PATIENCE):
        while (await stream.publish(subject, b"", headers=headers)).duplicate:
            pass
    await stream.purge_stream(engine.settings.unlock_stream, subject=subject)
    await client.close()


async def announced(engine: Engine) -> list[dict[str, Any]]:
    client = await nats.connect(engine.settings.nats_url)
    stream, name = client.jetstream(), engine.settings.unlock_stream
    found = (await stream.stream_info(name, subjects_filter=">")).state.subjects or {}
    said = [json.loads((await stream.get_last_msg(name, subject)).data or b"") for subject in found]
    await client.close()
    return said


async def test_only_a_tombstone_whose_erasure_is_announced_is_lifted(engine: Engine) -> None:
    await sent(engine, event(1), event(2))
    with pytest.raises(NoTombstoneError):
        await lift(engine)
    await erase(engine)
    await erase(engine, "u1", "t2")
    with pytest.raises(NotAnnouncedError):
        await lift(engine)
    await engine.drain()
    await lift(engine)
    with pytest.raises(NoTombstoneError):
        await lift(engine)
    # The user of that name in another tenant is erased as before.
    assert [row["tenant_id"] for row in await engine.rows("SELECT tenant_id FROM erasure")] == ["t2"]
    await sent(engine, event(1, id="n1"), event(2, id="n2", tenant="t2"))
    assert [row["tenant_id"] for row in await engine.rows("SELECT tenant_id FROM event")] == ["t1"]
    # Erased again, the next events stay out again.
    await erase(engine)
    await sent(engine, event(3, id="n3"))
    assert await engine.rows("SELECT FROM event") == []


async def test_a_lift_whose_commit_was_not_answered_is_done(engine: Engine) -> None:
    await sent(engine, event(1), event(2))
    await erase(engine)
    await engine.drain()
    async with open_store(engine.settings.database_url) as store:
        again = partial(lift_tombstone, store, "t1", "u1", by="ada", reason="asked to", now=wall_clock())
        await again()
        # The command cannot know that it was done, and tries again.
        await again()
        # That holds for an erasure since, too: the user was erased again by another's word.
        await erase(engine)
        await again()
    assert len(await engine.rows("SELECT FROM erasure")) == 1
    assert len(await engine.rows("SELECT FROM lifted_erasure")) == 1


async def test_a_mirror_forgets_a_user_whose_tombstone_it_never_saw(engine: Engine, tmp_path: Path) -> None:
    await sent(engine, event(1, key=SECRET), event(2, key=SECRET))
    await mirror(engine, tmp_path / "mirror")
    await erase(engine)
    await engine.drain()
    await lift(engine)
    await sent(engine, event(3, id="new"))
    assert (await mirror(engine, tmp_path / "mirror")).erased == 1
    copy = Read(tmp_path / "mirror")
    assert SECRET not in copy.texts()
    assert copy.rows("SELECT count(*) FROM event") == [(1,)]
    assert (await mirror(engine, tmp_path / "mirror")).erased == 0
    assert copy.rows("SELECT count(*) FROM event") == [(1,)]
