"""What `ach status` and `ach top` show of a snapshot, and how it fits into a terminal."""

from __future__ import annotations

from collections import Counter

import pytest

from worker.console.pulse import Snapshot, Waiting, WorkerSeen
from worker.contract.partition import token
from worker.engine.minutes import LATENCY_BUCKETS, MINUTE, Counts
from worker.report.live import LABEL, drawn
from worker.status.picture import CHART, NOT_YET, Backlog, Line, Sight, as_object, lines

NOW = 1_776_000_000_000_000 // MINUTE * MINUTE + 30_000_000
LATENCY = [0] * (len(LATENCY_BUCKETS) + 1)
LATENCY[4] = 3
AT_WORK = WorkerSeen("app-1", "0.1.0", NOW - 3_700_000_000, NOW - 1_000_000, 4, 2_000, 1, stopped=False)
LOST = AT_WORK._replace(host="app-2", seen_at=NOW - 31_000_000)
OLD = AT_WORK._replace(host="app-3", rules_epoch=3)
ENDED = AT_WORK._replace(host="app-4", stopped=True)
SNAPSHOT = Snapshot(
    at=NOW,
    minutes={
        (NOW // MINUTE * MINUTE - MINUTE, "acme", ""): Counts(events=120, unlocks=3, latency=LATENCY),
        (NOW // MINUTE * MINUTE - 9 * MINUTE, "other", ""): Counts(events=1, duplicates=2, dead=Counter(contract=1)),
    },
    sums={},
    workers=[ENDED, LOST, AT_WORK, OLD],
    outbox={"acme": (2, NOW - 90_000_000)},
    letters=[Waiting("contract", "ac%1Bme", 7, NOW - 60_000_000), Waiting("malformed_json", "", 1, NOW)],
    epoch=4,
    lag=None,
)
SIGHT = Sight(SNAPSHOT, "", Backlog(10, 5, 3.2), "", ["user"])


def text_of(sight: Sight, now: int = NOW) -> str:
    return "\n".join(f"{one.label}|{one.text}" for one in lines(sight, now))


def test_everything_is_shown_the_most_important_first() -> None:
    said = text_of(SIGHT)
    for one in (
        "lag|10 wait, 5 in work, the oldest for 3 s",
        "events|120 in the last minute, 121 in the last hour, 2 copies",
        "unlocks|3 in the last hour; half within 20 ms, 99 % within 20 ms",
        "outbox|2 wait, the oldest for 1 min 30 s",
        "rules|epoch 4",
        "backfill|user not up to date yet",
        "app-1 at work, 0.1.0, up 1 h 1 min, 2,000 messages, 1 retry",
        "app-3 at work, 0.1.0, up 1 h 1 min, 2,000 messages, 1 retry, still on epoch 3",
        "app-2 lost, last seen 31 s ago",
        "app-4 ended, last seen 1 s ago",
        "dead letters|7 contract of ac\\x1bme, the last 1 min 0 s ago",
        "1 malformed_json of no tenant",
        "tenants|acme: 120 events, 3 unlocks in the last hour",
    ):
        assert one in said, said
    assert said.startswith("lag|")
    assert "no answer" not in said


def test_an_idle_deployment_is_calm() -> None:
    quiet = SNAPSHOT._replace(minutes={}, workers=[], outbox={}, letters=[], epoch=0)
    said = text_of(Sight(quiet, "", Backlog(0, 0, None), "", []))
    assert "lag|none" in said
    assert "outbox|empty" in said
    assert "rules|none in force" in said
    assert "dead letters|none wait" in said


def test_servers_that_are_away_are_said_and_the_rest_stays() -> None:
    said = text_of(SIGHT._replace(backlog=None, broker_said="NATS at x: refused"))
    assert "lag|unknown: NATS at x: refused" in said
    assert "outbox|2 wait" in said
    gone = text_of(Sight(None, "PostgreSQL at y: refused", Backlog(1, 0, None), "", []))
    assert gone == "lag|1 wait, 0 in work\ndatabase|PostgreSQL at y: refused"
    assert "database|no answer for 7 s; this is what it said last" in text_of(SIGHT, NOW + 7_000_000)


def test_many_of_a_kind_are_counted() -> None:
    many = SNAPSHOT._replace(workers=[AT_WORK] * 8)
    assert "and 3 more workers" in text_of(SIGHT._replace(snapshot=many))


@pytest.mark.parametrize("width", [20, 59, 60, 80, 200])
def test_lines_fit_and_a_terminal_obeys_nothing_of_them(width: int) -> None:
    rows = lines(SIGHT, NOW)
    shown = drawn(rows, width)
    assert all(one.cell_len <= width for one in shown)
    assert not any("\x1b" in one.plain for one in shown)
    assert len(shown) >= len(rows)


@pytest.mark.parametrize("name", ["x" * 512, "\u7530" * 170, "\x1b" * 512, "\U0001f600" * 128])
def test_a_long_name_hides_no_number(name: str) -> None:
    minute = (NOW // MINUTE * MINUTE - MINUTE, name, "")
    letters = [Waiting("contract", token(name), 7, NOW - 60_000_000)]
    workers = [AT_WORK._replace(host=name)]
    loud = SNAPSHOT._replace(minutes={minute: Counts(events=1, unlocks=1)}, letters=letters, workers=workers)
    shown = "\n".join(one.plain for one in drawn(lines(SIGHT._replace(snapshot=loud), NOW), 93))
    assert ": 1 event, 1 unlock in the last hour" in shown
    assert "the last 1 min 0 s ago" in shown
    assert "up 1 h 1 min, 2,000 messages, 1 retry" in shown


def test_an_error_is_folded_and_keeps_what_to_do() -> None:
    said = "PostgreSQL at postgresql:///ach: the schema of this version is missing: run `ach migrate`"
    gone = drawn(lines(Sight(None, said, None, NOT_YET, []), NOW), 60)
    assert " ".join(one.plain for one in gone).split()[-3:] == ["run", "`ach", "migrate`"]
    assert all(one.cell_len <= 60 for one in gone)
    assert all(one.plain.startswith(" " * LABEL) for one in gone[2:])
    assert [one.style for one in lines(Sight(None, NOT_YET, None, NOT_YET, []), NOW)] == ["dim", "dim"]


def test_a_label_alone_is_bold() -> None:
    (line,) = drawn([Line("lag", "none", "green")], 80)
    assert (line.style, [(line.plain[one.start : one.end].strip(), one.style) for one in line.spans]) == (
        "",
        [("lag", "bold"), ("none", "green")],
    )


def test_what_is_printed_once_is_whole() -> None:
    text = "a" * 30 + " " + "b" * 30 + " end"
    assert [one.plain.strip() for one in drawn([Line("x", text)], 60, whole=True)][-1] == "b" * 30 + " end"
    assert drawn([Line("x", text)], 60)[0].plain.endswith("…")


def test_of_a_chart_the_end_is_kept() -> None:
    assert drawn([Line("", "a" * 59 + "b", CHART)], 30)[0].plain.endswith("b")


def test_the_object_has_the_same_numbers() -> None:
    said = as_object(SIGHT)
    assert said["errors"] == []
    assert said["lag"] == {"pending": 10, "unacknowledged": 5, "oldest_seconds": 3}
    assert said["events"] == {"last_minute": 120, "last_hour": 121, "copies_last_hour": 2}
    assert said["unlocks"] == {"last_hour": 3, "p50_seconds": 0.02, "p99_seconds": 0.02}
    assert said["outbox"] == {"waiting": 2, "oldest_seconds": 90, "tenants": {"acme": 2}}
    assert [one["reason"] for one in said["dead_letters"]] == ["contract", "malformed_json"]
    assert [one["state"] for one in said["workers"]] == ["ended", "lost", "at work", "at work"]
    assert said["rules"] == {"epoch": 4, "building": ["user"]}
    assert as_object(Sight(None, "a", None, "b", [])) == {"errors": ["a", "b"], "lag": None}
