"""Makes what is too large to write by hand in fixtures/streams: the long streams, and the expected results.

    python -m tests.fixtures_make streams [NAME...]
    python -m tests.fixtures_make expected [NAME...]

The streams come out the same every time. `expected` takes the unlocks from the slow reference, and from the engine only
what is about the engine: the counts and the digest. It writes nothing where the two disagree, or where a result that is
there already differs: then a person must decide by the language reference. To accept a new
result, delete the old `unlocks` or `counts`. The lists of dead letters and of contested
grants are made by hand and kept.
"""

from __future__ import annotations

import gzip
import json
import sys
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import zstandard

from dsl.outcome import Unlock
from tests.fixture_library import STREAMS, Dead, Expected, Fixture, by_reference, in_process, stories
from worker.contract.fields import MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

Json = dict[str, Any]

POWER_DAYS: Final = 120
BURST_USERS: Final = 150
OPERATOR_USERS: Final = 6


def event(name: str, kind: str, user: str, tenant: str, at: datetime, payload: Json) -> Json:
    """Return an event as a producer would write it."""
    text = at.isoformat().replace("+00:00", "Z")
    head = {"event_id": name, "event_type": kind, "user_id": user, "tenant_id": tenant, "occurred_at": text}
    return {**head, "payload": payload}


# -- streams -------------------------------------------------------------------------------------------------


def power_user() -> Iterator[Json]:
    """One who learns from early to late, with a day off now and then, and two who look in."""
    chance = Random("power user")  # noqa: S311 - no secret
    number = 0
    for day in range(POWER_DAYS):
        morning = datetime(2025, 1, 6, 6, tzinfo=UTC) + timedelta(days=day)
        if day in (40, 80):
            continue
        at = morning
        for _ in range(chance.randint(12, 36)):
            at += timedelta(seconds=chance.randint(200, 1900))
            number += 1
            failed = chance.random() < 0.02
            yield event(f"p{number:05}", *_lesson(chance, day, "max", at, failed=failed))
        if day % 17 == 0:
            yield event(f"q{day:05}", *_lesson(chance, day, "kim", at, failed=False))
        if day < 9:
            yield event(f"r{day:05}", *_lesson(chance, day, "lee", at, failed=day == 4))


def _lesson(chance: Random, day: int, user: str, at: datetime, *, failed: bool) -> tuple[str, str, str, datetime, Json]:
    if failed:
        return "quiz.failed", user, "academy", at, {}
    payload: Json = {"course_id": f"c{chance.randint(1, 8 + day // 2):03}", "points": chance.randint(1, 9)}
    if chance.random() < 0.5:
        # The tenths of a full mark, as text: no float comes near.
        tenths = chance.randint(300, 999)
        payload["score"] = "100" if number_is_round(day, tenths) else f"{tenths // 10}.{tenths % 10}"
    return "lesson.completed", user, "academy", at, payload


def number_is_round(day: int, tenths: int) -> bool:
    """Tell whether this is one of the rare full marks."""
    return day > POWER_DAYS // 2 and tenths % 100 == 0


def out_of_order() -> Iterator[Json]:
    """Four walkers over six days, in random order."""
    chance = Random("out of order")  # noqa: S311 - no secret
    made: list[Json] = []
    for user, zone in (("ana", "Asia/Tokyo"), ("bo", "America/Lima"), ("cy", "UTC"), ("di", None)):
        begin = datetime(2025, 2, 3, tzinfo=UTC)
        if zone is not None:
            made.append(event(f"{user}-zone", "moved", user, "trail", begin, {"timezone": zone, "level": 1}))
        for number in range(60):
            at = begin + timedelta(minutes=chance.randint(0, 6 * 24 * 60))
            name = f"{user}-{number:02}"
            kind = chance.choices(["step", "slip", "report", "moved"], [75, 10, 13, 2])[0]
            payload: Json = {
                "step": {"n": chance.randint(0, 9), "lane": chance.choice("ab")},
                "slip": {},
                "report": {"key": chance.choice("klm")},
                "moved": {"level": chance.randint(1, 3)},
            }[kind]
            made.append(event(name, kind, user, "trail", at, payload))
    chance.shuffle(made)
    yield from made


