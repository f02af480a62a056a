"""Rule files as text, and event streams that hit their edge cases.

Everything is drawn around one *anchor*: an instant at which a week, a month, a year or a clock turns. Versions
begin there, windows have the lengths that the gaps between events have (give or take a microsecond), and the zones
are those whose clocks change there. About 60 in 100 scenarios unlock something, and 38 in 100 achievements are
unlocked (test_strategies.py keeps that from rotting).
"""

from __future__ import annotations

import re
from decimal import Decimal
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from hypothesis import assume
from hypothesis import strategies as st

from dsl.check import check
from dsl.event import Event
from dsl.parse import parse
from dsl.source import Source
from tests.reference.wall_clock import EPOCH, instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hypothesis.strategies import DrawFn, SearchStrategy

    from dsl.diagnostics import Diagnostic
    from dsl.types import Listed, Value

CONTRACT: Final = """
event a {
  n: int? >= 0, x: decimal? >= 0, s: string?, f: bool?, t: timestamp?, team: string?, tags: [string]?, owner: user?,
  peer: user?, crew: [user]?
}
event b { n: int >= 0, s: string?, f: bool, team: string once per s within 10m }
event c.d { m: int, x: decimal?, s: string?, team: string? }
event e { n: int? >= 0, s: string?, f: bool?, peer: user? once per s, n }
traits from user.updated { plan: string, timezone: string, level: int }
"""

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

ANCHORS: Final = tuple(
    map(
        instant,
        (
            "2026-04-13T00:00:00Z",  # a Monday
            "2026-05-01T00:00:00Z",
            "2027-01-01T00:00:00Z",
            "2026-12-31T23:00:00Z",  # midnight in Berlin
            "2026-03-29T01:00:00Z",  # Berlin springs forward
            "2026-10-25T01:00:00Z",  # and falls back
            "2026-03-08T07:00:00Z",  # New York
            "2026-11-01T06:00:00Z",
            "2026-10-03T15:30:00Z",  # Lord Howe Island, by half an hour
            "2026-04-04T15:00:00Z",
            "2026-09-26T14:00:00Z",  # Chatham Islands, in the middle of an hour
        ),
    )
)
LENGTHS: Final = {
    "1m": MINUTE,
    "10m": 10 * MINUTE,
    "1h": HOUR,
    "12h": 12 * HOUR,
    "1d": DAY,
    "2d": 2 * DAY,
    "1w": 7 * DAY,
}
ZONES: Final = (
    '"UTC"',
    '"Europe/Berlin"',
    '"America/New_York"',
    '"Australia/Lord_Howe"',
    '"Pacific/Chatham"',
    "user",
    "event",
)
UNITS: Final = ("day", "hour", "week", "month", "year", "minute")
OFFSETS: Final = (0, 7200, -18000, 3600, 37800, 39600, 50400, -43200, 20700, 86340, -86340)
"""Up to those that RFC 3339 has: the labels of two events at one instant may lie almost two days apart."""

FIELDS: Final[dict[str, dict[str, str]]] = {
    "a": {
        "n": "int",
        "x": "decimal",
        "s": "string",
        "f": "bool",
        "t": "timestamp",
        "team": "string",
        "tags": "list",
        "owner": "user",
    },
    "b": {"n": "int", "s": "string", "f": "bool", "team": "string"},
    "c.d": {"m": "int", "x": "decimal", "s": "string", "team": "string"},
    "e": {"n": "int", "s": "string", "f": "bool"},
    "user.updated": {"plan": "string", "timezone": "string", "level": "int"},
}
PEOPLE: Final = {"a": ("peer", "crew"), "e": ("peer",)}
"""Fields that name users."""
REQUIRED: Final = {"a": (), "b": ("n", "f", "team"), "c.d": ("m",), "e": ()}
TRAITS: Final = {"plan": "string", "timezone": "string", "level": "int"}
STRINGS: Final = {"plan": ("pro", "free"), "team": ("red", "blue"), "timezone": ("Europe/Berlin", "UTC")}


class Scenario(NamedTuple):
    """A rule file and a stream for it, in no particular order."""

    text: str
    events: list[Event]


