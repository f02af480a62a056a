"""The oracle: whether the engine kept its promise, judged by what was published, the rules, and what the servers hold.

No event lost, no unlock missing, none twice, each announced once, all as the fold has it. `findings` returns what is
wrong in words, nothing where all is well; `expect_promise` raises them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import anyio
import asyncpg
import msgspec
import nats
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from dsl.analyze import verdicts
from dsl.calendar import format_instant
from dsl.event import Event
from dsl.outcome import Outcome, Unlock, digest, run
from tests.reference.evaluator import outcome as slow_outcome
from tests.reference.rule_text import read
from worker.admin.results import read_results
from worker.app import wall_clock
from worker.pipeline.rules_in_force import load_deployed
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from nats.js import JetStreamContext

    from tests.faults.load import Sent
    from worker.admin.results import Stored
    from worker.engine.rule_set import Deployed
    from worker.settings import Settings

HEALING_SECONDS: Final = 30.0
"""After the last fault, until nothing may be left to do."""
LOOK_SECONDS: Final = 0.05
SHOWN: Final = 8
"""Findings of one kind that are listed; the rest is counted."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SLOW_EVENTS: Final = 80
"""Up to so many events the slow reference judges too."""
FETCH: Final = 500
TICK: Final = "the clock"
"""Type of an event that no rule hears: it makes the instant of judging the clock of `settle`."""


class Published(NamedTuple):
    """Something that a producer sent; `acknowledged` tells whether the broker has confirmed it."""

    sent: Sent
    acknowledged: bool = True


class Held(NamedTuple):
    """What the servers hold."""

    ledger: Counter[tuple[str, str]]
    dead: Counter[bytes]
    unlocks: list[dict[str, Any]]
    announced: list[dict[str, Any]]
    corrections: int
    """That are not announced."""
    duplicated_letters: int


def all_acknowledged(sent: Iterable[Sent]) -> list[Published]:
    """Return messages that were all acknowledged."""
    return [Published(one) for one in sent]


async def expect_promise(
    settings: Settings, published: Collection[Published], rules: str, *, tenants: Collection[str] | None = None
) -> None:
    """Fail unless the promise is kept; `rules` is the text in force. Nothing must be left to do: see `settled`.

    `tenants` are those of the engine, where it shares the stream of announcements with others.
    """
    found = await findings(settings, published, rules, tenants=tenants)
    assert not found, "the promise is broken:\n" + "\n".join(f"  {one}" for one in found)


async def findings(
    settings: Settings, published: Collection[Published], rules: str, *, tenants: Collection[str] | None = None
) -> list[str]:
    """Return all that breaks the promise, in words."""
    clock = wall_clock()
    async with open_store(settings.database_url) as store:
        deployed = await load_deployed(store, settings)
        stored = await read_results(store, deployed, clock=clock)
    held = await _held(settings)
    if tenants is not None:
        held = held._replace(announced=[one for one in held.announced if one["tenant_id"] in tenants])
    events = _events(published, held)
    wanted = expected(deployed, events, clock)
    return [
        *_lost(published, held),
        *_granted(wanted, stored),
        *_contested(deployed, wanted, stored),
        *_announced(held),
        *corrected(held.announced, held.unlocks),
        *([f"{held.corrections} corrections not announced"] if held.corrections else []),
        *_states(deployed, wanted, stored),
        *_by_reference(rules, events, clock, stored),
    ]


def expected(deployed: Deployed, events: Iterable[Event], clock: int) -> Outcome:
    """Return what the fold makes of events, at an instant in microseconds."""
    return run(deployed.program, [*events, _tick(clock)])


def _tick(clock: int) -> Event:
    return Event(tenant="", id="", type=TICK, user="", at=clock, offset=0, fields={})


def _events(published: Iterable[Published], held: Held) -> list[Event]:
    """Return the events that have arrived, as their producers meant them."""
    meant = {(one.sent.event.tenant, one.sent.event.id): one.sent.event for one in published if one.sent.event}
    return [event for key, event in meant.items() if key in held.ledger]


# -- events ------------------------------------------------------------------------------------------------------------