def bursts() -> Iterator[Json]:
    """Bursts that fill a window to its end (odd users), or stay a microsecond below (even ones)."""
    for number in range(BURST_USERS):
        user = f"u{number:03}"
        begin = datetime(2025, 3, 1, tzinfo=UTC) + timedelta(days=number % 60, minutes=number)
        shorter = timedelta(microseconds=number % 2 == 0)
        for place, (after, kind, payload) in enumerate(_burst(number, shorter)):
            yield event(f"{user}-{place:02}", kind, user, "range", begin + after, payload)


def _burst(number: int, shorter: timedelta) -> Sequence[tuple[timedelta, str, Json]]:
    """Return one of six kinds of bursts, each with its last event at the edge of a window."""

    def shot(seconds: float, power: int = 1, gun: str = "a") -> tuple[timedelta, str, Json]:
        return timedelta(seconds=seconds), "shot", {"gun": gun, "power": power}

    def at_edge(seconds: int, kind: str, payload: Json) -> tuple[timedelta, str, Json]:
        return timedelta(seconds=seconds) - shorter, kind, payload

    hour, second, ten = 3600, 1, 10
    nothing: Json = {}
    match number // 2 % 6:
        case 0:  # five an hour: a run of fifteen minutes each never does it but for the last
            slow = [shot(900 * i) for i in range(4)]
            return [*slow, at_edge(hour, "shot", {"gun": "a", "power": 1}), shot(2 * hour)]
        case 1:  # a volley: what lies at the begin of the second is needed
            return [shot(0, 30), shot(0.3, 40), at_edge(second, "shot", {"gun": "a", "power": 30})]
        case 2:  # three guns, the first of them fired again too early to help
            early = [shot(0, gun="a"), shot(0, gun="a"), shot(5, gun="b")]
            return [*early, at_edge(ten, "shot", {"gun": "c", "power": 1})]
        case 3:  # a shot, then a hit
            return [shot(0), at_edge(100, "hit", nothing)]
        case 4:  # a strong shot and a hit, in either order
            pair = [(timedelta(0), "hit", nothing), at_edge(120, "shot", {"gun": "a", "power": 60})]
            return pair if number % 4 else [shot(0, 60), at_edge(120, "hit", nothing)]
        case _:  # thirty at one instant, then as many over a second, one of them too many
            at_once = [shot(0) for _ in range(30)]
            spread = [shot(60 + i / 10) for i in range(9)]
            return [
                *at_once,
                *spread,
                (timedelta(seconds=61) - shorter, "shot", {"gun": "a", "power": 1}),
                (timedelta(seconds=70), "reload", nothing),
                *(shot(80 + i) for i in range(20)),
            ]


def operators() -> Iterator[Json]:
    """What chance makes of a fortnight, denser by the day, in zones far apart."""
    chance = Random("operators")  # noqa: S311 - no secret
    zones = ["UTC", "America/St_Johns", "Asia/Kolkata", "Pacific/Kiritimati", "Pacific/Marquesas"]
    begin = datetime(2025, 5, 12, tzinfo=UTC)
    for walker in range(OPERATOR_USERS):
        user, at = f"w{walker}", begin + timedelta(minutes=17 * walker)
        for number in range(55):
            at += timedelta(minutes=chance.choice([5, 20, 40, 90, 240, 400, 700]))
            name = f"{user}-{number:02}"
            if chance.random() < 0.04:
                yield event(name, "home", user, "matrix", at, {"timezone": chance.choice(zones)})
                continue
            kind = chance.choices("abs", [55, 36, 9])[0]
            shown = at + timedelta(minutes=chance.choice([0, 0, 345, -570, 840]))
            payload: Json = {"s": chance.choice("wxyz")}
            if kind != "s":
                payload["n"] = chance.randint(0, 9)
            if kind == "a" and chance.random() < 0.8:
                payload["x"] = f"{chance.randint(-60, 75) / 10}"
            body = event(name, "stop" if kind == "s" else kind, user, "matrix", at, payload)
            minutes = (shown - at) // timedelta(minutes=1)
            offset = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
            yield {**body, "occurred_at": shown.isoformat().replace("+00:00", offset)}