class Where(NamedTuple):
    """Where in a file a condition stands: what it may say depends on that."""

    anchor: int
    kinds: tuple[str, ...]
    """Events of the scope."""
    spanned: bool
    """Under a span, where a signed sum may not stand."""
    targets: tuple[str, ...]
    """What `unlocked` and `after` may name: earlier achievements of the same scope, and their tiers."""
    unit: str = ""
    """The calendar unit that it is asked of: spans in it fit into that, and the zone is said outside."""
    groups: int = 0
    """How many groups or units are around it."""


def written(at: int, offset: int = 0) -> str:
    """Return an instant as RFC 3339."""
    moment = EPOCH.fromtimestamp(at // SECOND, EPOCH.tzinfo).replace(microsecond=at % SECOND)
    return moment.isoformat().replace("+00:00", "Z") if not offset else moment.isoformat()


def _chance(draw: DrawFn, percent: int) -> bool:
    return draw(st.integers(0, 99)) >= 100 - percent


def _pick(draw: DrawFn, choices: Sequence[str]) -> str:
    return draw(st.sampled_from(choices))


# -- filters -------------------------------------------------------------------------------------------------


@st.composite
def predicates(draw: DrawFn, fields: dict[str, str], anchor: int, depth: int = 2) -> str:
    """Draw a predicate over fields; over payloads (not traits) it may ask for the time of the event."""
    if depth and _chance(draw, 25):
        left, right = (draw(predicates(fields, anchor, depth - 1)) for _ in range(2))
        return draw(st.sampled_from((f"{left} and {right}", f"{left} or {right}", f"({left} or {right})")))
    if depth and _chance(draw, 15):
        inner = draw(predicates(fields, anchor, depth - 1))
        return f"not ({inner})"
    if not fields or (fields is not TRAITS and _chance(draw, 25)):
        return draw(st.sampled_from(_BUILT_INS)).format(date=written(anchor)[:10])
    fitting = [text for names, text in _EXPRESSIONS if names <= fields.keys()] if fields is not TRAITS else []
    if fitting and _chance(draw, 30):
        return _pick(draw, fitting)
    return draw(_comparisons(fields, anchor))


_EXPRESSIONS: Final = tuple(
    (frozenset(names.split()), text)
    for names, text in (
        ("n x", "n > x"),
        ("n x", "2 * n - 1 <= x + x"),
        ("m x", "m * x < 0.5"),
        ("n", "n * n = n"),
        ("n", "at.day > n"),
        ("n", "at.minute = 30 * n"),
        ("s", 's starts with "x"'),
        ("s", 'not s ends with "y"'),
        ("s", 's contains "x"'),
        ("s", "length(s) = 1"),
        ("s team", "s != team"),
        ("s team", "length(team) > length(s) + 1"),
        ("team", 'lower(team) = "red"'),
        ("t", "at - t < 1h"),
        ("t", "t <= at"),
        ("t", "t + 1d > at"),
        ("t", "2 * (t - at) >= 1d - 1h"),
        ("tags", '"x" in tags'),
        ("tags", '"y" not in tags'),
        ("tags", "size(tags) > 1"),
        ("tags s", "s in tags"),
        ("tags n", "size(tags) >= n"),
        ("owner", "owner = actor"),
        ("owner", "owner != actor"),
    )
)
_BUILT_INS: Final = (
    "at.hour >= 12",
    "at.hour < 2",
    "at.hour in [0, 1, 2, 23]",
    'at.weekday = "mon"',
    'at.weekday not in ["sat", "sun"]',
    'at.date >= "{date}"',
    'at.date = "{date}"',
    "at.minute = 0",
    "at.day <= 15",
    "at.month in [4, 5, 12]",
    "at.year = 2026",
    'at.week >= "2026-W40"',
    "at > {date}T00:00:00Z",
)


@st.composite
def _comparisons(draw: DrawFn, fields: dict[str, str], anchor: int) -> str:
    name = _pick(draw, tuple(fields))
    if _chance(draw, 15) or fields[name] in ("list", "user"):
        return draw(st.sampled_from((f"{name} is present", f"{name} is not present")))
    if fields[name] == "bool":
        return draw(st.sampled_from((name, f"not {name}", f"{name} = true", f"{name} = false")))
    one, two = (draw(_literals(name, fields[name], anchor)) for _ in range(2))
    if _chance(draw, 25):
        return draw(st.sampled_from((f"{name} in [{one}, {two}]", f"{name} not in [{one}]")))
    negation = "not " if _chance(draw, 15) else ""
    return f"{negation}{name} {_pick(draw, ('>=', '>', '!=', '=', '<', '<='))} {one}"


@st.composite
def _literals(draw: DrawFn, name: str, kind: str, anchor: int) -> str:
    match kind:
        case "int":
            return str(draw(st.integers(0, 3)))
        case "decimal":
            return _pick(draw, ("0.5", "1", "2.50"))
        case "timestamp":
            return written(anchor + draw(st.sampled_from((0, HOUR, -DAY))))
        case _:
            return f'"{_pick(draw, STRINGS.get(name, ("x", "y")))}"'


# -- conditions ----------------------------------------------------------------------------------------------


@st.composite
def patterns(draw: DrawFn, kinds: Sequence[str], anchor: int) -> str:
    """Draw an E over some of the kinds: one event or a list, with filters or without."""
    if len(set(kinds)) > 1 and _chance(draw, 20):
        chosen = draw(st.lists(st.sampled_from(sorted(set(kinds))), min_size=2, max_size=2, unique=True))
        parts = ", ".join(draw(_filtered(kind, FIELDS[kind], anchor, 15)) for kind in chosen)
        shared = {name: kind for name, kind in FIELDS[chosen[0]].items() if name in FIELDS[chosen[1]]}
        return draw(_filtered(f"[{parts}]", shared, anchor, 15))
    kind = _pick(draw, kinds)
    return draw(_filtered(kind, FIELDS[kind], anchor, 20))


@st.composite
def _filtered(draw: DrawFn, what: str, fields: dict[str, str], anchor: int, percent: int) -> str:
    return f"{what} where {draw(predicates(fields, anchor))}" if _chance(draw, percent) else what


def _with_field(name: str) -> tuple[str, ...]:
    return tuple(kind for kind, fields in FIELDS.items() if name in fields)


ALL_KINDS: Final = ("a", "b", "c.d", "e", "a", "b", "c.d", "e", "user.updated")


@st.composite
def conditions(draw: DrawFn, where: Where, depth: int = 2) -> str:
    """Draw a condition."""
    if where.groups < MOST_GROUPS and _chance(draw, 12):
        return draw(_groups(where, depth))
    within, mods = draw(_modifiers(where))
    only_unless = all(mod.startswith("unless=") for mod in mods)
    choices = [_counts, _counts, _sums, _extremes, _streaks, _sequences]
    if depth:
        choices += [_combinations] * 3
    if where.targets:
        choices += [_unlockeds] * 2
    chosen = draw(st.sampled_from(choices))
    spanned = not only_unless if chosen is _sums else bool(mods)  # a signed sum may have an `unless` of its own
    head = draw(chosen(where._replace(spanned=where.spanned or spanned), depth))
    if head.startswith("streak("):  # it has a unit of its own, and reaches back to the start of one
        mods = [mod for mod in mods if not mod.startswith(("per=", "within="))]
        if within and not where.unit:
            mods.append(f"within={draw(_streak_spans(head))}")
    body = ", ".join((head, *mods))
    if not where.unit and "tz=" not in head and (any(mod.startswith("per=") for mod in mods) or _asks_time(head, mods)):
        zone = _pick(draw, ZONES)
        body += f", tz={zone}" if _chance(draw, 70) else ""
    return f"{body})"


MOST_GROUPS: Final = 2


@st.composite
def _groups(draw: DrawFn, where: Where, depth: int) -> str:
    """Draw a condition by the values of fields, or one that values or calendar units are asked."""
    choices = [_by_field, _by_field, _count_groups]
    if not where.unit:
        choices += [_per_unit, _per_unit]
    return draw(draw(st.sampled_from(choices))(where._replace(groups=where.groups + 1), depth))


KEYS: Final = ("s", "n", "team", "x", "actor")


@st.composite
def _keys(draw: DrawFn, where: Where) -> tuple[Where, str]:
    """Draw the fields of a key, and where what is grouped stands."""
    names = draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=2 if _chance(draw, 20) else 1, unique=True))
    kinds = tuple(kind for kind in where.kinds if all(name == "actor" or name in FIELDS[kind] for name in names))
    if not kinds:
        names, kinds = ["actor"], where.kinds
    text = names[0] if len(names) == 1 and _chance(draw, 80) else f"[{', '.join(names)}]"
    return where._replace(kinds=kinds), text


