"""What happens now as lines of text, and as an object. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dsl.calendar import format_instant
from worker.console.now import page_of
from worker.contract.partition import name_of
from worker.engine.minutes import percentile_of
from worker.report.cells import cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.console.now import Page
    from worker.console.pulse import Snapshot, WorkerSeen

NOT_YET: Final = "not read yet"
"""What a server has said before it was asked."""
LISTED: Final = 5
"""Rows of a kind that a screen lists; the others are counted."""
LATE: Final = 60
"""Seconds from which on a wait is worth a colour."""
SILENT: Final = 5
"""Seconds without an answer of the database that are worth a line."""
CHART: Final = "chart"
"""The style of a chart, which is cut at its old end."""
BARS: Final = " ▁▂▃▄▅▆▇█"
NAME_CELLS: Final = 24
"""Of a terminal, that a name of others takes: it may have 512 bytes, and the numbers of its line must be seen."""
_DAY: Final = 86_400
_HOUR: Final = 3600
_MINUTE: Final = 60
_COUNTED: Final = 10_000
"""Unlocks of the outbox that are counted, at most."""


class Backlog(NamedTuple):
    """What waits at the broker."""

    pending: int
    """Messages that no worker has been sent yet."""
    unacknowledged: int
    """Messages that a worker has, and has not acknowledged."""
    oldest: float | None
    """Seconds since the oldest of them was published."""


class Sight(NamedTuple):
    """All that is known at one moment; what a server has not said is None, and beside it stands why."""

    snapshot: Snapshot | None
    database_said: str
    backlog: Backlog | None
    broker_said: str
    building: list[str]
    """Scopes that a backfill has yet to bring up to date."""


class Line(NamedTuple):
    """A line of the screen: a label, a text, and a style of rich, "" for none."""

    label: str
    text: str
    style: str = ""


def lines(sight: Sight, now: int) -> list[Line]:
    """Return what a person reads, the most important first; `now` in microseconds."""
    found = [_lag(sight)]
    if sight.snapshot is None:
        return [*found, Line("database", sight.database_said, _style_of(sight.database_said))]
    behind = (now - sight.snapshot.at) // 1_000_000
    if sight.database_said:
        found.append(Line("database", sight.database_said, "red"))
    elif behind >= SILENT:
        found.append(Line("database", f"no answer for {_span(behind)}; this is what it said last", "red"))
    page = page_of(sight.snapshot)
    found += [*_rates(page), _outbox(page), *_rules(page, sight), *_workers(page), *_letters(sight.snapshot)]
    return [*found, *_tenants(page)]


def _lag(sight: Sight) -> Line:
    backlog = sight.backlog
    if backlog is None:
        return Line("lag", f"unknown: {sight.broker_said}", _style_of(sight.broker_said))
    if not backlog.pending and not backlog.unacknowledged:
        return Line("lag", "none", "green")
    oldest = "" if backlog.oldest is None else f", the oldest for {_span(backlog.oldest)}"
    text = f"{backlog.pending:,} wait, {backlog.unacknowledged:,} in work{oldest}"
    return Line("lag", text, "yellow" if backlog.oldest is not None and backlog.oldest >= LATE else "")


def _style_of(said: str) -> str:
    return "dim" if said == NOT_YET else "red"


def _rates(page: Page) -> list[Line]:
    hour = page.hour
    latency = (percentile_of(hour.latency, 50), percentile_of(hour.latency, 99))
    timed = "" if latency[0] is None else f"; half within {_seconds(latency[0])}, 99 % within {_seconds(latency[1])}"
    duplicates = f", {_number(hour.duplicates, 'copy', 'copies')}" if hour.duplicates else ""
    return [
        Line("events", f"{page.per_minute:,} in the last minute, {hour.events:,} in the last hour{duplicates}"),
        Line("", _chart(page.events), CHART),
        Line("unlocks", f"{hour.unlocks:,} in the last hour{timed}"),
    ]


def _chart(numbers: Sequence[int]) -> str:
    most = max(numbers, default=0)
    if not most:
        return ""
    # What is not nothing is seen, however little it is beside the most.
    return "".join(BARS[0 if not one else max(1, one * (len(BARS) - 1) // most)] for one in numbers)


def _outbox(page: Page) -> Line:
    if not page.outbox or page.outbox_since is None:
        return Line("outbox", "empty", "green")
    age = (page.at - page.outbox_since) / 1_000_000
    number = f"over {_COUNTED:,}" if page.outbox > _COUNTED else f"{page.outbox:,}"
    return Line("outbox", f"{number} wait, the oldest for {_span(age)}", "yellow" if age >= LATE else "")


def _rules(page: Page, sight: Sight) -> list[Line]:
    if not page.epoch:
        return [Line("rules", "none in force", "yellow")]
    found = [Line("rules", f"epoch {page.epoch}")]
    if sight.building:
        found.append(Line("backfill", f"{', '.join(sight.building)} not up to date yet", "yellow"))
    return found


def _workers(page: Page) -> list[Line]:
    if not page.workers:
        return [Line("workers", "none in the last hour", "yellow")]
    order = sorted(page.workers, key=lambda one: (one.stopped, -one.seen_at))
    found = [_worker(one, page, first=number == 0) for number, one in enumerate(order[:LISTED])]
    return [*found, *_others(len(order), "workers")]


def _worker(one: WorkerSeen, page: Page, *, first: bool) -> Line:
    state = one.state(page.at)
    behind = "" if one.rules_epoch == page.epoch or one.stopped else f", still on epoch {one.rules_epoch}"
    retries = f", {_number(one.retries, 'retry', 'retries')}" if one.retries else ""
    since, host = _span((page.at - one.started_at) / 1_000_000), cut(one.host, NAME_CELLS)
    messages = _number(one.messages, "message", "messages")
    text = f"{host} {state}, {one.release}, up {since}, {messages}{retries}{behind}"
    if state != "at work":
        text = f"{host} {state}, last seen {_span((page.at - one.seen_at) / 1_000_000)} ago"
    styles = {"at work": "green", "lost": "red"}
    return Line("workers" if first else "", text, styles.get(state, "dim"))


def _letters(snapshot: Snapshot) -> list[Line]:
    if not snapshot.letters:
        return [Line("dead letters", "none wait", "green")]
    order = sorted(snapshot.letters, key=lambda one: (-one.letters, one.reason, one.tenant_token))
    found = [
        Line(
            "" if number else "dead letters",
            f"{one.letters:,} {one.reason} of {_tenant(one.tenant_token)}, "
            f"the last {_span((snapshot.at - one.last_at) / 1_000_000)} ago",
            "yellow",
        )
        for number, one in enumerate(order[:LISTED])
    ]
    return [*found, *_others(len(order), "kinds")]


def _tenants(page: Page) -> list[Line]:
    busy = [one for one in page.tenants if one.events or one.unlocks]
    found = [
        Line(
            "" if number else "tenants",
            f"{cut(one.tenant or 'unknown', NAME_CELLS)}: {_number(one.events, 'event', 'events')}, "
            f"{_number(one.unlocks, 'unlock', 'unlocks')}{'' if number else ' in the last hour'}",
        )
        for number, one in enumerate(busy[:LISTED])
    ]
    return [*found, *_others(len(busy), "tenants")]


def _others(number: int, what: str) -> list[Line]:
    return [Line("", f"and {number - LISTED} more {what}", "dim")] if number > LISTED else []


def _number(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _tenant(token: str) -> str:
    return cut(name_of(token) or token, NAME_CELLS) if token else "no tenant"


def _span(seconds: float) -> str:
    whole = max(int(seconds), 0)
    for size, unit, smaller, rest in ((_DAY, "d", _HOUR, "h"), (_HOUR, "h", _MINUTE, "min"), (_MINUTE, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller} {rest}"
    return f"{whole} s"


def _seconds(seconds: float | None) -> str:
    if seconds is None or seconds == float("inf"):
        return "over 5 min"
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"


# -- for programs ------------------------------------------------------------------------------------------------------


def as_object(sight: Sight) -> dict[str, Any]:
    """Return the same for a program: instants in RFC 3339, spans in seconds, null where something is not known."""
    backlog = sight.backlog
    found: dict[str, Any] = {
        "errors": [said for said in (sight.database_said, sight.broker_said) if said],
        "lag": None
        if backlog is None
        else {
            "pending": backlog.pending,
            "unacknowledged": backlog.unacknowledged,
            "oldest_seconds": None if backlog.oldest is None else round(backlog.oldest),
        },
    }
    return found if sight.snapshot is None else found | _books(sight.snapshot, sight.building)


def _books(snapshot: Snapshot, building: list[str]) -> dict[str, Any]:
    page = page_of(snapshot)
    hour = page.hour
    since = page.outbox_since
    return {
        "at": format_instant(page.at),
        "events": {"last_minute": page.per_minute, "last_hour": hour.events, "copies_last_hour": hour.duplicates},
        "unlocks": {
            "last_hour": hour.unlocks,
            "p50_seconds": _bounded(percentile_of(hour.latency, 50)),
            "p99_seconds": _bounded(percentile_of(hour.latency, 99)),
        },
        "outbox": {
            "waiting": page.outbox,
            "oldest_seconds": None if since is None else max((page.at - since) // 1_000_000, 0),
            "tenants": {tenant: count for tenant, (count, _) in sorted(snapshot.outbox.items())},
        },
        "dead_letters": [
            {"tenant": name_of(one.tenant_token) if one.tenant_token else None}
            | {"reason": one.reason, "waiting": one.letters, "last_at": format_instant(one.last_at)}
            for one in snapshot.letters
        ],
        "workers": [_worker_object(one, page.at) for one in page.workers],
        "rules": {"epoch": page.epoch, "building": building},
        "tenants": [one._asdict() for one in page.tenants],
    }


def _worker_object(one: WorkerSeen, now: int) -> dict[str, Any]:
    return one._asdict() | {
        "started_at": format_instant(one.started_at),
        "seen_at": format_instant(one.seen_at),
        "state": one.state(now),
    }


def _bounded(seconds: float | None) -> float | None:
    return None if seconds == float("inf") else seconds
