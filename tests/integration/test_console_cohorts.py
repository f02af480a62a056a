"""The page of cohorts: of the latest run, of one's tenants alone, and within bounds."""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest

import sql
from tests.integration.test_console import FILE, TOKENS, client_of
from tests.worker.analysis.worlds import AT, TENANTS, drawn, write
from worker.analysis import kept
from worker.analysis.kept import BUSY, NOTHING, Keeper
from worker.app import wall_clock
from worker.console.access import read_access
from worker.console.app import Console
from worker.console.desk import Desk
from worker.console.sessions import Sessions
from worker.console.web import Door, Entrance
from worker.mirror.manifest import read_manifest, write_manifest
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    import httpx

    from tests.integration.engine import Engine
    from worker.analysis.answers import Answers

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("cohorts") / "mirror", drawn(1))


@asynccontextmanager
async def logged_in(engine: Engine, person: str, cohorts: Keeper | None) -> AsyncGenerator[httpx.AsyncClient]:
    async with open_store(engine.settings.database_url) as store:
        access = read_access(FILE)
        entrance = Entrance(access, Sessions(access), Door())
        console = Console(Desk(store, engine.settings, entrance, now=wall_clock, cohorts=cohorts))
        async with client_of(console) as client:
            await client.post("/login", data={"token": TOKENS[person]})
            yield client


async def test_all_tenants_and_the_age_are_shown(engine: Engine, mirror: Path) -> None:
    async with logged_in(engine, "vera", Keeper(mirror)) as client:
        page = await client.get("/cohorts")
    assert page.status_code == 200
    for said in (
        "run 3 of the mirror",
        "2026-05-16",
        "correlation",
        "o&#39;brien",
        "tiny",
        "(started)",
        'href="/cohorts"',
    ):
        assert said in page.text, said


async def test_a_person_of_one_tenant_sees_nothing_of_others(engine: Engine, mirror: Path) -> None:
    cohorts = Keeper(mirror)
    async with logged_in(engine, "vera", cohorts) as client:
        everything = (await client.get("/cohorts")).text
    # Also after others have asked, whose answers are kept.
    async with logged_in(engine, "ann", cohorts) as client:
        page = (await client.get("/cohorts?tenant=tiny&tenants=tiny")).text
    assert "acme" in page
    assert "brien" not in page
    assert "tiny" not in page
    assert page.count("<tr>") < everything.count("<tr>")
    alone = await Keeper(mirror).of(frozenset({"acme"}))
    users = {
        row[3][0] for part in alone.parts if part.name == "funnel" for row in part.rows if row[1][0] == "(started)"
    }
    assert 50 <= max(int(one) for one in users) <= TENANTS["acme"]


async def test_a_mirror_of_another_tenant_says_nothing_of_it(engine: Engine, tmp_path: Path) -> None:
    folder = write(tmp_path / "mirror", drawn(1), tenant="globex")
    async with logged_in(engine, "ann", Keeper(folder)) as client:
        page = await client.get("/cohorts")
    assert page.status_code == 200
    assert NOTHING in page.text
    assert "globex" not in page.text
    assert str(tmp_path) not in page.text


async def test_without_a_mirror_it_says_so(engine: Engine, tmp_path: Path) -> None:
    async with logged_in(engine, "vera", None) as client:
        assert "start the console with --mirror DIR" in (await client.get("/cohorts")).text
    async with logged_in(engine, "vera", Keeper(tmp_path / "missing")) as client:
        assert "is no mirror: run" in (await client.get("/cohorts")).text


async def test_answers_are_kept_until_the_next_run(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mirror"
    shutil.copytree(mirror, folder)
    cohorts, asked = Keeper(folder), list[object]()
    real = kept.ask

    def counted(*args: object, **more: object) -> Answers:
        asked.append(args)
        return real(*args, **more)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(kept, "ask", counted)
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(cohorts.of, None)
    assert len(asked) == 1
    manifest = read_manifest(folder)
    assert manifest is not None
    manifest.run, manifest.at = 4, AT.isoformat()
    write_manifest(folder, manifest)
    assert (await cohorts.of(None)).run == 4
    assert len(asked) == 2


async def test_many_who_ask_at_once_are_turned_away(mirror: Path) -> None:
    cohorts, said = Keeper(mirror), list[str]()

    async def one(n: int) -> None:
        said.append((await cohorts.of(frozenset({f"t{n % 3}"}))).trouble)

    async with anyio.create_task_group() as tasks:
        for n in range(kept.MOST_WAITING + 5):
            tasks.start_soon(one, n)
    assert said.count(BUSY) == 4
    assert said.count("") == kept.MOST_WAITING + 1


async def test_what_takes_too_long_is_ended(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    views = sql.analysis("views")
    slow = "SELECT sum(a.n % 7) FROM range(6000000000) AS a (n)"

    def analysis(name: str) -> str:
        return views if name == "views" else slow

    monkeypatch.setattr(sql, "analysis", analysis)
    monkeypatch.setattr(kept, "SECONDS", 1)
    assert "took longer than 1 s" in (await Keeper(mirror).of(None)).trouble