@st.composite
def _by_field(draw: DrawFn, where: Where, depth: int) -> str:
    inside, text = draw(_keys(where))
    body = draw(conditions(inside, depth).filter(lambda drawn: "by=" not in drawn and _has_events(drawn)))
    return f"{body[:-1]}, by={text})"


def _has_events(text: str) -> bool:
    """Return whether a condition counts anything: only that makes groups."""
    return "event=" in text or "sequence(" in text


@st.composite
def _count_groups(draw: DrawFn, where: Where, depth: int) -> str:
    inside, text = draw(_keys(where))
    _, mods = draw(_modifiers(where))
    inner = draw(conditions(inside._replace(spanned=where.spanned or bool(mods)), max(0, depth - 1)))
    if not _has_events(inner):
        inner = f"count(event={_pick(draw, inside.kinds)}, >= 1)"
    return f"{', '.join((f'count(by={text}, {inner}, {draw(_bounds(1, 3))}', *mods))})"


@st.composite
def _per_unit(draw: DrawFn, where: Where, depth: int) -> str:
    unit = _pick(draw, UNITS)
    streak = _chance(draw, 50)
    mods = [f"unless={draw(patterns(ALL_KINDS, where.anchor))}"] if _chance(draw, 20) else []
    spanned = where.spanned or bool(mods) or streak
    inner = draw(conditions(where._replace(unit=unit, spanned=spanned), max(0, depth - 1)))
    if not _has_events(inner):
        inner = f"count(event={_pick(draw, where.kinds)}, >= 1)"
    body = f"{'streak' if streak else 'count'}(per={unit}, {inner}, {draw(_bounds(1, 3))}"
    if streak and _chance(draw, 30):
        body += ", grace=1"
    zone = f", tz={_pick(draw, ZONES)}" if _chance(draw, 60) else ""
    return f"{', '.join((body, *mods))}{zone})"


