"""Every figure of docs/analyze.md by its definition, slowly, in Python: the oracle of the queries.

It reads rows of layers as dictionaries and shares nothing with the queries, nor with the views of a mirror.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from worker.analysis.answers import Asked

T = TypeVar("T")
Row = dict[str, Any]
Layers = dict[str, list[Row]]
Subject = tuple[str, str, str]
Cells = tuple[Any, ...]


class Rule(NamedTuple):
    name: str
    version: int
    scope: str
    source: str
    tiers: list[str | None]


class World:
    """What the definitions speak of: known subjects, unlocks as they stand, rules in force."""

    def __init__(self, layers: Layers, asked: Asked, at: datetime) -> None:
        self.asked, self.at = asked, at
        of = asked.tenants
        self.layers = {
            name: [row for row in rows if of is None or row.get("tenant_id", of[0]) in of]
            for name, rows in layers.items()
        }
        self.events = self.layers["event"]
        self.standing = _standing(self.layers["unlock"])
        self.known: set[Subject] = {_subject(row) for row in [*self.layers["progress_daily"], *self.standing]}
        self.in_force = _rules(self.layers["rule_version"], at)
        self.rules = [rule for rule in self.in_force if asked.achievement in {None, rule.name}]
        self.earned: dict[tuple[Subject, str, str | None], datetime] = {}
        for row in self.standing:
            if row["status"] == "granted" and asked.achievement in {None, row["achievement"]}:
                key = _subject(row), row["achievement"], row["tier"]
                self.earned[key] = min(self.earned.get(key, row["event_time"]), row["event_time"])
        self.progress: dict[tuple[Subject, str, str | None], Row] = {}
        for row in sorted(self.layers["progress_daily"], key=lambda one: one["processing_time"]):
            self.progress[_subject(row), row["achievement"], row["tier"]] = row
        self.first_event: dict[tuple[str, str], datetime] = {}
        for row in self.events:
            user = row["tenant_id"], row["user_id"]
            self.first_event[user] = min(self.first_event.get(user, row["event_time"]), row["event_time"])

    def known_in(self, scope: str, tenant: str | None = None) -> int:
        return sum(1 for one in self.known if one[1] == scope and tenant in {None, one[0]})

    def holders(self, rule: Rule, tier: str | None) -> set[Subject]:
        found = {who for who, name, of in self.earned if (name, of) == (rule.name, tier)}
        return {who for who in found if who[1] == rule.scope}

    def few(self, number: int, value: T) -> T | None:
        return value if number >= self.asked.fewest else None


def _subject(row: Row) -> Subject:
    return row["tenant_id"], row["scope"], row["subject"]


def _standing(changes: Iterable[Row]) -> list[Row]:
    """The unlocks as they stand: the last decision of each, and whether it was announced."""
    history: defaultdict[Cells, list[Row]] = defaultdict(list)
    for row in changes:
        history[*_subject(row), row["achievement"], row["tier"], row["occurrence"]].append(row)
    found: list[Row] = []
    for rows in history.values():
        decided = [row for row in rows if row["change"] != "announced"]
        said = [row["announced_at"] for row in rows if row["change"] == "announced"]
        last = max(decided, key=lambda row: row["evaluation_id"])
        if last["unlock_status"] != "withdrawn":
            found.append({**last, "status": last["unlock_status"], "announced": said[0] if said else None})
    return found


def _rules(rows: Iterable[Row], at: datetime) -> list[Rule]:
    found: dict[str, Rule] = {}
    for row in sorted(rows, key=lambda one: one["rule_version"]):
        begun = row["starts_at"] is None or row["starts_at"] <= at
        if row["retired_at"] is None and begun and (row["ends_at"] is None or at < row["ends_at"]):
            tiers: list[str | None] = json.loads(row["tiers"]) or [None]
            found[row["achievement"]] = Rule(
                row["achievement"], row["rule_version"], row["scope"], row["source"], tiers
            )
    return [found[name] for name in sorted(found)]


def seconds(earlier: datetime, later: datetime) -> int:
    return int((later.replace(microsecond=0) - earlier.replace(microsecond=0)).total_seconds())


def millis(earlier: datetime, later: datetime) -> int:
    one, other = (at.replace(microsecond=at.microsecond // 1000 * 1000) for at in (earlier, later))
    return (other - one) // timedelta(milliseconds=1)


def place(values: Iterable[int], hundredths: int) -> int | None:
    """The value at place ⌈n·p⌉."""
    ordered = sorted(values)
    return ordered[math.ceil(Fraction(hundredths * len(ordered), 100)) - 1] if ordered else None


def percent(part: int, whole: int) -> Fraction | None:
    return Fraction(100 * part, whole) if whole else None


def completion(world: World) -> list[Cells]:
    found: list[Cells] = []
    for rule in world.rules:
        of = world.known_in(rule.scope)
        for tier in rule.tiers:
            earned = len(world.holders(rule, tier))
            found.append((rule.name, tier, world.few(of, earned), of, world.few(of, percent(earned, of))))
    return found


def rarity(world: World) -> list[Cells]:
    found: list[Cells] = []
    for rule in world.rules:
        for tenant in sorted({one[0] for one in world.known if one[1] == rule.scope}):
            of = world.known_in(rule.scope, tenant)
            for tier in rule.tiers:
                earned = sum(1 for one in world.holders(rule, tier) if one[0] == tenant)
                share = percent(earned, of)
                if share is not None and 0 < earned < of:
                    share = min(max(share, Fraction(1, 10)), Fraction(999, 10))
                found.append((tenant, rule.name, tier, world.few(of, earned), of, world.few(of, share)))
    return found


def time(world: World) -> list[Cells]:
    waits: defaultdict[str | None, dict[tuple[str, str], datetime]] = defaultdict(dict)
    for (who, achievement, _), at in world.earned.items():
        user = who[0], who[2]
        if who[1] == "user" and user in world.first_event:
            for key in (achievement, None):
                waits[key][user] = min(waits[key].get(user, at), at)
    found: list[Cells] = []
    for achievement, users in waits.items():
        took = [seconds(world.first_event[user], at) for user, at in users.items()]
        n = len(took)
        figures = (world.few(n, place(took, 50)), world.few(n, place(took, 90)))
        found.append((achievement, n, len(world.first_event), *figures))
    return found


def funnel(world: World) -> list[Cells]:
    found: list[Cells] = []
    for rule in world.rules:
        names = ["(known)", "(started)", *(tier or "earned" for tier in rule.tiers)]
        at: dict[Subject, tuple[int, datetime | None]] = {}
        for (who, name, _), row in world.progress.items():
            if name == rule.name and who[1] == rule.scope and row["percent"] > 0:
                at[who] = 1, None
        for n, tier in enumerate(rule.tiers):
            for who in world.holders(rule, tier):
                at[who] = n + 2, world.earned[who, rule.name, tier]
        counts = [world.known_in(rule.scope)]
        counts += [sum(1 for step, _ in at.values() if step >= n) for n in range(1, len(names))]
        for n, name in enumerate(names):
            of = counts[n - 1] if n else None
            reached, share = counts[n], None
            if of is not None:
                reached, share = world.few(of, reached), world.few(of, percent(counts[n], of))
            last = n + 1 == len(names)
            stuck = None if last else world.few(counts[n], counts[n] - counts[n + 1])
            since = [seconds(when, world.at) for step, when in at.values() if step == n and when is not None]
            spans = (None, None)
            if not last and len(since) >= world.asked.fewest:
                spans = place(since, 50), place(since, 90)
            found.append((rule.name, name, reached, of, share, stuck, *spans))
    return found


def near_miss(world: World) -> list[Cells]:
    found: list[Cells] = []
    for rule in world.rules:
        for tier in rule.tiers:
            holders = world.holders(rule, tier)
            near = [
                row["percent"]
                for (who, name, of_tier), row in world.progress.items()
                if (name, of_tier, who[1]) == (rule.name, tier, rule.scope) and who not in holders
                if row["percent"] >= world.asked.near_percent and row["status"] in {"locked", "in_progress"}
            ]
            of, n = world.known_in(rule.scope) - len(holders), len(near)
            share = world.few(of, percent(n, of))
            found.append((rule.name, tier, world.few(of, n), of, share, world.few(n, place(near, 50))))
    return found


def streaks(world: World) -> list[Cells]:
    found: list[Cells] = []
    for rule in (one for one in world.rules if "streak(" in one.source):
        longest: dict[Subject, Decimal] = {}
        target = Decimal(0)
        for row in world.layers["progress_daily"]:
            if (row["achievement"], row["scope"]) == (rule.name, rule.scope) and row["tier"] in rule.tiers:
                shown = row["target_value"] if row["status"] == "earned" else row["current_value"]
                target = max(target, row["target_value"] or Decimal(0))
                longest[_subject(row)] = max(longest.get(_subject(row), Decimal(0)), shown or Decimal(0))
        began = sum(1 for one in longest.values() if one >= 1)
        for n in range(1, min(int(target), 999) + 1 if began else 0):
            kept = sum(1 for one in longest.values() if one >= n)
            found.append((rule.name, n, world.few(began, kept), began, world.few(began, percent(kept, began))))
    return found


def _spans(world: World) -> dict[tuple[str, str, str], list[tuple[datetime, str]]]:
    found: defaultdict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in world.layers["trait"]:
        found[row["tenant_id"], row["user_id"], row["trait"]].append(row)
    return {
        key: [
            (row["event_time"], row["value"])
            for row in sorted(rows, key=lambda one: (one["event_time"], one["deduplication_key"]))
        ]
        for key, rows in found.items()
    }


def _value_at(values: Iterable[tuple[datetime, str]], holds: Callable[[datetime], bool]) -> str | None:
    value = None
    for since, one in values:
        if holds(since):
            value = one
    return value


def segments(world: World) -> list[Cells]:
    spans = _spans(world)
    ever: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for (_, _, trait), values in spans.items():
        if world.asked.trait in {None, trait}:
            ever[trait].update({value for _, value in values})
    found: list[Cells] = []
    for trait, counts in ever.items():
        common = sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:20]
        for value, users in common:
            for rule in (one for one in world.rules if one.scope == "user"):
                for tier in rule.tiers:
                    earned = 0
                    for who in world.holders(rule, tier):
                        at = world.earned[who, rule.name, tier]
                        values = spans.get((who[0], who[2], trait), [])
                        earned += _value_at(values, lambda since, at=at: since <= at) == value
                    share = world.few(users, percent(earned, users))
                    found.append((trait, value, rule.name, tier, world.few(users, earned), users, share))
    return found


def retention(world: World) -> list[Cells]:
    spans, landmark = _spans(world), world.asked.landmark_day
    days: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for row in world.events:
        user = row["tenant_id"], row["user_id"]
        days[user].add(seconds(world.first_event[user], row["event_time"]) // 86_400)
    unlocked: set[tuple[str, str]] = set()
    for (who, _, _), at in world.earned.items():
        user = who[0], who[2]
        if who[1] == "user" and user in days and seconds(world.first_event[user], at) < 86_400 * (landmark + 1):
            unlocked.add(user)
    counts: Counter[Cells] = Counter()
    back: Counter[Cells] = Counter()
    for user, seen in days.items():
        if not seen & {day for day in range(landmark - 6, landmark + 1) if day > 0}:
            continue
        began = world.first_event[user]
        stratum = _stratum(world, spans, user)
        for n in (1, 7, 30):
            if seconds(began, world.at) >= 86_400 * (landmark + n + 1):
                for of in (stratum, None):
                    key = of, n, "unlockers" if user in unlocked else "others"
                    counts[key] += 1
                    back[key] += landmark + n in seen
    found: list[Cells] = []
    for key, n in counts.items():
        low, high = wilson(back[key], n)
        shown = (percent(back[key], n), low, high)
        found.append((*key, world.few(n, back[key]), n, *(world.few(n, one) for one in shown)))
    return found


def _stratum(world: World, spans: dict[Subject, list[tuple[datetime, str]]], user: tuple[str, str]) -> str:
    began, end = world.first_event[user], 86_400 * (world.asked.landmark_day + 1)
    if world.asked.trait is None:
        return (began - timedelta(days=began.weekday())).date().isoformat()
    values = spans.get((*user, world.asked.trait), [])
    return _value_at(values, lambda since: seconds(began, since) < end) or "(none)"


def wilson(part: int, n: int) -> tuple[Fraction, Fraction]:
    """The bounds at which the share lies 1.96 standard errors off: the roots of a quadratic equation, in percent."""
    z, p = 1.96, part / n
    a, b, c = 1 + z * z / n, -(2 * p + z * z / n), p * p
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    return Fraction(100 * (-b - root) / (2 * a)), Fraction(100 * (-b + root) / (2 * a))


def rules(world: World) -> list[Cells]:
    found: list[Cells] = []
    for rule in world.rules:
        fed = [row["event_time"] for row in world.events if row["event_type"] in rule.source]
        for tier in rule.tiers:
            times = [world.earned[who, rule.name, tier] for who in world.holders(rule, tier)]
            gaps: list[int | None] = []
            ages: list[int | None] = []
            quiet: list[bool] = []
            for moments in (times, fed):
                gap = None
                if len(moments) >= 10:
                    gap = seconds(min(moments), max(moments)) // (len(moments) - 1)
                age = seconds(max(moments), world.at) if moments else None
                gaps.append(gap)
                ages.append(age)
                quiet.append(gap is not None and age is not None and age > world.asked.gap_times * gap)
            verdict = "alive"
            if not times:
                verdict = "dead" if fed else "dead: no events"
            elif quiet[1]:
                verdict = "starved"
            elif quiet[0]:
                verdict = "silent"
            head = (rule.name, tier, rule.version, verdict)
            found.append((*head, len(times), gaps[0], ages[0], len(fed), gaps[1], ages[1]))
    return found


def latency(world: World) -> list[Cells]:
    by_key = {(row["tenant_id"], row["deduplication_key"]): row for row in world.events}
    took: defaultdict[str | None, list[tuple[int, int]]] = defaultdict(list)
    for row in world.standing:
        event = by_key.get((row["tenant_id"], row["deduplication_key"]))
        if row["announced"] is None or row["origin"] != "live" or event is None:
            continue
        if world.asked.achievement in {None, row["achievement"]}:
            taken = event["published_at"] or event["processing_time"]
            spans = millis(taken, row["announced"]), millis(row["event_time"], row["announced"])
            took[event["region"]].append(spans)
    found: list[Cells] = []
    for region, spans in took.items():
        n = len(spans)
        figures = [place((one[at] for one in spans), p) for at in (0, 1) for p in (50, 99)]
        found.append((region, n, *(world.few(n, one) for one in figures)))
    return found


def quality(world: World) -> list[Cells]:
    late = ahead = 0
    types: Counter[str] = Counter()
    for row in world.events:
        late += seconds(row["event_time"], row["processing_time"]) > world.asked.late_seconds
        ahead += seconds(row["published_at"] or row["processing_time"], row["event_time"]) > 1
        types[row["event_type"]] += 1
    n = len(world.events)
    letters = [] if world.asked.tenants is not None else world.layers["failed_event"]
    died = Counter(row["reason"] for row in letters if row["change"] == "died")
    again = Counter(
        reason
        for _, reason in {(row["failed_event_id"], row["reason"]) for row in letters if row["change"] == "replayed"}
    )
    rows: list[tuple[str, str | None, int, int]] = [("late", None, late, n), ("clock ahead", None, ahead, n)]
    carriers = {row["event_type"] for row in world.layers["trait"]}
    for kind, number in types.items():
        if kind not in carriers and not any(kind in rule.source for rule in world.in_force):
            rows.append(("no rule names it", kind, number, n))
    for reason, number in died.items():
        rows.append(("dead letter", reason, number, n + sum(died.values())))
        rows.append(("sent again", reason, again[reason], number))
    return [(*row, percent(row[2], row[3])) for row in rows]


REFERENCE: dict[str, Callable[[World], list[Cells]]] = {
    "completion": completion,
    "funnel": funnel,
    "time": time,
    "rarity": rarity,
    "retention": retention,
    "near-miss": near_miss,
    "streaks": streaks,
    "segments": segments,
    "rules": rules,
    "latency": latency,
    "quality": quality,
}