def _lost(published: Iterable[Published], held: Held) -> Iterator[str]:
    """Every acknowledged event is in the ledger, all poison among the dead, and nothing else is in either."""
    published = list(published)
    good = {(one.sent.event.tenant, one.sent.event.id): one.sent for one in published if one.sent.event}
    sure = {(one.sent.event.tenant, one.sent.event.id) for one in published if one.acknowledged and one.sent.event}
    poison = {one.sent.body for one in published if one.sent.event is None}
    sure_poison = {one.sent.body for one in published if one.acknowledged and one.sent.event is None}
    yield from _listed("lost: acknowledged and not in the ledger", sure - held.ledger.keys())
    yield from _listed("in the ledger, but never sent", held.ledger.keys() - good.keys())
    yield from _listed("lost: acknowledged poison, and no dead letter", sure_poison - held.dead.keys())
    yield from _listed("a dead letter that is no poison", held.dead.keys() - poison)
    if held.duplicated_letters:
        yield f"dead letters twice: {held.duplicated_letters} messages"


# -- unlocks -----------------------------------------------------------------------------------------------------------


def _granted(wanted: Outcome, stored: Stored) -> Iterator[str]:
    """Return unlocks that differ: by key first, then by version and earned_at."""
    want = {_key(one): one for one in wanted.unlocks}
    have = {_key(one): one for one in stored.unlocks}
    yield from _listed("missing unlock", (want[key] for key in want.keys() - have.keys()))
    yield from _listed("unlock that nothing supports", (have[key] for key in have.keys() - want.keys()))
    moved = [key for key in want.keys() & have.keys() if want[key] != have[key]]
    yield from _listed(
        "unlock with another version or earned_at", ((have[key], "expected", want[key]) for key in moved)
    )
    if len(have) != len(stored.unlocks):
        yield f"unlocks twice in the table: {len(stored.unlocks) - len(have)}"


def _key(one: Unlock) -> tuple[str, ...]:
    return one.tenant_id, one.scope, one.subject, one.achievement, one.tier or "", one.occurrence or ""


def _contested(deployed: Deployed, wanted: Outcome, stored: Stored) -> Iterator[str]:
    """Return contested unlocks that are supported after all, or that nothing may ever contest."""
    supported = {_key(one) for one in wanted.unlocks}
    yield from _listed("contested though supported", (one for one in stored.contested if _key(one) in supported))
    finality = verdicts(deployed.rules)
    versions = [one for each in deployed.rules.achievements.values() for one in each]
    final = {one.name.text for one in versions if finality[one.name.text, one.version].final}
    yield from _listed("contested though final", (one for one in stored.contested if one.achievement in final))


# -- announcements -----------------------------------------------------------------------------------------------------


_SHARED: Final = ("tenant_id", "scope", "subject", "achievement", "tier", "occurrence")


def _announced(held: Held) -> Iterator[str]:
    """Every row granted is announced once, by id and by content, and nothing else is."""
    granted = {str(row["unlock_id"]): row for row in held.unlocks if row["granted_at"] is not None}
    first = [one for one in held.announced if one["revision"] == 1]
    said = {one["unlock_id"]: one for one in first}
    yield from _listed("announced twice by id", _twice(one["unlock_id"] for one in first))
    contents = (tuple(one[name] for name in _SHARED) for one in first)
    yield from _listed("announced twice by content", _twice(contents))
    yield from _listed("granted and not announced", (_shown(granted[key]) for key in granted.keys() - said.keys()))
    yield from _listed("announced and not granted", (_shown(said[key]) for key in said.keys() - granted.keys()))
    for key in said.keys() & granted.keys():
        row, one = granted[key], said[key]
        if any((row[name] or None) != one[name] for name in _SHARED) or (
            one["kind"] == "granted" and msgspec.json.decode(row["reward"]) != one["reward"]
        ):
            yield f"announced {one}, granted {row}"
    unmarked = (_shown(row) for row in granted.values() if row["published_at"] is None)
    yield from _listed("granted and not marked as announced", unmarked)
    yield from _listed("never granted", (_shown(row) for row in held.unlocks if row["granted_at"] is None))