@st.composite
def _streak_spans(draw: DrawFn, head: str) -> str:
    """Draw a span that the units of a streak (up to 4) can fit into."""
    unit = next(unit for unit in UNITS if f"per={unit}" in head)
    return _pick(draw, _SPANS[unit])


_SPANS: Final = {
    "minute": ("4m", "10m"),
    "hour": ("4h", "5h", "1d"),
    "day": ("4d", "5d", "8d"),
    "week": ("4w", "5w"),
    "month": ("124d", "200d"),
    "year": ("1500d",),
}


def _asks_time(head: str, mods: list[str]) -> bool:
    """Return whether a filter of the operator's own asks for the time of an event."""
    own = [] if head.startswith(("all(", "any(", "at_least(")) else [head]
    return any("at." in part for part in (*own, *mods))


_FITTING: Final = {
    "minute": ("minute",),
    "hour": ("minute", "hour"),
    "day": ("hour", "day"),
    "week": ("hour", "day", "week"),
    "month": ("hour", "day", "month"),
    "year": ("hour", "day", "month", "year"),
}
"""The units that lie in a unit."""
_FITTING_LENGTHS: Final = {"hour": ("1m", "10m"), "day": ("10m", "1h"), "week": ("1h", "1d"), "month": ("1h", "1d")}


@st.composite
def _modifiers(draw: DrawFn, where: Where) -> tuple[bool, list[str]]:
    mods: list[str] = []
    within = _chance(draw, 30) and where.unit != "minute"
    if within:
        mods.append(f"within={_pick(draw, _FITTING_LENGTHS.get(where.unit, tuple(LENGTHS)))}")
    if _chance(draw, 15):
        mods.append(f"per={_pick(draw, _FITTING.get(where.unit, UNITS))}")
    if _chance(draw, 20):
        mods.append(f"unless={draw(patterns(ALL_KINDS, where.anchor))}")
    return within, mods


def _of(where: Where, name: str) -> tuple[str, ...]:
    """Return the kinds of the scope that have a field."""
    return tuple(kind for kind in where.kinds if name in FIELDS[kind])


