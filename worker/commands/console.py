"""`ach console`: pages about what the engine does, for product and operations."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from worker.commands.options import PLACE
from worker.commands.places import readable
from worker.commands.servers import CommandError, on_servers
from worker.distribution import install
from worker.probes.http import ListenError
from worker.process.signals import stop_on_signals
from worker.report import screen

try:
    from worker.console.access import AccessError, access_of_token, fresh_token, read_access, token_hash
    from worker.console.process import serve_console
    from worker.console.web import LOOPBACK_NAMES, Door
except ModuleNotFoundError as missing:
    if missing.name is None or missing.name.partition(".")[0] not in {"jinja2", "markupsafe", "starlette", "uvicorn"}:
        raise
    screen.fail(f"`ach console` needs {missing.name}, which is not installed", install("console"))
    sys.exit(1)

if TYPE_CHECKING:
    from worker.analysis.kept import Keeper
    from worker.console.access import Access
    from worker.mirror.copied import Copied
    from worker.mirror.place import Place
    from worker.settings import Settings

VARIABLE: Final = "ACH_CONSOLE_TOKEN"
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
PORT: Final = 8970


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
    mirror: Path | Copied | None


@click.command("console")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where it listens.")
@click.option("--port", default=PORT, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option(
    "--persons",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="TOML: who may come in, with which role and tenants.",
)
@click.option("--header", metavar="NAME", help="Header in which a reverse proxy names the person; no tokens then.")
@click.option(
    "--proxy", "proxies", multiple=True, metavar="ADDRESS", help="Whose --header is believed (default: this machine's)."
)
@click.option("--name", "names", multiple=True, metavar="HOST", help="Host name under which browsers reach it.")
@click.option("--https", is_flag=True, help="Browsers reach it by HTTPS: cookies are for that alone.")
@click.option(
    "--mirror",
    metavar="PLACE",
    type=PLACE,
    help="A mirror (`ach mirror --to PLACE`): the page Cohorts shows its figures.",
)
@click.option("--new-token", metavar="PERSON", help="Print a fresh token and its entry for --persons, and end.")
def command(  # noqa: PLR0913 - its options
    *,
    host: str,
    port: int,
    persons: Path | None,
    header: str | None,
    proxies: tuple[str, ...],
    names: tuple[str, ...],
    https: bool,
    mirror: Place | None,
    new_token: str | None,
) -> None:
    """Serve pages about what the engine does: now, rules, users, dead letters, changes.

    Without --persons it takes a token from ACH_CONSOLE_TOKEN, or makes one, and only looks. See docs/console.md.
    """
    if new_token is not None:
        _print_token(new_token)
        return
    books = None if mirror is None else readable(mirror, waiting=True)
    asked = Asked(host, port, persons, header, proxies, names, https, books)
    on_servers(partial(_serve, asked=asked), as_service=True)


async def _serve(settings: Settings, asked: Asked) -> None:
    """Serve until a signal ends it.

    Raises:
        CommandError: it cannot be served so; the message says why.
    """
    access, fresh = _access(asked)
    cohorts = None if asked.mirror is None else _cohorts(asked.mirror)

    def ready(address: str) -> None:
        print_address(address, fresh)

    async with stop_on_signals() as stop:
        at = asked.host, asked.port
        try:
            await serve_console(settings, access, _door(asked), at=at, stop=stop, on_ready=ready, cohorts=cohorts)
        except ListenError as error:
            raise CommandError(str(error), "choose another one with --port or --host") from error


def print_address(address: str, token: str | None) -> None:
    """Print where the console is, and the token that was made for this start, if one was."""
    screen.out().print(f"console: {address}", markup=False)
    if token is not None:
        screen.out().print(f"token:   {token}   (new with each start; it only looks)", markup=False)
        screen.out().print(f"link:    {address}/#token={token}", markup=False)


def _access(asked: Asked) -> tuple[Access, str | None]:
    """Return who may come in, and the token that was made for this start where no person is named."""
    given = os.environ.get(VARIABLE)
    try:
        if asked.persons is not None:
            return read_access(asked.persons.read_text(encoding="utf-8")), None
        if asked.header is not None:
            raise CommandError("--header names persons, and --persons has to say what they may do", "docs/console.md")
        if given:
            return access_of_token(given), None
    except AccessError as error:
        raise CommandError(f"{VARIABLE if asked.persons is None else asked.persons}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = f"{asked.persons}: {getattr(error, 'strerror', None) or 'it is not UTF-8'}"
        raise CommandError(reason, "`ach console --new-token NAME` prints an entry for this file") from error
    if asked.host not in LOOPBACK:
        reason = f"{asked.host} can be reached by others: say who may come in"
        raise CommandError(reason, f"--persons FILE, or a token in {VARIABLE}")
    fresh = fresh_token()
    return access_of_token(fresh), fresh


def _cohorts(mirror: Path | Copied) -> Keeper:
    """Return what answers from a mirror.

    Raises:
        CommandError: the extra for it is not installed.
    """
    try:
        from worker.analysis.kept import Keeper  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        if error.name != "duckdb":
            raise
        raise CommandError("--mirror needs duckdb, which is not installed", install("analytics")) from error
    return Keeper(mirror)


def _door(asked: Asked) -> Door:
    named = {*LOOPBACK_NAMES, *(name.lower() for name in asked.names), asked.host.lower()}
    # On an address that others reach, its names are known to its operator alone: those that are given, or any.
    hosts = None if asked.host not in LOOPBACK and not asked.names else frozenset(named)
    proxies = frozenset(asked.proxies) or Door().proxies
    return Door(header=asked.header, proxies=proxies, hosts=hosts, https=asked.https)


def _print_token(name: str) -> None:
    """Print a token for a person, and what the file of persons has of it."""
    token = fresh_token()
    screen.err().say(f"token of {name}, shown once: {token}")
    screen.say(f'[[person]]\nname = "{_quoted(name)}"\nrole = "viewer"      # or "operator"\n')
    screen.say(f'token_sha256 = "{token_hash(token)}"\n# tenants = ["acme"]  # all tenants, where this is left out\n')


def _quoted(text: str) -> str:
    """Return text as it stands between the quotes of a TOML string."""
    return "".join(one if one.isprintable() and one not in '"\\' else f"\\U{ord(one):08x}" for one in text)
