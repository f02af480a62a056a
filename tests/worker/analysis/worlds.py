"""Small worlds, drawn: rows of all layers, and the mirror that holds them."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from worker.mirror.duck import Bounds, open_duck, parquet_options, quoted, read_csv
from worker.mirror.intake import csv_row
from worker.mirror.layout import LAYERS
from worker.mirror.manifest import File, Manifest, write_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.worker.analysis.reference import Layers, Row

BEGAN = datetime(2026, 3, 2, tzinfo=UTC)
AT = BEGAN + timedelta(days=75, seconds=1, microseconds=5)
TENANTS = {"acme": 110, "o'brien; --": 60, "tiny": 9}
RULES = (
    ("first", 1, "user", "[]", "achievement first { when count(event=a.done, >= 1) }"),
    ("levels", 2, "user", '["low", "mid", "high"]', "achievement levels { when count(event=a.done, >= 3) }"),
    ("week", 1, "user", '["five", "nine"]', "achievement week { when streak(event=a.done, per=day, >= 5) }"),
    ("crew", 1, "team", "[]", "achievement crew { scope team when count(event=b.done, >= 2) }"),
    ("corpse", 1, "user", "[]", "achievement corpse { when count(event=never.sent, >= 2) }"),
    ("hard", 1, "user", "[]", "achievement hard { when count(event=a.done, >= 2000) }"),
)
TYPES = ("a.done", "a.done", "a.done", "b.done", "c.seen", "user.updated")
HISTORIES = (
    ("granted", "announced"),
    ("granted", "announced"),
    ("granted",),
    ("settling",),
    ("settling", "granted", "announced"),
    ("settling", "withdrawn"),
    ("granted", "announced", "contested"),
    ("granted", "contested", "announced", "restored"),
    ("granted", "announced", "revoked"),
    ("granted", "announced", "amended"),
)


def drawn(seed: int) -> Layers:
    """Rows of a world: users with and without events, teams, unlocks in all their states, traits that change."""
    chance = random.Random(seed)  # noqa: S311 - it draws tests
    layers: Layers = {layer.name: [] for layer in LAYERS}
    layers["rule_version"] = list(_rules())
    number = [0]
    for tenant, users in TENANTS.items():
        for n in range(users):
            _user(chance, layers, number, tenant, f"u{n}")
        for n in range(users // 2):
            _standing(chance, layers, number, (tenant, "team", f"team-{n}"), "crew", None, BEGAN)
    for n in range(40):
        letter = {"failed_event_id": n, "reason": chance.choice(["contract", "bad_json"]), "change": "died"}
        rest = {"stream": "EVENTS", "stream_seq": n, "element": 0, "body_bytes": 9, "deliveries": 1}
        layers["failed_event"].append({**letter, **rest, "processing_time": BEGAN})
        for again in range(chance.choice([0, 0, 1, 2])):
            at = BEGAN + timedelta(days=again + 1)
            layers["failed_event"].append({**letter, **rest, "change": "replayed", "processing_time": at})
    return layers


def _rules() -> Iterator[Row]:
    for name, version, scope, tiers, source in RULES:
        yield _rule(name, version, scope=scope, tiers=tiers, source=source)
    yield _rule("levels", 1, scope="user", tiers='["low"]', ends_at=BEGAN)
    yield _rule("levels", 3, scope="user", tiers='["low"]', starts_at=AT + timedelta(days=1))
    yield _rule("gone", 1, retired_at=BEGAN)


def _rule(name: str, version: int, **more: object) -> Row:
    fixed = {"achievement": name, "rule_version": version, "meaning": "0", "epoch": 1, "applied_by": "op"}
    spans = {"starts_at": None, "ends_at": None, "retired_at": None, "scope": None, "tiers": None, "source": "a.done"}
    return {**fixed, "processing_time": BEGAN, **spans, **more}


def _moment(chance: random.Random, since: datetime, days: float) -> datetime:
    return since + timedelta(microseconds=chance.randrange(int(days * 86_400_000_000)))


def _user(chance: random.Random, layers: Layers, number: list[int], tenant: str, user: str) -> None:
    began = _moment(chance, BEGAN, 30)
    times = [began]
    times += [_moment(chance, began, chance.choice([3, 10, 44])) for _ in range(chance.choice([0, 0, 1, 5, 20, 60]))]
    if chance.random() < 0.05:
        times = []
    for at in times:
        _event(chance, layers, number, tenant, user, at)
    if chance.random() < 0.08:
        return  # no rule hears this one
    who = tenant, "user", user
    for name, _, scope, tiers, _ in RULES[:3]:
        if scope == "user":
            for tier in _tiers(tiers):
                _standing(chance, layers, number, who, name, tier, began)


def _tiers(tiers: str) -> list[str | None]:
    return [one.strip(' "') for one in tiers.strip("[]").split(",")] if tiers != "[]" else [None]


def _event(chance: random.Random, layers: Layers, number: list[int], tenant: str, user: str, at: datetime) -> None:
    number[0] += 1
    kind, taken = chance.choice(TYPES), at + timedelta(seconds=chance.choice([-5, 0, 1, 2, 3599, 3600, 3601, 9000]))
    row = {"tenant_id": tenant, "user_id": user, "event_type": kind, "event_time": at, "utc_offset": 0}
    row |= {"processing_time": taken + timedelta(microseconds=7), "deduplication_key": f"e{number[0]}"}
    row |= {"published_at": chance.choice([None, taken]), "region": chance.choice([None, "eu", "us", "a'b"])}
    layers["event"].append({**row, "source": "app", "payload": None, "stream_seq": number[0]})
    if kind == "user.updated":
        for trait, values in (("plan", ["free", "pro", "x' OR 1=1"]), ("seats", [str(n) for n in range(30)])):
            said = {"trait": trait, "value": chance.choice(values), "event_type": kind, "event_time": at}
            rest = {"processing_time": taken, "deduplication_key": row["deduplication_key"]}
            layers["trait"].append({"tenant_id": tenant, "user_id": user, **said, **rest})


def _standing(  # noqa: PLR0917 - rows have so many parts
    chance: random.Random,
    layers: Layers,
    number: list[int],
    who: tuple[str, str, str],
    name: str,
    tier: str | None,
    began: datetime,
) -> None:
    key = {**dict(zip(("tenant_id", "scope", "subject"), who, strict=True)), "achievement": name, "tier": tier}
    key["user_id"] = who[2] if who[1] == "user" else None
    if chance.random() < 0.6:
        for n in range(chance.choice([1, 1, 1, 2]) if name == "week" else 1):
            occurrence = f"{n}" if name == "week" else None
            _history(chance, layers, number, {**key, "occurrence": occurrence}, _moment(chance, began, 40))
    target = {"five": 5, "nine": 9}.get(tier or "", 10)
    for day in sorted(chance.sample(range(70, 75), chance.choice([0, 1, 2, 4]))):
        current = chance.randrange(target + 1)
        status = "earned" if current == target else "in_progress" if current else "locked"
        row = {"status": status, "percent": 100 * current // target, "times": 0, "rule_version": 1, "occurrence": None}
        row |= {"current_value": Decimal(current), "target_value": Decimal(target)}
        layers["progress_daily"].append({**key, **row, "processing_time": BEGAN + timedelta(days=day)})


def _history(chance: random.Random, layers: Layers, number: list[int], key: Row, at: datetime) -> None:
    own = [row for row in layers["event"] if (row["tenant_id"], row["user_id"]) == (key["tenant_id"], key["user_id"])]
    event = chance.choice(own)["deduplication_key"] if own else None
    decided = at
    number[0] += 1
    unlock = f"unlock-{number[0]}"
    origin = chance.choice(["live", "live", "live", "backfill"])
    stands = "settling"
    for change in chance.choice(HISTORIES):
        number[0] += 1
        decided += timedelta(microseconds=chance.randrange(9_000_000))
        stands = {"restored": "granted", "amended": "granted"}.get(change, change)
        row = {**key, "unlock_id": unlock, "revision": 1, "change": change, "unlock_status": stands, "rule_version": 1}
        row |= {"final": True, "event_time": at, "deduplication_key": event, "processing_time": decided}
        row |= {"granted_at": at, "announced_at": decided if change == "announced" else None, "origin": origin}
        row |= {"evaluation_id": None if change == "announced" else number[0]}
        layers["unlock"].append(row)


def write(folder: Path, layers: Layers, *, at: datetime = AT, tenant: str | None = None) -> Path:
    """Write a mirror that holds rows; return its folder."""
    files: dict[str, list[File]] = {}
    folder.mkdir(parents=True, exist_ok=True)
    with open_duck(Bounds("256MB", 1), folder / ".spill") as duck:
        for layer in LAYERS:
            by_day: defaultdict[str, list[Row]] = defaultdict(list)
            for row in layers[layer.name]:
                by_day["2026-01-01"].append(row)
            for day, rows in by_day.items():
                path = f"{layer.name}/dt={day}/00000001-0.parquet"
                (folder / path).parent.mkdir(parents=True)
                text = folder / f".{layer.name}.csv"
                lines = [csv_row([_cell(row.get(name)) for name in layer.names]) for row in rows]
                text.write_text("".join(lines), encoding="utf-8")
                source = read_csv(str(text), layer, 1 << 20)
                duck.run(f"COPY (SELECT * FROM {source}) TO {quoted(folder / path)} ({parquet_options()})")  # noqa: S608
                text.unlink()
                files[layer.name] = [File(path, day, 1, len(rows), (folder / path).stat().st_size)]
    write_manifest(folder, Manifest(database="d", run=3, at=at.isoformat(), tenant=tenant, layers=files))
    return folder


def _cell(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value
