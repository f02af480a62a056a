"""Judgements without servers: what cannot be brought about on a test's own servers, and what is all right."""

from __future__ import annotations

import msgspec
import pytest

from sql.record import Applied
from worker.broker.consumer import enough_pending
from worker.doctor import examine
from worker.doctor.books import BOOKS_CHECKS, SCHEMA_CHECKS
from worker.doctor.consumers import CONSUMER_CHECKS
from worker.doctor.facts import (
    Account,
    Books,
    BooksSeen,
    Cluster,
    ConsumerConfig,
    ConsumerInfo,
    ConsumerSeen,
    DatabaseSeen,
    DatabaseSettings,
    Lacking,
    Letters,
    Limits,
    Peer,
    Role,
    Schema,
    Server,
    Skew,
    StreamConfig,
    StreamInfo,
    StreamSeen,
    StreamState,
)
from worker.doctor.finding import Finding, Level, Unknown, judged
from worker.doctor.gather import UnsafeError, check_names
from worker.doctor.servers import ACCOUNT_CHECKS, CLOCK_CHECKS, DATABASE_CHECKS, SERVER_CHECKS, TABLE_CHECKS
from worker.doctor.streams import STREAM_CHECKS
from worker.settings import Settings

SETTINGS = Settings()
SECOND = 1_000_000_000
NOW = 1_776_000_000_000_000
DATABASE = DatabaseSettings(
    version=180_001,
    in_recovery=False,
    read_only=False,
    encoding="UTF8",
    fsync="on",
    full_page_writes="on",
    synchronous_commit="on",
    standbys="",
    autovacuum="on",
    max_connections=100,
    reserved=3,
    connections=10,
    role="ach",
    database="ach",
    clock=NOW,
)
BOOKS = Books(
    now=NOW,
    waiting=0,
    oldest=None,
    corrections=0,
    corrected=None,
    epoch=3,
    building=[],
    workers=2,
    lost=0,
    letters=[],
    archived_before=None,
    archiving=False,
)


def stream(role: Role = Role.EVENTS, cluster: Cluster = Cluster(), held: int = 0, **changes: object) -> StreamSeen:  # noqa: B008
    config = msgspec.structs.replace(StreamConfig(subjects=(f"{role}.>",)), **changes)
    return StreamSeen(StreamInfo(config, StreamState(messages=held, bytes=held), cluster), role, SETTINGS)


def consumer(*, paused: bool = False, **changes: object) -> ConsumerSeen:
    plain = ConsumerConfig(ack_policy="explicit", ack_wait=30 * SECOND, max_ack_pending=enough_pending(SETTINGS))
    info = ConsumerInfo(msgspec.structs.replace(plain, **changes), paused=paused)
    return ConsumerSeen(info, StreamConfig(num_replicas=3), SETTINGS)


def database(skew: float = 0.0, **changes: object) -> DatabaseSeen:
    return DatabaseSeen(DATABASE._replace(**changes), Skew(skew, 0.01), SETTINGS)


def books(backlog: int = 0, rules: str = "", **changes: object) -> BooksSeen:
    return BooksSeen(BOOKS._replace(**changes), backlog, rules)


def found(findings: list[Finding], check: str) -> Finding:
    return next(one for one in findings if one.check.endswith(f" {check}"))


@pytest.mark.parametrize("role", Role)
def test_a_stream_as_a_worker_makes_it_is_all_right(role: Role) -> None:
    assert {one.level for one in judged("s", STREAM_CHECKS, stream(role))} == {Level.OK}


def test_everything_else_as_it_should_be_is_all_right() -> None:
    findings = [
        *judged("c", CONSUMER_CHECKS, consumer()),
        *judged("d", DATABASE_CHECKS, database()),
        *judged("b", BOOKS_CHECKS, books()),
        *judged("t", TABLE_CHECKS, []),
        *judged("n", SERVER_CHECKS, Server("2.15.1", 1024)),
        *judged("k", CLOCK_CHECKS, Skew(-1.0, 0.1)),
        *judged("a", ACCOUNT_CHECKS, Account(10, Limits(1000))),
        *examine.names(SETTINGS),
        *examine.zones(""),
    ]
    assert {one.level for one in findings} == {Level.OK}
    assert all(one.said and not one.mend for one in findings)


HOME = Cluster("home", "n1", (Peer("n2", current=True), Peer("n3", current=True)))