def _known(where: Where, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the fields that some kind of the scope has."""
    return tuple(name for name in names if _of(where, name))


@st.composite
def _bounds(draw: DrawFn, low: int, high: int) -> str:
    least = draw(st.integers(low, high))
    return f"> {least - 1}" if _chance(draw, 20) else f">= {least}"


@st.composite
def _counts(draw: DrawFn, where: Where, _depth: int) -> str:
    if not _chance(draw, 25):
        return f"count(event={draw(patterns(where.kinds, where.anchor))}, {draw(_bounds(1, 3))}"
    names = ("s", "n", "team", "x", "tags", "owner")
    choices = (*_known(where, names), "actor", "at.date", "at.weekday", "at.hour")
    several = draw(st.lists(st.sampled_from(choices), min_size=2, max_size=3, unique=True)) if _chance(draw, 40) else []
    kinds = _having(where, several)
    if not several or not kinds:
        several = [_pick(draw, choices)]
        kinds = _having(where, several)
    event = draw(patterns(kinds, where.anchor))
    written = several[0] if len(several) == 1 else f"[{', '.join(several)}]"
    return f"count(event={event}, distinct={written}, {draw(_bounds(2, 3))}"


def _having(where: Where, names: Iterable[str]) -> tuple[str, ...]:
    """Return the kinds that have all of some fields; every one has an actor and a time."""
    fields = {name for name in names if name != "actor" and "." not in name}
    return tuple(kind for kind in where.kinds if fields <= FIELDS[kind].keys())


_SIGNED: Final = (("m", ("c.d",)), ("x", ("a", "c.d")), ("x", ("c.d",)), ("level", ("user.updated",)))
_UNSIGNED: Final = (("n", ("a", "b", "e")), ("x", ("a",)))


@st.composite
def _sums(draw: DrawFn, where: Where, _depth: int) -> str:
    signed = not where.spanned and _chance(draw, 40)
    choices = [(name, set(kinds) & set(where.kinds)) for name, kinds in (_SIGNED if signed else _UNSIGNED)]
    name, shared = draw(st.sampled_from([choice for choice in choices if choice[1]]))
    kinds = sorted(shared)
    return f"sum(event={draw(patterns(kinds, where.anchor))}, of={name}, {draw(_bounds(1, 6))}"


@st.composite
def _extremes(draw: DrawFn, where: Where, _depth: int) -> str:
    name = _pick(draw, _known(where, ("n", "x", "m")))
    event = draw(patterns(_of(where, name), where.anchor))
    if _chance(draw, 50):
        return f"max(event={event}, of={name}, {draw(_bounds(2, 4))}"
    return f"min(event={event}, of={name}, {_pick(draw, ('<= 1', '< 1', '<= 0', '< 3'))}"


@st.composite
def _streaks(draw: DrawFn, where: Where, _depth: int) -> str:
    event = draw(patterns(where.kinds, where.anchor))
    text = f"streak(event={event}, per={_pick(draw, _FITTING.get(where.unit, UNITS))}, {draw(_bounds(1, 4))}"
    if _chance(draw, 20):
        text += ", min=2"
    if _chance(draw, 35):
        text += f", grace={draw(st.integers(1, 2))}"
    return text + (f", tz={_pick(draw, ZONES)}" if not where.unit and _chance(draw, 70) else "")


@st.composite
def _sequences(draw: DrawFn, where: Where, _depth: int) -> str:
    by = draw(st.sampled_from(("", "", *_known(where, ("s", "team", "n")))))
    kinds = _of(where, by) if by else where.kinds
    steps = draw(st.lists(patterns(kinds, where.anchor), min_size=2, max_size=3))
    return f"sequence([{', '.join(steps)}]{f', by={by}' if by else ''}"


@st.composite
def _combinations(draw: DrawFn, where: Where, depth: int) -> str:
    parts = draw(st.lists(conditions(where, depth - 1), min_size=2, max_size=3, unique=True))
    kind = draw(st.sampled_from(("all(", "any(", f"at_least({min(2, len(parts))}, ")))
    return f"{kind}{', '.join(parts)}"


@st.composite
def _unlockeds(draw: DrawFn, where: Where, _depth: int) -> str:
    return f"unlocked({_pick(draw, where.targets)}"


# -- achievements --------------------------------------------------------------------------------------------


class Shape(NamedTuple):
    """What stays the same over the versions of an achievement."""

    name: str
    scope: str
    repeat: str
    tiers: tuple[str, ...]


NAMES: Final = ("x", "week", "within", "tier")
"""Keywords are names, too."""

_ASIDES: Final = (
    "",
    "",
    'reward { xp: 10, "a b": [1, null] }',
    "family some",
    "reveal at 30%",
    'about "So."',
)


_IMPOSSIBLE: Final = frozenset({"ACH412", "ACH418", "ACH419", "ACH420", "ACH421"})
"""What the checker refuses because it can never happen; most of what is drawn at random and makes no sense."""


def impossible(text: str) -> list[Diagnostic]:
    """Return what of a rule file can never happen. Of parts of a file, what they name need not be there."""
    file, _ = parse(Source("drawn.ach", text))
    return [problem for problem in check([file])[1] if problem.code in _IMPOSSIBLE]


@st.composite
def achievements(draw: DrawFn, anchor: int, *, possible: bool = True) -> list[list[str]]:
    """Draw achievements, each as the texts of its versions; every one names earlier ones alone."""
    texts: list[list[str]] = []
    targets: dict[str, list[str]] = {}
    for name in NAMES[: draw(st.integers(1, len(NAMES)))]:
        scope = draw(st.sampled_from(("user", "user", "user", "user", "user", "tenant", "team", "s")))
        repeat = draw(st.sampled_from(("", "", "", "each", "each", "every", "by")))
        if repeat == "by":
            repeat = f"by {_pick(draw, KEYS)}"
        if repeat == "every":
            zone = f" tz={_pick(draw, ZONES)}" if _chance(draw, 60) else ""
            repeat = f"every {_pick(draw, UNITS)}{zone}"
        tiers = draw(st.sampled_from(((), (), (), ("low", "high"))))
        earlier = targets.setdefault(scope, [])
        versions = _versions(Shape(name, scope, repeat, tiers), anchor, tuple(earlier))
        if possible:
            versions = versions.filter(lambda drawn: not impossible(CONTRACT + "\n".join(drawn)))
        texts.append(draw(versions))
        earlier += [name, *(f"{name}.{tier}" for tier in tiers)]
    return texts


@st.composite
def rule_files(draw: DrawFn, anchor: int, *, possible: bool = True) -> str:
    """Draw a rule file, a valid one where all of it shall be `possible`."""
    texts = draw(achievements(anchor, possible=possible))
    return CONTRACT + "\n".join(text for versions in texts for text in versions) + "\n"


@st.composite
def _versions(draw: DrawFn, shape: Shape, anchor: int, targets: tuple[str, ...]) -> list[str]:
    heads = draw(
        st.sampled_from(
            (
                ("",),
                ("",),
                ("",),
                (" version 1", " version 2 from {1}"),
                ("", " version 2 from {1} fresh"),
                (" version 1 from {0}", " version 2 from {1}", " version 3 from {2} fresh"),
                (" version 1 from {1} fresh",),
            )
        )
    )
    begins = [written(anchor - 7 * DAY), written(anchor), written(anchor + HOUR)]
    return [draw(_achievements(shape, head.format(*begins), anchor, targets)) for head in heads]


@st.composite
def _achievements(draw: DrawFn, shape: Shape, head: str, anchor: int, targets: tuple[str, ...]) -> str:
    kinds = _with_field(shape.scope) if shape.scope in ("team", "s") else ALL_KINDS
    where = Where(anchor, kinds, shape.repeat.startswith("every"), targets)
    if shape.repeat.startswith("by "):
        name = shape.repeat.removeprefix("by ")
        own = tuple(kind for kind in kinds if name == "actor" or name in FIELDS[kind])
        where = where._replace(kinds=own, groups=1)
    lines = ['title "T"', draw(st.sampled_from(_ASIDES))]
    lines += [f"scope {shape.scope}"] if shape.scope != "user" or _chance(draw, 10) else []
    lines += [f"repeat {shape.repeat}"] if shape.repeat else []
    if shape.scope == "user" and _chance(draw, 15):
        lines.append(f"for {draw(predicates(TRAITS, anchor))}")
    if targets and _chance(draw, 35):
        lines.append(f"after {_pick(draw, targets)}")
    if _chance(draw, 10):
        lines.append(f"active {draw(st.sampled_from(_ACTIVE)).format(written(anchor), written(anchor + 2 * DAY))}")
    if _chance(draw, 10):
        lines.append(f"settle {_pick(draw, tuple(LENGTHS))}")
    grouped = shape.repeat.startswith("by ")
    if shape.tiers:
        whens = [draw(conditions(where, 1).filter(lambda when: not grouped or _has_events(when))) for _ in shape.tiers]
        lines += [f"tier {tier} {{ when {when} }}" for tier, when in zip(shape.tiers, whens, strict=True)]
    else:
        lines.append(f"when {draw(conditions(where).filter(lambda when: not grouped or _has_events(when)))}")
    text = "\n  ".join(line for line in lines if line)
    if shape.scope == "user" and _chance(draw, 40):
        text = draw(_in_roles(text))
    return f"achievement {shape.name}{head} {{\n  {text}\n}}"


_PATTERN: Final = re.compile(r"(?<==)[ae](?=[ ,)])|(?<=\[)[ae](?=[ ,\]])|(?<=, )[ae](?=[ ,\]])")


@st.composite
def _in_roles(draw: DrawFn, text: str) -> str:
    """Draw roles for some of the events that conditions name."""
    found = list(_PATTERN.finditer(text))
    asked = [draw(st.sampled_from(("", *PEOPLE[each[0]]))) for each in found]
    for each, role in reversed(list(zip(found, asked, strict=True))):
        if role:
            text = f"{text[: each.end()]} as {role}{text[each.end() :]}"
    return text


_ACTIVE: Final = ("{0} .. {1}", "{0} ..", ".. {0}", ".. {1}")


# -- streams -------------------------------------------------------------------------------------------------


class Run(NamedTuple):
    """Events of one kind and user, one gap apart."""

    kind: str
    user: str
    tenant: str
    start: int
    gap: int
    times: int
    offsets: list[int]
    payloads: list[dict[str, Value | Listed]]


def _around(length: int) -> tuple[int, ...]:
    return length, length - 1, length + 1


GAPS: Final = (
    HOUR,
    DAY,
    0,
    MINUTE,
    *_around(10 * MINUTE),
    *_around(HOUR),
    *_around(DAY),
    7 * DAY,
    30 * MINUTE,
    2 * DAY,
)
STARTS: Final = (
    0,
    -1,
    1,
    HOUR,
    -HOUR,
    -DAY,
    DAY,
    -2 * DAY,
    -7 * DAY,
    30 * MINUTE,
    -30 * MINUTE,
    -12 * HOUR,
    2 * DAY,
)
LONG: Final = "x" * 100
POSING: Final = "\x01" + blake2b(LONG.encode(), digest_size=16).hexdigest()
"""A text that states store as its hash, and one that looks like such a hash."""
VALUES: Final[dict[str, tuple[Value | Listed, ...]]] = {
    "n": (1, 2, 0, 3, 5),
    "m": (2, -1, 4, 0, -3),
    "x": (Decimal("0.5"), Decimal("1.0"), Decimal("2.50"), Decimal(0), Decimal("0.1")),
    "s": ("x", "y", "x", "z", "", LONG, POSING),
    "f": (True, False),
    "team": ("red", "blue"),
    "tags": cast("tuple[Value, ...]", ((), ("x",), ("x", "y", "x"), ("z", "y"), ("red",))),
    "owner": ("u", "v", "w"),
    "peer": ("u", "v", "w"),
    "crew": (("u",), ("v", "w"), ("u", "v", "u"), ()),
    "plan": ("pro", "free"),
    "level": (1, 2, 0),
    "timezone": (
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Pacific/Chatham",
        "Pacific/Kiritimati",
        "Etc/GMT+12",
        "Not/AZone",
        "UTC",
    ),
}


@st.composite
def _payloads(draw: DrawFn, kind: str, anchor: int) -> dict[str, Value | Listed]:
    names = FIELDS.get(kind, {})
    fields: dict[str, Value | Listed] = {}
    for name in names:
        if name in REQUIRED.get(kind, ()) or _chance(draw, 85):
            values = (anchor, anchor + HOUR) if name == "t" else VALUES[name]
            fields[name] = draw(st.sampled_from(values))
    for name in PEOPLE.get(kind, ()):
        if _chance(draw, 60):
            fields[name] = draw(st.sampled_from(VALUES[name]))
    return fields


@st.composite
def _runs(draw: DrawFn, anchor: int) -> Run:
    kind = draw(st.sampled_from(("a", "a", "b", "c.d", "e", "user.updated", "a", "b", "c.d", "undeclared")))
    single = kind in ("user.updated", "undeclared")
    return Run(
        kind,
        user=draw(st.sampled_from(("u", "u", "u", "u", "v"))),
        tenant=draw(st.sampled_from(("t", "t", "t", "t", "t", "other"))),
        start=anchor + draw(st.sampled_from(STARTS)),
        gap=draw(st.sampled_from(GAPS)),
        times=1 if single else draw(st.integers(2, 8)),
        offsets=draw(st.lists(st.sampled_from(OFFSETS), min_size=1, max_size=2)),
        payloads=draw(st.lists(_payloads(kind, anchor), min_size=1, max_size=2)),
    )


@st.composite
def streams(draw: DrawFn, anchor: int) -> list[Event]:
    """Draw a stream: runs of events that may lie inside one another, each id once."""
    events: list[Event] = []
    for run in draw(st.lists(_runs(anchor), min_size=5, max_size=14)):
        initial = _pick(draw, "mzAa")
        for i in range(run.times):
            events.append(
                Event(
                    tenant=run.tenant,
                    id=f"{initial}{len(events)}",
                    type=run.kind,
                    user=run.user,
                    at=run.start + i * run.gap,
                    offset=run.offsets[i % len(run.offsets)],
                    fields=cast("dict[str, Value]", run.payloads[i % len(run.payloads)]),
                )
            )
    return events


@st.composite
def _scenarios(draw: DrawFn, *, possible: bool) -> Scenario:
    anchor = draw(st.sampled_from(ANCHORS))
    files = rule_files(anchor, possible=possible)
    text = draw(files.filter(lambda text: not impossible(text)) if possible else files)
    return Scenario(text, draw(streams(anchor)))


HEADS_OF_MOMENTS: Final = (
    (" version 1 from {1}",),
    ("", " version 2 from {1}"),
    ("", " version 2 from {1}", " version 3 from {2}"),
    (" version 1 from {0}", " version 2 from {1}", " version 3 from {2} fresh"),
)


@st.composite
def moments(draw: DrawFn) -> Scenario:
    """Draw rules whose versions begin among the events; earlier ones ask for what seldom happens."""
    anchor = draw(st.sampled_from(ANCHORS))
    texts: list[str] = []
    targets: list[str] = []
    scope = draw(st.sampled_from(("user", "user", "user", "tenant", "team")))
    for name in NAMES[: draw(st.integers(1, len(NAMES)))]:
        repeat = draw(st.sampled_from(("", "", "", "each", "every day", "every week tz=event", "every day tz=user")))
        shape = Shape(name, scope, repeat, draw(st.sampled_from(((), (), ("low", "high")))))
        heads = draw(st.sampled_from((*HEADS_OF_MOMENTS, ("",))))
        begins = [written(anchor - 7 * DAY), written(anchor), written(anchor + HOUR)]
        versions = [_achievements(shape, head.format(*begins), anchor, tuple(targets)) for head in heads]
        drawn = [draw(version.filter(lambda text: not impossible(CONTRACT + text))) for version in versions]
        if len(drawn) > 1 and _chance(draw, 60) and not shape.tiers:
            drawn[0] = _RARE.format(name=name, scope=scope, repeat=f"repeat {repeat}" if repeat else "")
        texts += drawn
        targets += [name, *(f"{name}.{tier}" for tier in shape.tiers)]
    text = CONTRACT + "\n".join(texts) + "\n"
    assume(not impossible(text))  # of all versions together
    return Scenario(text, draw(streams(anchor)))


_RARE: Final = 'achievement {name} {{ title "T" scope {scope} {repeat} when count(event=a, >= 999) }}'


def scenarios(*, possible: bool = True) -> SearchStrategy[Scenario]:
    """Return the strategy for a rule file and a stream that share their edges."""
    return _scenarios(possible=possible)
