"""`ach serve`: the read API, live events and the service on NATS; and the keys and tokens that it takes."""

from __future__ import annotations

import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from worker.serve.config import Config
    from worker.settings import Settings

EXTRA: Final = frozenset({"h11", "jwt", "starlette", "uvicorn"})
_UNITS: Final = {"s": 1, "m": 60, "h": 3600}
_config_option = click.option(
    "--config",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default="serve.toml",
    show_default=True,
    envvar="ACH_SERVE_CONFIG",
    help="Who may read: tenants, hashes of keys, secrets of tokens, limits (docs/serve.md).",
)


@click.group("serve", invoke_without_command=True)
@_config_option
@click.option("--host", help="In place of the file's.")
@click.option("--port", type=click.IntRange(0, 65535), help="In place of the file's.")
@click.pass_context
def command(context: click.Context, path: Path, host: str | None, port: int | None) -> None:
    """Serve achievements to apps and pages: a read API over HTTP with live events, and a service on NATS."""
    context.obj = path
    if context.invoked_subcommand is not None:
        return
    import msgspec  # noqa: PLC0415

    changes = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    config = msgspec.structs.replace(_load(path), **changes)
    _run(config)


@command.command("key")
@click.option("--tenant", "-t", required=True, metavar="TENANT", help="Whose key.")
def key(tenant: str) -> None:
    """Make a key for a tenant's servers, and a secret to sign tokens for its users' browsers.

    The file gets the hash of the key; the key itself is printed once, and kept nowhere.
    """
    access = _access()
    made, secret = access.new_key(), access.new_secret()
    click.echo("The key, for the tenant's servers alone (this is the only time that it is shown):\n")
    click.echo(f"  {made}\n")
    click.echo("For the file of `ach serve` (beside one that is in use, while you rotate):\n")
    click.echo(f'  cursor_key = "{access.new_secret()}"  # once, at the top, if there is none yet\n')
    click.echo(f"  [tenants.{_quoted(tenant)}]")
    click.echo(f'  keys = ["{access.hash_of(made)}"]')
    click.echo(f'  token_secrets = ["{secret}"]')


@command.command("token")
@click.option("--tenant", "-t", required=True, metavar="TENANT", help="The user's tenant.")
@click.option("--user", "-u", required=True, metavar="USER", help="The user, or the subject of --scope.")
@click.option("--scope", default="user", show_default=True, metavar="SCOPE", help="Of what is not a user.")
@click.option("--ttl", default="15m", show_default=True, metavar="SPAN", help="How long it lives, 1h at most.")
@click.pass_obj
def token(path: Path, tenant: str, user: str, scope: str, ttl: str) -> None:
    """Print a token for one user's browser, signed with the tenant's secret."""
    from dsl.outcome import Subject  # noqa: PLC0415
    from worker.report import screen  # noqa: PLC0415

    access, config = _access(), _load(path)
    known = config.tenants.get(tenant)
    if known is None or not known.token_secrets:
        screen.fail(f"{path} has no token secret of tenant {tenant}", f"ach serve key --tenant {tenant}")
        sys.exit(1)
    seconds = _seconds(ttl, access.LONGEST_SECONDS)
    # The newest one: the last in the list.
    click.echo(access.sign(known.token_secrets[-1], Subject(tenant, scope, user), seconds))


@command.command("openapi")
def openapi() -> None:
    """Print the OpenAPI document of the API."""
    _access()
    from worker.serve.openapi import document_text  # noqa: PLC0415

    click.echo(document_text(), nl=False)


def _seconds(span: str, most: int) -> int:
    found = re.fullmatch(r"([0-9]{1,5})([smh])", span)
    seconds = 0 if found is None else int(found[1]) * _UNITS[found[2]]
    if not 1 <= seconds <= most:
        raise click.UsageError(f"--ttl: expected a span of 1s to 1h, such as 15m, got {span!r}")
    return seconds


def _quoted(name: str) -> str:
    """Return a name as a key of TOML."""
    if re.fullmatch(r"[A-Za-z0-9_-]+", name):
        return name
    import json  # noqa: PLC0415

    return json.dumps(name).replace("\x7f", "\\u007f")


def _access():  # noqa: ANN202 - the module
    try:
        from worker.serve import access  # noqa: PLC0415
    except ModuleNotFoundError as error:
        _say_missing(error)
        raise
    return access


def _load(path: Path) -> Config:
    from worker.report import screen  # noqa: PLC0415
    from worker.serve.config import ConfigError, is_open_to_others, load_config  # noqa: PLC0415

    try:
        config = load_config(path)
    except ConfigError as error:
        screen.fail(str(error))
        sys.exit(1)
    if is_open_to_others(path):
        screen.err().say(f"warning: other accounts may read {path}, which has secrets: chmod 600 {path}")
    return config


def _run(config: Config) -> None:
    _access()
    _operate(partial(_serve, config=config))


async def _serve(settings: Settings, config: Config) -> None:
    from worker.process.signals import stop_on_signals  # noqa: PLC0415
    from worker.serve.process import serve  # noqa: PLC0415

    async with stop_on_signals() as stop:
        await serve(settings, config, stop=stop)


def _operate(work) -> None:  # noqa: ANN001
    from worker import cli  # noqa: PLC0415

    os.environ.pop("ACH_SERVE_CONFIG", None)
    cli.operate(work, loud=True)


def _say_missing(error: ModuleNotFoundError) -> None:
    """Say which extra is missing, and end; return where something else is."""
    from worker.report import screen  # noqa: PLC0415

    if error.name is not None and error.name.partition(".")[0] in EXTRA:
        screen.fail(f"`ach serve` needs {error.name}, which is not installed", "pip install 'ach[serve]'")
        sys.exit(1)
