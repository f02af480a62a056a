"""The console and the read API on private servers, and links that open them, for `ach demo --keep` and `ach dev`."""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote, urlencode

import anyio

from worker.distribution import install
from worker.local.samples import MOST_TENANTS, newcomers
from worker.probes.http import ListenError
from worker.report import screen
from worker.store import UnavailableError, open_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container

    from anyio.abc import TaskStatus

    from worker.local.samples import Sample
    from worker.settings import Settings
    from worker.store import Store

    Serve = Callable[[int, Callable[[str], None]], Awaitable[None]]

HOST: Final = "127.0.0.1"
CONSOLE_PORT: Final = 8970
API_PORT: Final = 8080
LOOK_SECONDS: Final = 1.0
"""Between two looks for tenants that have come."""
PACKAGES: Final = frozenset({"h11", "jinja2", "jwt", "markupsafe", "starlette", "uvicorn"})


class Console(NamedTuple):
    """A console that runs. The token is behind `#` in its links: browsers keep that part to themselves."""

    address: str
    token: str

    def link(self, path: str = "/", **asked: str) -> str:
        """Return a link that opens a page and logs in."""
        query = f"?{urlencode(asked)}" if asked else ""
        return f"{self.address}{path}{query}#token={self.token}"


def exports(settings: Settings, database_url: str | None = None) -> str:
    """Return lines for another shell: where the servers are, and where `ach` is if the shell would not find it."""
    lines = [f"export NATS_URL={settings.nats_url}", f'export DATABASE_URL="{database_url or settings.database_url}"']
    return "".join(f"  {line}\n" for line in (*lines, *path_lines()))


def path_lines() -> list[str]:
    """Return the line for a shell that would not find `ach`, which is none where it does."""
    program = Path(sys.argv[0]).absolute()
    found = program.name != "ach" or shutil.which("ach") is not None
    return [] if found else [f'export PATH="{program.parent}:$PATH"']


async def show_pages(settings: Settings, *, person: str, stop: anyio.Event) -> None:
    """Serve the console and the API until `stop` is set, and print how to open them.

    Where their packages are missing it says which extra has them, and goes on without. `person` is the name that the
    log of actions has for what is done on the console.
    """
    async with anyio.create_task_group() as pages:
        console: Console | None = await pages.start(_show_console, settings, person, stop)
        if console is not None:
            screen.out().say(f"console: {console.link()}")
        await _show_api(settings, console, stop)


async def _show_console(
    settings: Settings, person: str, stop: anyio.Event, *, task_status: TaskStatus[Console | None]
) -> None:
    try:
        from worker.console.access import Role, access_of_token, fresh_token  # noqa: PLC0415 - an extra
        from worker.console.process import serve_console  # noqa: PLC0415
        from worker.console.web import Door  # noqa: PLC0415
    except ModuleNotFoundError as error:
        _say_missing(error, "the console", "console")
        task_status.started(None)
        return
    token = fresh_token()
    access = access_of_token(token, name=person, role=Role.OPERATOR)

    async def serve(port: int, on_ready: Callable[[str], None]) -> None:
        await serve_console(settings, access, Door(), at=(HOST, port), stop=stop, on_ready=on_ready)

    async with anyio.create_task_group() as tasks:
        address = await tasks.start(_ready_on, CONSOLE_PORT, serve)
        task_status.started(Console(address, token))


async def _show_api(settings: Settings, console: Console | None, stop: anyio.Event) -> None:
    """Serve the API with a key for each tenant that has sent events, and print how to ask for one of its users.

    A key is of one tenant, and a process that serves reads them when it begins: so it begins anew for a newcomer.
    """
    try:
        from worker.serve.access import hash_of, new_key, new_secret  # noqa: PLC0415 - an extra
        from worker.serve.config import Config, Tenant  # noqa: PLC0415
        from worker.serve.process import serve as serve_api  # noqa: PLC0415
    except ModuleNotFoundError as error:
        _say_missing(error, "the API", "serve")
        return
    keys: dict[str, str] = {}
    port, cursor_key = API_PORT, new_secret()
    async with open_store(settings.database_url, connections=1, pooler=settings.pooler) as store:
        fresh = await _newcomers(store, keys)
        while not stop.is_set():
            keys |= {sample.tenant: new_key() for sample in fresh}
            tenants = {name: Tenant(keys=[hash_of(key)]) for name, key in keys.items()}

            async def serve(
                at: int, on_ready: Callable[[str], None], end: anyio.Event, tenants: dict[str, Tenant] = tenants
            ) -> None:
                config = Config(cursor_key=cursor_key, tenants=tenants, host=HOST, port=at, reveal=True)
                await serve_api(settings, config, stop=end, on_ready=on_ready)

            async with anyio.create_task_group() as serving:
                end = anyio.Event()
                address = await serving.start(_ready_on, port, partial(serve, end=end))
                _print_api(address, console, fresh, keys)
                port = int(address.rpartition(":")[2])
                fresh = []
                while not fresh and not stop.is_set():
                    with anyio.move_on_after(LOOK_SECONDS):
                        await stop.wait()
                    fresh = await _newcomers(store, keys)
                end.set()


def _print_api(address: str, console: Console | None, samples: list[Sample], keys: dict[str, str]) -> None:
    out = screen.out()
    if len(samples) == len(keys):  # it has just begun
        out.say(f"API:     {address}")
    if not keys:
        out.say("         its first key comes with the first event of a tenant")
    for tenant, user in samples:
        out.say(f"user {user} of tenant {tenant}:")
        if console is not None:
            out.say(f"  {console.link('/subject', tenant=tenant, id=user)}")
        path = f"/v1/tenants/{quote(tenant, safe='')}/users/{quote(user, safe='')}/achievements"
        out.say(f"  curl -H 'Authorization: Bearer {keys[tenant]}' {address}{path}")
    if samples and len(keys) >= MOST_TENANTS:
        out.say("further tenants get no key here; `ach serve` takes a file with their keys (docs/serve.md)")


async def _newcomers(store: Store, known: Container[str]) -> list[Sample]:
    try:
        return await newcomers(store, known)
    except UnavailableError:  # the next look may find it there
        return []


async def _ready_on(port: int, serve: Serve, *, task_status: TaskStatus[str]) -> None:
    """Serve on a port, or on a free one where that is taken; started with the address once it listens."""
    try:
        await serve(port, task_status.started)
    except ListenError:
        await serve(0, task_status.started)


def _say_missing(error: ModuleNotFoundError, what: str, extra: str) -> None:
    """Say what would show something whose package is missing.

    Raises:
        ModuleNotFoundError: it is none of an extra.
    """
    package = (error.name or "").partition(".")[0]
    if package not in PACKAGES:
        raise error
    screen.err().say(f"{what} is not shown: it needs {package}, which is not installed. {install(extra)}")