def corrected(announced: Iterable[dict[str, Any]], unlocks: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Tell where a consumer that applies the highest revision of each unlock is wrong, or a revision is amiss.

    `announced` are messages in the order of the stream, `unlocks` rows of the table.
    """
    said: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in announced:
        said[one["unlock_id"]].append(one)
    for key, messages in said.items():
        revisions = [one["revision"] for one in messages]
        if revisions != [*range(1, len(revisions) + 1)]:
            yield f"revisions of {key}: {revisions}"
        if messages[0]["kind"] not in {"granted", "withheld"}:
            yield f"first is said of {key}: {messages[0]}"
    rows = {str(row["unlock_id"]): row for row in unlocks}
    for key, messages in said.items():
        last, row = messages[-1], rows.get(key)
        if row is None:
            if last["kind"] != "erased":
                yield f"gone, and not erased: {last}"
        elif _applied(last) != (applied := _row_applied(row)):
            yield f"a consumer that applies {last} is wrong: {applied}"


def _applied(said: dict[str, Any]) -> tuple[object, ...]:
    """Return the state of an unlock for a consumer that applies a message."""
    names = ("revision", "status", "version", "earned_at", "granted_at", "event_id", "by_hand", "origin", "reward")
    return tuple(said.get(name) for name in names)


def _row_applied(row: dict[str, Any]) -> tuple[object, ...]:
    """Return where an unlock stands by its row."""
    status = "contested" if row["contested_at"] is not None else "granted"
    return (
        row["revision"],
        "revoked" if row["revoked_at"] is not None else status,
        row["version"],
        _instant(row["earned_at"]),
        _instant(row["granted_at"]),
        row["event_id"] or None,
        row["by_hand"],
        row["origin"],
        msgspec.json.decode(row["reward"]),
    )


def _instant(at: datetime | None) -> str | None:
    return None if at is None else format_instant((at - _EPOCH) // timedelta(microseconds=1))


def _twice(things: Iterable[Any]) -> list[Any]:
    return [thing for thing, times in Counter(things).items() if times > 1]


def _shown(row: dict[str, Any]) -> str:
    return " ".join(str(row[name]) for name in ("unlock_id", *_SHARED) if row[name])


# -- progress ----------------------------------------------------------------------------------------------------------


def _states(deployed: Deployed, wanted: Outcome, stored: Stored) -> Iterator[str]:
    """Return subjects whose progress differs, by the digest of each."""
    program = deployed.program
    if stored.digest == digest(program, wanted.unlocks, wanted.states):
        return
    want = {subject: digest(program, [], {subject: state}) for subject, state in wanted.states.items()}
    have = {subject: digest(program, [], {subject: state}) for subject, state in stored.states.items()}
    nothing = digest(program, [], {})
    different = [key for key in want.keys() | have.keys() if want.get(key, nothing) != have.get(key, nothing)]
    yield "the digest differs"
    yield from _listed("progress differs", different)


def _by_reference(rules: str, events: list[Event], clock: int, stored: Stored) -> Iterator[str]:
    """For small streams: what the slow reference grants, which shares no code with the engine."""
    if len(events) > SLOW_EVENTS:
        return
    slow = {
        (
            *one.subject,
            one.achievement,
            one.tier or "",
            one.occurrence or "",
            one.version,
            format_instant(one.earned_at),
        )
        for one in slow_outcome(read(rules), [*events, _tick(clock)]).unlocks
    }
    have = {(*_key(one), one.version, one.earned_at) for one in stored.unlocks}
    yield from _listed("missing, says the reference", slow - have)
    yield from _listed("not earned, says the reference", have - slow)


def _listed(what: str, things: Iterable[object]) -> Iterator[str]:
    things = list(things)
    for thing in sorted(things, key=repr)[:SHOWN]:
        yield f"{what}: {thing}"
    if len(things) > SHOWN:
        yield f"{what}: and {len(things) - SHOWN} more"


# -- what the servers hold ---------------------------------------------------------------------------------------------


async def _held(settings: Settings) -> Held:
    connection = await asyncpg.connect(settings.database_url)
    try:
        ledger = await connection.fetch("SELECT tenant_id, event_id FROM event")
        dead = await connection.fetch("SELECT body FROM dead_letter")
        twice = await connection.fetchval(
            "SELECT count(*) FROM (SELECT FROM dead_letter GROUP BY stream_seq, element HAVING count(*) > 1) AS twice"
        )
        unlocks = [dict(row) for row in await connection.fetch("SELECT * FROM unlock")]
        waiting = await connection.fetchval("SELECT count(*) FROM correction")
    finally:
        await connection.close()
    keys = Counter((row["tenant_id"], row["event_id"]) for row in ledger)
    return Held(
        keys, Counter(row["body"] for row in dead), unlocks, await announcements(settings), int(waiting), int(twice)
    )


async def announcements(settings: Settings) -> list[dict[str, Any]]:
    """Return every announcement that the broker holds, in order, with achievements by their first names."""
    client = await nats.connect(settings.nats_url.split(","))
    try:
        jetstream = client.jetstream(timeout=10)
        found: list[dict[str, Any]] = [
            msgspec.json.decode(one) for one in await _bodies(jetstream, settings.unlock_stream)
        ]
        return [one | {"achievement": one.get("renamed_from", one["achievement"])} for one in found]
    finally:
        await client.close()


async def announced_bodies(settings: Settings) -> list[tuple[str, bytes]]:
    """Return subject and body of every message of the stream of unlocks, in order; what was purged is missing."""
    client = await nats.connect(settings.nats_url.split(","))
    try:
        jetstream, stream = client.jetstream(timeout=10), settings.unlock_stream
        found: list[tuple[str, bytes]] = []
        for seq in range(1, (await jetstream.stream_info(stream)).state.last_seq + 1):
            with suppress(NotFoundError):
                one = await jetstream.get_msg(stream, seq)
                found.append((one.subject or "", one.data or b""))
        return found
    finally:
        await client.close()


async def _bodies(jetstream: JetStreamContext, stream: str) -> list[bytes]:
    state = (await jetstream.stream_info(stream)).state
    if not state.messages:
        return []
    subscription = await jetstream.subscribe(">", stream=stream, ordered_consumer=True)
    try:
        return [(await subscription.next_msg(timeout=HEALING_SECONDS)).data for _ in range(state.messages)]
    finally:
        await subscription.unsubscribe()


# -- healing -----------------------------------------------------------------------------------------------------------


async def settled(settings: Settings, seconds: float = HEALING_SECONDS) -> float:
    """Wait, beside running workers, until nothing is left to do; return the seconds that took.

    Raises:
        AssertionError: it took longer than it may; with what was left.
    """
    began = anyio.current_time()
    left = "unknown"
    with anyio.move_on_after(seconds):
        # Neither the broker nor the database tell when nothing is left: both have to be asked.
        while left:
            left = await _left(settings)
            if left:
                await anyio.sleep(LOOK_SECONDS)
    assert not left, f"after {seconds:.0f} s there was left: {left}"
    return anyio.current_time() - began


async def _unread(jetstream: JetStreamContext, settings: Settings) -> tuple[int, int]:
    """Return how many messages were not delivered yet, and how many are not acknowledged."""
    if settings.group is not None:
        source = (await jetstream.stream_info(settings.input_stream)).state
        queue = (await jetstream.stream_info(f"{settings.input_stream}-{settings.group}")).state
        return source.last_seq - queue.last_seq, queue.messages
    info = await jetstream.consumer_info(settings.input_stream, settings.consumer)
    return info.num_pending or 0, info.num_ack_pending or 0


async def _left(settings: Settings) -> str:
    try:
        client = await nats.connect(settings.nats_url.split(","), connect_timeout=2, max_reconnect_attempts=2)
        try:
            unread = await _unread(client.jetstream(), settings)
        finally:
            await client.close()
        connection = await asyncpg.connect(settings.database_url, timeout=5)
        try:
            unsaid = await connection.fetchval(
                "SELECT (SELECT count(*) FROM unlock WHERE published_at IS NULL) + (SELECT count(*) FROM correction)"
            )
        finally:
            await connection.close()
    except (NatsError, OSError, TimeoutError, asyncpg.PostgresError) as error:
        return f"no answer ({error!r})"
    if any(unread) or unsaid:
        messages = f"{unread[0]} messages, {unread[1]} not acknowledged"
        return f"{messages}, {unsaid} unlocks and corrections not announced"
    return ""
