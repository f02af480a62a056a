"""`ach notify`: webhooks and messages about unlocks.

What does the work is imported by the commands themselves: it needs an extra, and the help does not.
"""

from __future__ import annotations

import os
import sys
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from worker.broker.client import BrokerClient
    from worker.broker.durable import ConsumerState
    from worker.notify.delivery_log import Listed
    from worker.notify.endpoints import Endpoint
    from worker.settings import Settings

T = TypeVar("T")

CONNECT_SECONDS: Final = 5
_EXTRA: Final = {"httpx": "notify", "apprise": "apprise"}

_config_option = click.option(
    "--config",
    "-c",
    type=click.Path(dir_okay=False, path_type=Path),
    default="notify.toml",
    show_default=True,
    envvar="ACH_NOTIFY_CONFIG",
    help="File of endpoints (ACH_NOTIFY_CONFIG).",
)
_endpoint_argument = click.argument("endpoint", metavar="ENDPOINT")


@click.group("notify")
def command() -> None:
    """Send webhooks, e-mail and chat messages about unlocks, and see what became of them (docs/notify.md)."""


@command.command("run")
@_config_option
@click.option("--health-port", type=click.IntRange(0, 65535), help="For probes and metrics (default: ACH_HEALTH_PORT).")
def run_command(config: Path, health_port: int | None) -> None:
    """Deliver announcements of unlocks to the endpoints of a file, until a signal stops it.

    Each endpoint has a durable consumer of its own: it begins with what is announced after its first start, and goes on
    where it was after every other. SIGTERM or Ctrl-C: deliveries under way are finished.
    """
    endpoints = _endpoints(config)

    async def work(settings: Settings) -> None:
        import msgspec  # noqa: PLC0415

        from worker.notify.service import ExtraMissingError, run  # noqa: PLC0415
        from worker.process.signals import stop_on_signals  # noqa: PLC0415
        from worker.server_errors import CommandError  # noqa: PLC0415

        if health_port is not None:
            settings = msgspec.structs.replace(settings, health_port=health_port)
        try:
            async with stop_on_signals() as stop:
                await run(settings, endpoints, stop=stop)
        except ExtraMissingError as error:
            raise CommandError(str(error)) from error

    _on_servers(work, loud=True)


@command.command("check")
@click.argument("file", metavar="[FILE]", required=False, type=click.Path(dir_okay=False, path_type=Path))
@_config_option
def check_command(file: Path | None, config: Path) -> None:
    """Check a file of endpoints, with the secrets that it names; nothing is sent."""
    from worker.report import screen  # noqa: PLC0415

    endpoints = _endpoints(file or config)
    rows = [(one.name, _place(one), _wanted(one)) for one in endpoints]
    screen.table(screen.plural(len(rows), "endpoint"), ["endpoint", "to", "wants"], rows)


