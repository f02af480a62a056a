"""`ach console`: pages about what the engine does, for product and operations."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from worker.process.signals import stop_on_signals
from worker.report import screen
from worker.server_errors import CommandError

if TYPE_CHECKING:
    from pathlib import Path

    from worker.console.access import Access
    from worker.console.web import Door
    from worker.settings import Settings

EXTRA: Final = "pip install 'ach[console]'"
_PACKAGES: Final = frozenset({"jinja2", "markupsafe", "starlette", "uvicorn"})
VARIABLE: Final = "ACH_CONSOLE_TOKEN"
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class Asked(NamedTuple):
    """How the console is to be served.

    `header` is that in which a reverse proxy names persons, from the addresses `proxies`; `names` are further hosts
    under which browsers reach it.
    """

    host: str
    port: int
    persons: Path | None
    header: str | None
    proxies: tuple[str, ...]
    names: tuple[str, ...]
    https: bool


async def console(settings: Settings, asked: Asked) -> None:
    """Serve the console until a signal ends it.

    Raises:
        CommandError: it cannot be served so; the message says why.
    """
    try:
        from worker.console.process import serve_console  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise without_extra(error) from error
    access, fresh = _access(asked)

    def ready(address: str) -> None:
        screen.out().print(f"console: {address}")
        if fresh is not None:
            screen.out().print(f"token:   {fresh}   (new with each start; it only looks)", markup=False)

    async with stop_on_signals() as stop:
        await serve_console(settings, access, _door(asked), at=(asked.host, asked.port), stop=stop, on_ready=ready)


def without_extra(error: ModuleNotFoundError) -> Exception:
    """Return what to raise where a package is missing."""
    if error.name is None or error.name.partition(".")[0] not in _PACKAGES:
        return error
    return CommandError("the console needs packages that are not installed", EXTRA)


def _access(asked: Asked) -> tuple[Access, str | None]:
    """Return who may come in, and the token that was made for this start, where nobody has named any."""
    from worker.console.access import AccessError, access_of_token, fresh_token, read_access  # noqa: PLC0415

    given = os.environ.get(VARIABLE)
    try:
        if asked.persons is not None:
            return read_access(asked.persons.read_text(encoding="utf-8")), None
        if asked.header is not None:
            raise CommandError("--header names persons that --persons has to know", "ach console --help")
        if given:
            return access_of_token(given), None
        if asked.host not in LOOPBACK:
            raise CommandError(
                f"anyone who reaches {asked.host} could try: say who may come in",
                f"--persons FILE, or a token in {VARIABLE}",
            )
        fresh = fresh_token()
        return access_of_token(fresh), fresh
    except AccessError as error:
        where = VARIABLE if asked.persons is None else asked.persons
        raise CommandError(f"{where}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{asked.persons}: {getattr(error, 'strerror', None) or 'it is no UTF-8'}") from error


def _door(asked: Asked) -> Door:
    from worker.console.web import LOOPBACK_NAMES, Door  # noqa: PLC0415

    named = {*LOOPBACK_NAMES, *(name.lower() for name in asked.names), asked.host.lower()}
    # Bound to an address that others reach, it is known by names that only its operator knows: those that are given.
    hosts = None if asked.host not in LOOPBACK and not asked.names else frozenset(named)
    proxies = frozenset(asked.proxies) or Door().proxies
    return Door(header=asked.header, proxies=proxies, hosts=hosts, https=asked.https)


def new_token(name: str) -> None:
    """Print a token for a person, and what the file of persons has of it."""
    from worker.console.access import fresh_token, token_hash  # noqa: PLC0415

    token = fresh_token()
    screen.err().say(f"token of {name}, shown once: {token}")
    screen.out().say(
        f'[[person]]\nname = "{_toml(name)}"\nrole = "viewer"      # or "operator"\n'
        f'token_sha256 = "{token_hash(token)}"\n'
        '# tenants = ["acme"]  # all tenants, where this is left out'
    )


def _toml(text: str) -> str:
    return "".join(one if one.isprintable() and one not in '"\\' else f"\\U{ord(one):08x}" for one in text)
