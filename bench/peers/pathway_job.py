"""Pathway: events from JetStream, a stateful reduce by user, progress and unlocks in PostgreSQL, unlocks announced.

The fold is the one by hand, inside a stateful reducer in Python; within one of Pathway's batches a user's events are
put in order. Runs in an environment of its own.
"""

# Pathway is in its own environment alone, and not in the one that types are checked in.
# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUntypedFunctionDecorator=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false
# pyright: reportCallIssue=false
from __future__ import annotations

import os
import sys
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec
import pathway as pw

from bench.peers.by_hand import Event, State, fold, read, read_state, servers, write_state

COMMIT_MILLISECONDS: Final = 20
"""Between two of Pathway's batches."""
BACKLOG: Final = 5000
"""Events in memory at most; without a bound a backlog is one batch."""


class Kept(msgspec.Struct):
    """What is kept of a user: the state, how many events it is made of, and when each achievement was earned."""

    state: msgspec.Raw
    events: int = 0
    earned: dict[str, str] = {}


_kept = msgspec.json.Decoder(Kept)


def plain(event: Event) -> tuple[str, str, str, str, str]:
    """Return an event as columns."""
    payload = bytes(event.payload).decode()
    return event.event_id, event.user_id, event.event_type, event.occurred_at.isoformat(), payload


@pw.udf
def columns(body: bytes) -> list[tuple[str, str, str, str, str]]:
    """Return the events of a message."""
    return [plain(event) for event in read(body)]


@pw.reducers.stateful_many
def judged(before: str | None, rows: list[tuple[list[Any], int]]) -> str:
    """Fold one more batch of a user's events."""
    kept = Kept(msgspec.Raw(b"{}")) if before is None else _kept.decode(before)
    state = read_state(kept.state) if before is not None else State()
    new = sorted(row for row, count in rows if count > 0)
    for at, name, kind, payload in new:
        event = Event(name, kind, "", datetime.fromisoformat(at), msgspec.Raw(payload.encode()))
        for achievement in fold(state, event):
            kept.earned[achievement] = at
    kept.state = msgspec.Raw(write_state(state))
    kept.events += len(new)
    return msgspec.json.encode(kept).decode()


@pw.udf
def count(kept: str) -> int:
    """Return how many events a user has."""
    return _kept.decode(kept).events


@pw.udf
def unlocks(kept: str) -> list[tuple[str, str]]:
    """Return what a user has earned, and when."""
    return sorted(_kept.decode(kept).earned.items())


def main(per: int, folder: str) -> None:
    """Work for ever, on messages of `per` events; what Pathway needs to go on after a crash is kept in `folder`."""
    nats_url, database_url = servers()
    raw = pw.io.nats.read(
        nats_url,
        "events.>",
        format="raw",
        jetstream_stream_name="EVENTS",
        durable_consumer_name="ach",
        autocommit_duration_ms=COMMIT_MILLISECONDS,
        max_backlog_size=BACKLOG // per,
        name="events",
    )
    each = raw.select(row=columns(pw.this.data)).flatten(pw.this.row)
    each = each.select(
        id_=pw.this.row[0], user_id=pw.this.row[1], kind=pw.this.row[2], at=pw.this.row[3], payload=pw.this.row[4]
    )
    once = each.groupby(pw.this.id_).reduce(
        pw.this.id_,
        user_id=pw.reducers.any(pw.this.user_id),
        kind=pw.reducers.any(pw.this.kind),
        at=pw.reducers.any(pw.this.at),
        payload=pw.reducers.any(pw.this.payload),
    )
    users = once.groupby(pw.this.user_id).reduce(
        pw.this.user_id, kept=judged(pw.this.at, pw.this.id_, pw.this.kind, pw.this.payload)
    )
    progress = users.select(pw.this.user_id, events=count(pw.this.kept), state=pw.this.kept)
    earned = users.select(pw.this.user_id, one=unlocks(pw.this.kept)).flatten(pw.this.one)
    earned = earned.select(pw.this.user_id, achievement=pw.this.one[0], earned_at=pw.this.one[1])
    announced = earned.select(*pw.this, subject="unlocks.acme." + pw.this.user_id + "." + pw.this.achievement)
    pw.io.nats.write(announced, nats_url, announced.subject, jetstream_stream_name="UNLOCKS", name="announcements")
    url = urlsplit(database_url)
    query = parse_qs(url.query)
    where = {"host": query["host"][0], "port": query["port"][0], "user": url.username, "dbname": url.path[1:]}
    pw.io.postgres.write(
        progress, where, "progress", output_table_type="snapshot", primary_key=[progress.user_id], name="progress"
    )
    pw.io.postgres.write(
        earned,
        where,
        "unlock",
        output_table_type="snapshot",
        primary_key=[earned.user_id, earned.achievement],
        name="unlocks",
    )
    pw.run(
        monitoring_level=pw.MonitoringLevel.NONE,
        persistence_config=pw.persistence.Config(pw.persistence.Backend.filesystem(folder)),
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), os.environ["BENCH_SCRATCH"])