@pytest.mark.parametrize(
    ("seen", "check", "level", "said", "mend"),
    [
        (stream(cluster=HOME), "replicas", Level.WARNING, "1 replica in cluster home", "--replicas 3"),
        (stream(cluster=HOME, num_replicas=2), "replicas", Level.WARNING, "2 replicas", "--replicas 3"),
        (stream(cluster=HOME, num_replicas=3), "replicas", Level.OK, "3 in cluster home", ""),
        (stream(cluster=Cluster("home")), "replicas", Level.ERROR, "no leader", "nats stream info EVENTS"),
        (
            stream(cluster=Cluster("home", "n1", (Peer("n2", offline=True),)), num_replicas=3),
            *("replicas", Level.WARNING, "n2 is away", "nats server report jetstream"),
        ),
        (stream(storage="memory", num_replicas=3), "storage", Level.WARNING, "all replicas stop", "--replicas 3"),
        (stream(max_msgs=100, discard="new", held=89), "size", Level.OK, "with room", ""),
        (stream(max_bytes=100, discard="new", held=90), "size", Level.ERROR, "90 % of it", "--max-bytes=-1"),
        (stream(max_msgs_per_subject=20_000), "messages per subject", Level.WARNING, "20000", "-subject=-1"),
        (stream(max_age=86_400 * SECOND), "age", Level.OK, "1 d", ""),
    ],
)
def test_streams(seen: StreamSeen, check: str, level: Level, said: str, mend: str) -> None:
    one = found(judged("stream EVENTS", STREAM_CHECKS, seen), check)
    assert (one.level, said in one.said, mend in one.mend) == (level, True, True), one


@pytest.mark.parametrize(
    ("seen", "check", "said", "mend"),
    [
        (consumer(num_replicas=1), "replicas", "replicas are 1, and 3 of the stream", "--replicas 3 --force"),
        (consumer(backoff=(SECOND,)), "ack_wait", "ack_wait is 1 s", "nats consumer rm EVENTS ach --force"),
        (consumer(paused=True), "paused", "no event reaches", "nats consumer resume EVENTS ach --force"),
    ],
)
def test_consumers(seen: ConsumerSeen, check: str, said: str, mend: str) -> None:
    one = found(judged("consumer", CONSUMER_CHECKS, seen), check)
    assert (one.level, said in one.said, mend in one.mend) == (Level.WARNING, True, True), one


@pytest.mark.parametrize(
    ("seen", "check", "level", "said", "mend"),
    [
        (database(version=130_010), "version", Level.ERROR, "13.10: 14 or later", ""),
        (database(in_recovery=True), "writable", Level.ERROR, "hot standby", "pg_promote()"),
        (database(encoding="LATIN1"), "encoding", Level.ERROR, "LATIN1", "--encoding UTF8"),
        (
            database(full_page_writes="off"),
            "fsync",
            Level.ERROR,
            "full_page_writes is off",
            "SET full_page_writes = on",
        ),
        (
            database(synchronous_commit="local", standbys="one"),
            *("synchronous commit", Level.WARNING, "a failover loses", "SET synchronous_commit = on"),
        ),
        (database(synchronous_commit="local"), "synchronous commit", Level.OK, "local", ""),
        (database(connections=90), "connections", Level.WARNING, "a worker takes 8", "SET max_connections = 108"),
        (database(connections=89), "connections", Level.OK, "89 of 100", ""),
        (database(skew=-30), "clock", Level.WARNING, "30 s behind", "timedatectl set-ntp true"),
        (database(skew=61), "clock", Level.ERROR, "61 s ahead of", "timedatectl set-ntp true"),
    ],
)
def test_databases(seen: DatabaseSeen, check: str, level: Level, said: str, mend: str) -> None:
    one = found(judged("postgresql", DATABASE_CHECKS, seen), check)
    assert (one.level, said in one.said, mend in one.mend) == (level, True, True), one


@pytest.mark.parametrize(
    ("seen", "check", "level", "said"),
    [
        (books(epoch=0), "rules", Level.WARNING, "no rules"),
        (books(building=["user"]), "rules", Level.WARNING, "has yet to bring user"),
        (books(rules="x is unknown"), "rules", Level.ERROR, "x is unknown"),
        (books(waiting=1, oldest=NOW - 59_000_000), "outbox", Level.OK, "1 wait to be announced, the oldest for 59 s"),
        (books(waiting=2, oldest=NOW - 61_000_000), "outbox", Level.WARNING, "the broker refuses them"),
        (books(waiting=2, oldest=NOW - 601_000_000), "outbox", Level.ERROR, "the broker refuses them"),
        (books(waiting=2, oldest=NOW - 601_000_000, workers=0), "outbox", Level.WARNING, "no worker is at work"),
        (books(corrections=1, corrected=NOW - 70_000_000), "outbox", Level.WARNING, "1 wait"),
        (books(waiting=10_001, oldest=NOW), "outbox", Level.OK, "more than 10000"),
        (
            books(letters=[Letters("contract", 4), Letters("defect", 1)]),
            "letters",
            Level.WARNING,
            "4 contract, 1 defect",
        ),
        (books(backlog=5, workers=0), "workers", Level.WARNING, "none at work, and 5 messages wait"),
        (books(workers=0), "workers", Level.OK, "none at work"),
        (books(), "archive", Level.OK, "nothing is archived"),
        (books(archived_before=NOW - 400 * 86_400_000_000), "archive", Level.OK, "in the last 400 days"),
        (books(archived_before=NOW, archiving=True), "archive", Level.WARNING, "interrupted"),
        (books(lost=2), "workers", Level.OK, "2 at work, 2 lost in the last day"),
    ],
)
def test_books(seen: BooksSeen, check: str, level: Level, said: str) -> None:
    one = found(judged("engine", BOOKS_CHECKS, seen), check)
    assert (one.level, said in one.said) == (level, True), one


