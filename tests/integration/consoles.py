"""Consoles in this process, for tests to ask: the persons who may come in, and clients that have logged in."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx

from tests.integration.console_world import TENANT
from worker.app import wall_clock
from worker.console.access import read_access, token_hash
from worker.console.app import Console
from worker.console.desk import Desk
from worker.console.sessions import Sessions
from worker.console.web import Door, Entrance
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from tests.integration.engine import Engine

TOKENS = {"ada": "operator-token-of-ada", "vera": "viewer-token-of-vera", "ann": "tenant-token-of-acme"}
FILE = f"""
[[person]]
name = "ada"
role = "operator"
token_sha256 = "{token_hash(TOKENS["ada"])}"
[[person]]
name = "vera"
token_sha256 = "{token_hash(TOKENS["vera"])}"
[[person]]
name = "ann"
role = "operator"
tenants = ["{TENANT}"]
token_sha256 = "{token_hash(TOKENS["ann"])}"
[[person]]
name = "*"
tenants = ["{TENANT}"]
"""
BASE = "http://127.0.0.1"


@asynccontextmanager
async def console_on(
    engine: Engine, door: Door | None = None, *, lag: Callable[[], int | None] = lambda: None
) -> AsyncGenerator[Console]:
    async with open_store(engine.settings.database_url) as store:
        access = read_access(FILE)
        entrance = Entrance(access, Sessions(access), door or Door())
        yield Console(Desk(store, engine.settings, entrance, now=wall_clock, lag=lag))


def client_of(console: Console, **options: object) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(console.app(), client=("127.0.0.1", 5))
    return httpx.AsyncClient(transport=transport, base_url=BASE, **options)  # pyright: ignore[reportArgumentType]


@asynccontextmanager
async def logged_in(engine: Engine, person: str) -> AsyncGenerator[httpx.AsyncClient]:
    async with console_on(engine) as console, client_of(console) as client:
        answer = await client.post("/login", data={"token": TOKENS[person]})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        yield client