@command.command("list")
@_config_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_command(config: Path, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """List endpoints with their state: what waits, what is tried again, since when they fail, why they are disabled."""
    endpoints = _endpoints(config)
    _on_servers(partial(_list, endpoints=endpoints, as_json=as_json))


@command.command("test")
@_endpoint_argument
@_config_option
def test_command(endpoint: str, config: Path) -> None:
    """Send a signed sample to an endpoint: type `unlock.test`, an id that begins with `test_`."""
    from worker.process.loop import run_async  # noqa: PLC0415
    from worker.report import screen  # noqa: PLC0415

    one = _named(_endpoints(config), endpoint)
    from worker.notify.control import try_out  # noqa: PLC0415
    from worker.notify.schedule import Outcome  # noqa: PLC0415
    from worker.notify.service import ExtraMissingError  # noqa: PLC0415

    try:
        delivery, attempt = run_async(partial(try_out, one))
    except ExtraMissingError as error:
        screen.fail(str(error))
        sys.exit(1)
    status = "" if attempt.status is None else f"HTTP {attempt.status} "
    if attempt.outcome is not Outcome.DELIVERED:
        screen.fail(f"{endpoint} did not take it: {status}{attempt.detail}".rstrip())
        sys.exit(1)
    screen.out().say(f"{endpoint} took {delivery.id} {status}".rstrip())


@command.command("replay")
@_endpoint_argument
@click.option("--since", required=True, metavar="INSTANT", help="What was announced then or later.")
@_config_option
def replay_command(endpoint: str, since: str, config: Path) -> None:
    """Send again what was announced since an instant and the endpoint wants, in its order, with the ids of then.

    A receiver that keeps ids takes nothing twice. It stops at the first that cannot be delivered, and prints from where
    to go on.
    """
    from dsl.payload import instant  # noqa: PLC0415

    moment = instant(since)
    if moment is None:
        raise click.UsageError(f"--since: {since!r} is no RFC 3339 instant, such as 2026-05-01T00:00:00Z")
    one = _named(_endpoints(config), endpoint)
    _on_servers(partial(_replay, endpoint=one, since=moment[0]))


@command.command("enable")
@_endpoint_argument
@_config_option
def enable_command(endpoint: str, config: Path) -> None:
    """Enable an endpoint that was disabled; what waits is delivered when its next attempt is due."""
    one = _named(_endpoints(config), endpoint)
    _on_servers(partial(_enable, endpoint=one))


@command.command("deliveries")
@click.option("--endpoint", "-e", metavar="ENDPOINT", help="Only to this one.")
@click.option("--outcome", type=click.Choice(["delivered", "failed", "aborted", "gone", "refused"]), help="Only these.")
@click.option("--id", "webhook_id", metavar="ID", help="Only of this webhook-id.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(min=1))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def deliveries_command(
    endpoint: str | None,
    outcome: str | None,
    webhook_id: str | None,
    limit: int,
    as_json: bool,  # noqa: FBT001 - click passes flags by name
) -> None:
    """List attempts of the last 30 days, newest first."""

    async def work(settings: Settings) -> None:
        from worker.notify.delivery_log import list_deliveries  # noqa: PLC0415
        from worker.report import screen  # noqa: PLC0415
        from worker.server_errors import patiently  # noqa: PLC0415

        found = await patiently(
            settings,
            lambda store: list_deliveries(
                store, endpoint=endpoint, outcome=outcome, webhook_id=webhook_id, limit=limit
            ),
        )
        if as_json:
            screen.say_json([_as_json(row) for row in found])
        else:
            _print_deliveries(found)

    _on_servers(work)


# -- what they do ------------------------------------------------------------------------------------------------------


def _endpoints(path: Path) -> tuple[Endpoint, ...]:
    """Read the file of endpoints; print what is wrong with it and end the command."""
    from worker.report import screen  # noqa: PLC0415

    try:
        from worker.notify import http_client  # noqa: PLC0415
        from worker.notify.endpoints import EndpointsError, read_endpoints  # noqa: PLC0415
    except ModuleNotFoundError as error:
        extra = _EXTRA.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        screen.fail(f"`ach notify` needs {error.name}, which is not installed", f"pip install 'ach[{extra}]'")
        sys.exit(1)
    del http_client
    try:
        return read_endpoints(path, os.environ)
    except EndpointsError as error:
        screen.fail(str(error))
        sys.exit(1)


def _named(endpoints: Sequence[Endpoint], name: str) -> Endpoint:
    for one in endpoints:
        if one.name == name:
            return one
    raise click.UsageError(f"no endpoint {name!r}; the file has {', '.join(one.name for one in endpoints)}")


@asynccontextmanager
async def _client(settings: Settings) -> AsyncGenerator[Callable[[], BrokerClient]]:
    from worker.broker.errors import OUT_OF_REACH, BrokerAwayError, in_words  # noqa: PLC0415
    from worker.broker.once import connected_once  # noqa: PLC0415

    try:
        async with connected_once(settings, seconds=CONNECT_SECONDS) as client:
            yield lambda: client
    except OUT_OF_REACH as error:
        raise BrokerAwayError(in_words(error)) from error


async def _list(settings: Settings, *, endpoints: Sequence[Endpoint], as_json: bool) -> None:
    from worker.notify.control import states  # noqa: PLC0415
    from worker.report import screen  # noqa: PLC0415

    async with _client(settings) as client:
        found = await states(client, settings, endpoints)
    rows = [(one, *_state(state), state) for one, state in zip(endpoints, found, strict=True)]
    if as_json:
        screen.say_json(
            [
                {
                    "endpoint": one.name,
                    "to": _place(one),
                    "state": word,
                    "detail": detail,
                    "waiting": None if state is None else state.waiting,
                    "retrying": None if state is None else state.unacknowledged,
                }
                for one, word, detail, state in rows
            ]
        )
        return
    table = [
        (
            one.name,
            _place(one),
            word,
            "" if state is None else f"{state.waiting:,}",
            "" if state is None else f"{state.unacknowledged:,}",
            detail,
        )
        for one, word, detail, state in rows
    ]
    columns = ["endpoint", "to", "state", "waiting", "retrying", "detail"]
    screen.table(screen.plural(len(table), "endpoint"), columns, table, right=range(3, 5))


def _state(state: ConsumerState | None) -> tuple[str, str]:
    """Return the state of an endpoint in a word, and in detail."""
    from worker.notify.health import DISABLED, FAILING  # noqa: PLC0415

    if state is None:
        return "new", "no notifier has served it yet"
    if DISABLED in state.metadata:
        return "disabled", state.metadata[DISABLED]
    if FAILING in state.metadata:
        return "failing", f"since {state.metadata[FAILING]}"
    return "enabled", ""


async def _replay(settings: Settings, *, endpoint: Endpoint, since: int) -> None:
    from dsl.calendar import format_instant  # noqa: PLC0415
    from worker.notify.control import replay  # noqa: PLC0415
    from worker.report import screen  # noqa: PLC0415
    from worker.server_errors import CommandError  # noqa: PLC0415

    async with _client(settings) as client:
        with screen.progress("delivering") as move:
            done = await replay(client, settings, endpoint, since, on_progress=lambda: move(1, ""))
    screen.out().say(
        f"delivered {done.delivered:,}; {done.aborted:,} refused by the receiver for good; "
        f"{done.passed_over:,} that the endpoint does not want"
    )
    if done.failed:
        go_on = format_instant(done.last or since)
        raise CommandError(f"stopped: {done.detail}", f"ach notify replay {endpoint.name} --since {go_on}")


async def _enable(settings: Settings, *, endpoint: Endpoint) -> None:
    from worker.notify.control import enable  # noqa: PLC0415
    from worker.report import screen  # noqa: PLC0415

    async with _client(settings) as client:
        was_disabled = await enable(client, settings, endpoint.name)
    screen.out().say(f"{endpoint.name} is enabled" if was_disabled else f"{endpoint.name} was not disabled")
    if was_disabled:
        screen.out().say(f"to send at once what waits: ach notify replay {endpoint.name} --since INSTANT")


def _place(endpoint: Endpoint) -> str:
    """Return where an endpoint is, fit for a screen."""
    from worker.notify.endpoints import WebhookTarget  # noqa: PLC0415
    from worker.urls import shown_place  # noqa: PLC0415

    if isinstance(endpoint.target, WebhookTarget):
        return shown_place(endpoint.target.url)
    resolver = endpoint.target.resolver
    return "apprise" if resolver is None else f"apprise, addresses from {shown_place(resolver)}"


def _wanted(endpoint: Endpoint) -> str:
    wanted = endpoint.wanted
    parts = [
        " ".join(sorted(wanted.kinds)),
        f"origin {' '.join(sorted(wanted.origins))}",
        "" if wanted.tenants is None else f"tenant {' '.join(sorted(wanted.tenants))}",
        "" if wanted.achievements is None else f"achievement {' '.join(sorted(wanted.achievements))}",
    ]
    return "; ".join(part for part in parts if part)


def _print_deliveries(found: Sequence[Listed]) -> None:
    from dsl.calendar import format_instant  # noqa: PLC0415
    from worker.report import screen  # noqa: PLC0415

    rows = [
        (
            format_instant(row.attempted_at)[:19],
            row.endpoint,
            row.webhook_id,
            row.type,
            "" if row.subject is None else f"{row.tenant_id} {row.subject}",
            row.attempt,
            row.outcome,
            row.status or "",
            f"{row.latency_ms} ms",
            row.detail,
        )
        for row in found
    ]
    columns = ["at", "endpoint", "webhook id", "type", "subject", "attempt", "outcome", "status", "took", "detail"]
    screen.table(screen.plural(len(rows), "attempt"), columns, rows, ids=[2], right=[5, 7, 8])


def _as_json(row: Listed) -> dict[str, object]:
    from dsl.calendar import format_instant  # noqa: PLC0415

    return {**row._asdict(), "attempted_at": format_instant(row.attempted_at)}


def _on_servers(work: Callable[[Settings], Awaitable[T]], *, loud: bool = False) -> T:
    """Return what a command does on the servers of the environment; print why it fails, and end it."""
    from worker import server_errors  # noqa: PLC0415
    from worker.process import logs  # noqa: PLC0415
    from worker.process.loop import run_async  # noqa: PLC0415
    from worker.process.signals import ImpatientError  # noqa: PLC0415
    from worker.report import screen  # noqa: PLC0415
    from worker.settings import SettingsError, read_settings  # noqa: PLC0415

    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    if loud:
        logs.configure(settings.log_format)
    else:
        logs.quiet()
    try:
        with server_errors.told(settings):
            return run_async(partial(work, settings))
    except server_errors.CommandError as error:
        screen.fail(str(error), error.hint)
        sys.exit(1)
    except (ImpatientError, KeyboardInterrupt):
        sys.exit(130)