KNOWN = [Applied(1, "tables", "a"), Applied(2, "views", "b")]


@pytest.mark.parametrize(
    ("applied", "level", "said", "mend"),
    [
        (KNOWN, Level.OK, "2 migrations", ""),
        (KNOWN[:1], Level.ERROR, "migration 0002 is missing", "ach migrate"),
        ([], Level.ERROR, "there is no schema", "ach migrate"),
        ([*KNOWN, Applied(3, "more", "c", 3)], Level.ERROR, "0003_more is unknown here", ""),
        ([*KNOWN, Applied(3, "more", "c", 2)], Level.OK, "2 migrations, and 1 of a newer release", ""),
        ([*KNOWN, Applied(3, "more", "c")], Level.ERROR, "0003_more is unknown here", ""),
        ([KNOWN[0], Applied(2, "views", "x")], Level.ERROR, "0002_views was edited", ""),
    ],
)
def test_schemas(applied: list[Applied], level: Level, said: str, mend: str) -> None:
    (one,) = judged("engine", SCHEMA_CHECKS, Schema(applied, KNOWN))
    assert (one.level, said in one.said, one.mend) == (level, True, mend)


def test_rights_are_granted_to_the_role_in_one_statement_a_right() -> None:
    missing = [Lacking("event", "INSERT", '"my role"'), Lacking("unlock", "INSERT", '"my role"')]
    (one,) = judged("engine", TABLE_CHECKS, missing)
    assert one.level is Level.ERROR
    assert one.mend == """psql --username OWNER -c 'GRANT INSERT ON event, unlock TO "my role"'"""


def test_what_is_not_known_is_said_once_with_the_reason() -> None:
    said = judged("stream of events", STREAM_CHECKS, Unknown("NATS is not reached"))
    text = "not checked: NATS is not reached"
    assert said == [Finding("stream of events", Level.NOT_CHECKED, text, "", refuses=False)]


@pytest.mark.parametrize(
    ("changes", "said", "mend"),
    [
        ({"unlock_stream": "EVENTS"}, "share the stream EVENTS", "export ACH_UNLOCK_STREAM=UNLOCKS"),
        ({"input_stream": "UNLOCKS"}, "share the stream UNLOCKS", "export ACH_INPUT_STREAM=EVENTS"),
        ({"unlock_prefix": "events.unlocks"}, "share subjects", "export ACH_UNLOCK_PREFIX=unlocks"),
        ({"input_prefix": "unlocks.in", "input_stream": "LANE"}, "share subjects", "export ACH_INPUT_PREFIX=events"),
    ],
)
def test_one_stream_for_both_is_refused_before_anything_is_made(changes: dict[str, str], said: str, mend: str) -> None:
    settings = msgspec.structs.replace(SETTINGS, **changes)
    (one,) = examine.names(settings)
    assert (one.level, one.refuses, said in one.said, one.mend) == (Level.ERROR, True, True, mend)
    with pytest.raises(UnsafeError, match=said):
        check_names(settings, unsafe=False)
    check_names(settings, unsafe=True)


def test_no_stream_is_to_be_changed_because_a_setting_is_wrong() -> None:
    seen = [
        Finding(f"stream UNLOCKS {what}", Level.ERROR, "", "nats stream edit", refuses=True)
        for what in ("subjects", "other subjects", "storage")
    ]
    assert [one.check for one in examine.without_subjects(seen)] == ["stream UNLOCKS storage"]


def test_old_servers_full_accounts_and_missing_time_zones() -> None:
    assert judged("n", SERVER_CHECKS, Server("2.9.25", 1024))[0].level is Level.WARNING
    (full,) = judged("a", ACCOUNT_CHECKS, Account(95, Limits(100)))
    assert (full.level, "95 %" in full.said) == (Level.WARNING, True)
    assert examine.zones("no tzdata")[0].level is Level.ERROR