def oversize() -> Iterator[Json | list[Json]]:
    """Uploads around the limit; an array is measured as a whole, so one too long takes its elements with it."""
    begin = datetime(2025, 2, 10, 10, tzinfo=UTC)

    def upload(number: int, length: int) -> Json:
        """Return an event that is `length` bytes as a line of its own."""
        at = begin + timedelta(minutes=number)
        payload: Json = {"bytes": length, "note": ""}
        body = event(f"o{number}", "upload.done", "pat", "depot", at, payload)
        payload["note"] = "n" * (length - len(_line(body)))
        return body

    yield upload(1, 500)
    yield upload(2, MAX_MESSAGE_BYTES + 1)
    yield upload(3, 900_000)
    yield [upload(4, 400_000), upload(5, 400_000), upload(6, 300_000)]
    yield upload(7, 99_500)
    yield [upload(8, 400), upload(9, 600)]


GENERATED: Final[dict[str, tuple[str, Callable[[], Iterator[Json | list[Json]]]]]] = {
    "power_user": ("stream.jsonl.gz", power_user),
    "out_of_order": ("stream.jsonl", out_of_order),
    "bursts": ("stream.jsonl.gz", bursts),
    "operators": ("stream.jsonl", operators),
    "oversize": ("stream.jsonl.zst", oversize),
}


def _line(body: Json | list[Json]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def write_stream(name: str) -> None:
    """Make one of the generated streams."""
    file, make = GENERATED[name]
    text = b"".join(_line(body) + b"\n" for body in make())
    match file.rsplit(".", 1)[1]:
        case "gz":
            text = gzip.compress(text, 9, mtime=0)
        case "zst":
            text = zstandard.ZstdCompressor(19).compress(text)
        case _:
            pass
    (STREAMS / name / file).write_bytes(text)


# -- expected results ----------------------------------------------------------------------------------------


class Disagreement(Exception):  # noqa: N818 - nothing is broken, a person must decide
    """The reference, the engine and what was expected before do not say the same."""


class Before(msgspec.Struct):
    """What stands in `expected.json`, as far as anything does."""

    unlocks: list[Any] | None = None
    contested: list[Unlock] = []
    counts: Json | None = None
    dead: list[Dead] = []


def write_expected(fixture: Fixture) -> None:
    """Write the result of one fixture.

    Raises:
        Disagreement: see above.
    """
    text = fixture.result.read_bytes() if fixture.result.exists() else b"{}"
    before = msgspec.json.decode(text, type=Before)
    granted = by_reference(fixture, before.dead)
    result, _ = in_process(fixture, fixture.lines())
    if granted != result.unlocks:
        differing = set(granted) ^ set(result.unlocks)
        raise Disagreement(f"{fixture.name}: the reference and the engine differ in {sorted(map(str, differing))}")
    if before.unlocks not in (None, msgspec.to_builtins(granted)):
        raise Disagreement(f"{fixture.name}: other unlocks were expected")
    if before.counts not in (None, msgspec.to_builtins(result.counts)):
        raise Disagreement(f"{fixture.name}: other counts were expected, not {result.counts}")
    digest, counts = result.digest, result.counts
    _write(fixture.result, Expected(granted, before.contested, counts=counts, digest=digest, dead=before.dead))


def _write(path: Path, expected: Expected) -> None:
    """Write an entry a line, so that a difference is one."""
    parts: list[str] = []
    for key, value in msgspec.to_builtins(expected).items():
        if key == "dead" and not value:
            continue
        rows = cast("list[object]", value) if isinstance(value, list) else []
        shown = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        shown = f"[\n{shown}\n]" if rows else json.dumps(value)
        parts.append(f"{json.dumps(key)}: {shown}")
    path.write_text("{" + ",\n".join(parts) + "}\n", encoding="utf-8")


def main() -> None:
    """Do what the command line asks for."""
    if len(sys.argv) < 2 or sys.argv[1] not in ("streams", "expected"):
        sys.exit(__doc__)
    wanted = set(sys.argv[2:])
    if sys.argv[1] == "streams":
        for name in GENERATED:
            if not wanted or name in wanted:
                write_stream(name)
        return
    for fixture in stories():
        if not wanted or fixture.name in wanted:
            write_expected(fixture)


if __name__ == "__main__":
    main()
