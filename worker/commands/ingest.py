"""`ach ingest`: events over HTTP, and the keys that send them."""

from __future__ import annotations

import json
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from worker.commands.options import NAMED
from worker.commands.servers import CommandError, on_servers
from worker.distribution import install
from worker.probes.http import ListenError
from worker.process.signals import stop_on_signals
from worker.report import screen
from worker.traces.choice import INGEST, open_spans

try:
    from worker.ingest.config import ConfigError, load_config
    from worker.ingest.openapi import document_text
    from worker.ingest.process import Files, RuleFilesError, ingest
    from worker.serve.access import hash_of, new_key
    from worker.serve.config import is_open_to_others
except ModuleNotFoundError as missing:
    if missing.name is None or missing.name.partition(".")[0] not in {"h11", "jwt", "starlette", "uvicorn"}:
        raise
    screen.fail(f"`ach ingest` needs {missing.name}, which is not installed", install("ingest"))
    sys.exit(1)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.ingest.config import Config
    from worker.settings import Settings


@click.group("ingest", invoke_without_command=True)
@click.option(
    "--config",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default="ingest.toml",
    show_default=True,
    help="Who may send: tenants, hashes of keys, webhooks, limits (docs/ingest.md).",
)
@click.option(
    "--rules",
    multiple=True,
    metavar="PATH",
    type=click.Path(exists=True, path_type=Path),
    help="Rule files to validate events by, in place of the rules in force.",
)
@click.option("--host", help="In place of the file's.")
@click.option("--port", type=click.IntRange(0, 65535), help="In place of the file's.")
@click.option("--health-port", type=click.IntRange(0, 65535), help="For probes and metrics (default: ACH_HEALTH_PORT).")
@click.pass_context
def command(
    context: click.Context,
    *,
    path: Path,
    rules: Sequence[Path],
    host: str | None,
    port: int | None,
    health_port: int | None,
) -> None:
    """Take events over HTTP (our envelope, CloudEvents, webhooks) and publish them to the input stream.

    Answers 202 once the broker has acknowledged every event of a request. Keys are read again when the file changes.
    """
    if context.invoked_subcommand is None:
        changes = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
        config = msgspec.structs.replace(_load(path), **changes)
        work = partial(_ingest, config=config, files=Files(path, rules), health_port=health_port)
        on_servers(work, as_service=True)


@command.command("key")
@click.option("--tenant", "-t", required=True, type=NAMED, metavar="TENANT", help="Whose key.")
@click.option("--validate", is_flag=True, help="A key for tests: its events are held to the rules' contracts.")
def key(tenant: str, *, validate: bool) -> None:
    """Make a key for a tenant's servers.

    The file gets the hash of the key; the key itself is printed once, and kept nowhere.
    """
    made = new_key()
    name = tenant if re.fullmatch(r"[A-Za-z0-9_-]+", tenant) else json.dumps(tenant)
    entry = f'{{ hash = "{hash_of(made)}", validate = true }}' if validate else f'"{hash_of(made)}"'
    screen.say(
        "# The key, for the tenant's servers alone (it is not shown again):\n"
        f"#   {made}\n"
        "# For the file of `ach ingest`; add the hash to the list of a tenant that has keys already:\n"
        f"[tenants.{name}]\n"
        f"keys = [{entry}]\n"
    )


@command.command("openapi")
def openapi() -> None:
    """Print the OpenAPI document of the API."""
    screen.hand_on(document_text())


def _load(path: Path) -> Config:
    try:
        config = load_config(path)
    except ConfigError as error:
        screen.fail(str(error))
        sys.exit(1)
    if config.webhooks and is_open_to_others(path):
        screen.err().say(f"warning: other accounts may read {path}, which has secrets: chmod 600 {path}")
    if not config.tenants and not config.webhooks:
        screen.err().say(f"warning: {path} has no tenant, so nothing can be sent; see ach ingest key --tenant NAME")
    return config


async def _ingest(settings: Settings, *, config: Config, files: Files, health_port: int | None) -> None:
    if health_port is not None:
        settings = msgspec.structs.replace(settings, health_port=health_port)
    # What leaves `stop_on_signals` is a group of errors: these are caught within.
    async with open_spans(os.environ, settings, INGEST) as spans, stop_on_signals() as stop:
        try:
            await ingest(settings, config, files, stop=stop, spans=spans)
        except ListenError as error:
            raise CommandError(str(error), "set host and port in the file, or --host and --port") from error
        except RuleFilesError as error:
            raise CommandError(str(error)) from error
