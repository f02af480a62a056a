"""`ach serve`: the read API, live events and the service on NATS; and the keys and tokens that it takes."""

from __future__ import annotations

import json
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from dsl.outcome import Subject
from worker.commands.options import NAMED
from worker.commands.servers import CommandError, on_servers
from worker.distribution import install
from worker.probes.http import ListenError
from worker.process.signals import stop_on_signals
from worker.report import screen
from worker.traces.choice import SERVE, open_spans

try:
    from worker.serve.access import LONGEST_SECONDS, hash_of, new_key, new_secret, sign
    from worker.serve.config import ConfigError, is_open_to_others, load_config
    from worker.serve.openapi import document_text
    from worker.serve.process import serve
except ModuleNotFoundError as missing:
    if missing.name is None or missing.name.partition(".")[0] not in {"h11", "jwt", "starlette", "uvicorn"}:
        raise
    screen.fail(f"`ach serve` needs {missing.name}, which is not installed", install("serve"))
    sys.exit(1)

if TYPE_CHECKING:
    from worker.serve.config import Config
    from worker.settings import Settings

_UNITS: Final = {"s": 1, "m": 60, "h": 3600}


@click.group("serve", invoke_without_command=True)
@click.option(
    "--config",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default="serve.toml",
    show_default=True,
    help="Who may read: tenants, hashes of keys, secrets of tokens, limits (docs/serve.md).",
)
@click.option("--host", help="In place of the file's.")
@click.option("--port", type=click.IntRange(0, 65535), help="In place of the file's.")
@click.option("--health-port", type=click.IntRange(0, 65535), help="For probes and metrics.")
@click.pass_context
def command(context: click.Context, path: Path, host: str | None, port: int | None, health_port: int | None) -> None:
    """Serve achievements to apps and pages: a read API over HTTP with live events, and a service on NATS."""
    context.obj = path
    if context.invoked_subcommand is None:
        changes = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
        config = msgspec.structs.replace(_load(path), **changes)
        on_servers(partial(_serve, config=config, health_port=health_port), as_service=True)


@command.command("key")
@click.option("--tenant", "-t", required=True, type=NAMED, metavar="TENANT", help="Whose key.")
def key(tenant: str) -> None:
    """Make a key for a tenant's servers, and a secret to sign tokens for its users' browsers.

    The file gets the hash of the key; the key itself is printed once, and kept nowhere.
    """
    made = new_key()
    screen.say(
        "# The key, for the tenant's servers alone (it is not shown again):\n"
        f"#   {made}\n"
        "# For the file of `ach serve`, beside what is in use while you rotate:\n"
        f'cursor_key = "{new_secret()}"  # once, at the top; leave it out where there is one\n\n'
        f"[tenants.{_quoted(tenant)}]\n"
        f'keys = ["{hash_of(made)}"]\n'
        f'token_secrets = ["{new_secret()}"]\n'
    )


@command.command("token")
@click.option("--tenant", "-t", required=True, type=NAMED, metavar="TENANT", help="The user's tenant.")
@click.option("--user", "-u", required=True, type=NAMED, metavar="USER", help="The user, or the subject of --scope.")
@click.option("--scope", default="user", show_default=True, metavar="SCOPE", help="Of what is not a user.")
@click.option("--ttl", default="15m", show_default=True, metavar="SPAN", help="How long it lives, 1h at most.")
@click.pass_obj
def token(path: Path, tenant: str, user: str, scope: str, ttl: str) -> None:
    """Print a token for one user's browser, signed with the tenant's secret."""
    known = _load(path).tenants.get(tenant)
    if known is not None and known.public_keys and not known.token_secrets:
        screen.fail(
            f"tenant {tenant} has no token secret in {path}: its application signs tokens, with its private key",
            "docs/serve.md shows how; or give it a secret, too, to try",
        )
        sys.exit(1)
    if known is None or not known.token_secrets:
        screen.fail(f"{path} has no token secret of tenant {tenant}", f"ach serve key --tenant {tenant}")
        sys.exit(1)
    # The newest: while they rotate, that is the last one.
    screen.say(f"{sign(known.token_secrets[-1], Subject(tenant, scope, user), _seconds(ttl))}\n")


@command.command("openapi")
def openapi() -> None:
    """Print the OpenAPI document of the API."""
    screen.hand_on(document_text())


def _seconds(span: str) -> int:
    found = re.fullmatch(r"([0-9]{1,5})([smh])", span)
    seconds = 0 if found is None else int(found[1]) * _UNITS[found[2]]
    if not 1 <= seconds <= LONGEST_SECONDS:
        raise click.UsageError(f"--ttl: expected a span of 1s to 1h, such as 15m, got {span!r}")
    return seconds


def _quoted(name: str) -> str:
    """Return a name as a key of TOML, which is quoted as in JSON."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _load(path: Path) -> Config:
    try:
        config = load_config(path)
    except ConfigError as error:
        screen.fail(str(error))
        sys.exit(1)
    if is_open_to_others(path):
        screen.err().say(f"warning: other accounts may read {path}, which has secrets: chmod 600 {path}")
    return config


async def _serve(settings: Settings, config: Config, health_port: int | None) -> None:
    # What leaves `stop_on_signals` is a group of errors: this one is caught within.
    async with open_spans(os.environ, settings, SERVE) as spans, stop_on_signals() as stop:
        try:
            await serve(settings, config, stop=stop, spans=spans, health_port=health_port)
        except ListenError as error:
            raise CommandError(
                str(error), "set host and port in the file, or --host, --port and --health-port"
            ) from error
