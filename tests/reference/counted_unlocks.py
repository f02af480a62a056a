"""Rules that count unlocks, over a few plain ones, and streams for them: the strategy of section F.

What is plain is earned often, in families, tiers, versions and occurrences, with rewards. What is not counts that, and
each other, in every way that there is. The events are those of `strategies`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from hypothesis import strategies as st

from dsl.check import check
from dsl.diagnostics import Severity
from dsl.parse import parse
from dsl.source import Source
from tests.reference import strategies
from tests.reference.strategies import CONTRACT, HOUR, ZONES, Scenario, written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn

    from dsl.event import Event

PLAIN: Final = ("p", "q", "r", "s2")
DEEP: Final = ("b", "k", "t", "z")
"""Names on both sides of the plain ones in the order of names."""
WHENS: Final = (
    "count(event=a, >= 1)",
    "count(event=a, >= 2)",
    "count(event=[a, c.d], >= 3)",
    "count(event=b, >= 1)",
    "count(event=c.d, >= 1)",
    "count(event=c.d, >= 2, within=1h)",
    "sum(event=a, of=n, >= 3)",
    "sum(event=c.d, of=m, >= 2)",
    "count(event=a, >= 2, unless=c.d)",
    "streak(event=a, per=day, >= 2)",
    "count(event=user.updated, >= 1)",
)
CALM: Final = tuple(when for when in WHENS if not any(word in when for word in ("unless", "=b", "of=m")))
REPEATS: Final = ("", "", "repeat each", "repeat every day", "repeat every hour tz=event", "repeat by s")
ASIDES: Final = ("", "", "for level >= 1", "settle 1h", "active {anchor} ..")


class Known(NamedTuple):
    """What has been declared so far: names, and what `unlocked` and `after` may name.

    What is `calm` is mostly final: no late event takes it back.
    """

    names: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    calm: bool = False


def _pick(draw: DrawFn, choices: Sequence[str]) -> str:
    return draw(st.sampled_from(choices))


def _chance(draw: DrawFn, percent: int) -> bool:
    return draw(st.integers(0, 99)) >= 100 - percent


def _reward(draw: DrawFn, percent: int = 85) -> str:
    xp = _pick(draw, ("5", "10", "10", "25", "0.5", "1"))
    kind = _pick(draw, ("gold", "tin"))
    return (
        f'reward {{ xp: {xp}, kind: "{kind}", worth: {_pick(draw, ("1", "2", "-1"))} }}'
        if _chance(draw, percent)
        else ""
    )


@st.composite
def _plain(draw: DrawFn, name: str, scope: str, anchor: int, known: Known) -> str:
    repeat = _pick(draw, REPEATS)
    family = _pick(draw, ("", "family red", "family blue"))
    lines = [f"scope {scope}" if scope != "user" else "", repeat, family]
    after = f"after {_pick(draw, known.targets)}" if known.targets and _chance(draw, 20) else ""
    aside = _pick(draw, ASIDES).format(anchor=written(anchor)) if scope == "user" and not known.calm else ""
    tiers = _chance(draw, 25)
    heads = draw(st.sampled_from((("",), ("",), ("", f" version 2 from {written(anchor)}"))))
    texts: list[str] = []
    for head in heads:
        whens = [_pick(draw, CALM if known.calm else WHENS) for _ in range(2)]
        if "by s" in repeat:
            whens = ["count(event=a, >= 1)", "count(event=[a, c.d], >= 2)"]
        own = f"tier low {{ when {whens[0]} {_reward(draw)} }} tier high {{ when {whens[1]} {_reward(draw, 40)} }}"
        body = own if tiers else f"when {whens[0]}"
        texts.append(f"achievement {name}{head} {{ {' '.join([*lines, after, aside, body, _reward(draw)])} }}")
    return "\n".join(texts)


@st.composite
def _filters(draw: DrawFn, known: Known, deep: Sequence[str]) -> str:
    """Draw a filter over unlocks; it names what is not plain outright, or sees none of it."""
    choices = [
        'family = "red"',
        'family in ["red", "blue"]',
        "family is not present",
        'tier = "low"',
        'tier != "low"',
        "reward.xp >= 10",
        'reward.kind = "gold"',
        "occurrence is present",
        'occurrence = "1"',
        'occurrence > "2026-05"',
        "at.hour >= 12",
        f'achievement != "{_pick(draw, known.names)}"',
        f'achievement = "{_pick(draw, known.names)}"',
        f'achievement in ["{_pick(draw, known.names)}", "{_pick(draw, known.names)}"]',
    ]
    if deep:
        choices += [
            f'achievement = "{_pick(draw, deep)}"',
            f'achievement in ["{_pick(draw, deep)}", "{_pick(draw, known.names)}"]',
        ] * 3
    one, two = _pick(draw, choices), _pick(draw, choices)
    return _pick(draw, (one, one, one, f"{one} and {two}", f"{one} or {two}", f"not ({one})"))


@st.composite
def _patterns(draw: DrawFn, known: Known, deep: Sequence[str], *, events: bool = True) -> str:
    one = "unlocks" if _chance(draw, 35) else f"unlocks where {draw(_filters(known, deep))}"
    if not events or _chance(draw, 75):
        return one
    return f"[{one}, {_pick(draw, ('a', 'c.d', 'a where n > 1', 'unlocks'))}]"


@st.composite
def _mods(draw: DrawFn, known: Known, deep: Sequence[str], *, spans: bool = True) -> str:
    mods: list[str] = []
    if known.calm and _chance(draw, 80):
        return ""
    if spans and _chance(draw, 20):
        mods.append(f"within={_pick(draw, ('10m', '1h', '1d', '2d'))}")
    if spans and _chance(draw, 15):
        mods.append(f"per={_pick(draw, ('day', 'hour', 'week'))}, tz={_pick(draw, ZONES)}")
    if _chance(draw, 15):
        mods.append(f"unless={_pick(draw, ('c.d', 'b', draw(_patterns(known, deep))))}")
    return "".join(f", {mod}" for mod in mods)


KINDS: Final = ("count", "count", "distinct", "number", "number", "signed", "streak", "sequence", "by", "units")

CALM_KINDS: Final = ("count", "count", "distinct", "number", "number", "by")


@st.composite
def _conditions(draw: DrawFn, known: Known, deep: Sequence[str], depth: int = 1, *, spanned: bool = False) -> str:
    kinds = CALM_KINDS if known.calm else KINDS
    kind = _pick(draw, (*kinds, *(("all",) * 3 if depth else ()), *(("unlocked",) if known.targets else ())))
    if kind == "all":
        return draw(_compositions(known, deep, depth, spanned=spanned))
    if kind == "unlocked":
        return f"unlocked({_pick(draw, known.targets)})"
    if kind == "signed" and not spanned:
        own = draw(_patterns(known, deep, events=False))
        return f"sum(event={own}, of=reward.worth, >= {draw(st.integers(0, 3))})"
    mods = draw(_mods(known, deep))
    return draw((_numbers if kind in ("distinct", "number") else _orders)(kind, mods, known, deep))


@st.composite
def _compositions(draw: DrawFn, known: Known, deep: Sequence[str], depth: int, *, spanned: bool) -> str:
    mods = draw(_mods(known, deep))
    inner = _conditions(known, deep, depth - 1, spanned=spanned or bool(mods))
    parts = draw(st.lists(inner, min_size=2, max_size=2))
    parts += [_pick(draw, ("count(event=a, >= 2)", "count(event=c.d, >= 1)"))] if _chance(draw, 30) else []
    return f"{_pick(draw, ('all', 'any'))}({', '.join(parts)}{mods})"


@st.composite
def _numbers(draw: DrawFn, kind: str, mods: str, known: Known, deep: Sequence[str]) -> str:
    own = draw(_patterns(known, deep, events=False))
    if kind == "distinct":
        field = _pick(draw, ("achievement", "tier", "family", "occurrence", "reward.kind", "at.date"))
        return f"count(event={own}, distinct={field}, >= {draw(st.integers(1, 2))}{mods})"
    operator, bound = draw(st.sampled_from((("sum", ">= 1"), ("sum", ">= 25"), ("max", ">= 10"), ("min", "<= 5"))))
    return f"{operator}(event={own}, of=reward.xp, {bound}{mods})"


@st.composite
def _orders(draw: DrawFn, kind: str, mods: str, known: Known, deep: Sequence[str]) -> str:
    pattern, few = draw(_patterns(known, deep)), f">= {draw(st.integers(1, 2))}"
    match kind:
        case "streak":
            return f"streak(event={pattern}, per={_pick(draw, ('day', 'hour'))}, {few}, tz={_pick(draw, ZONES)})"
        case "sequence":
            return f"sequence([{', '.join(draw(st.lists(_patterns(known, deep), min_size=2, max_size=3)))}]{mods})"
        case "by":
            field, own = _pick(draw, ("family", "achievement", "tier")), draw(_patterns(known, deep, events=False))
            return f"count(by={field}, count(event={own}, {few}), >= {draw(st.integers(1, 2))}{mods})"
        case "units":
            return f"{_pick(draw, ('count', 'streak'))}(per=day, count(event={pattern}, {few}), >= 1)"
        case _:
            return f"count(event={pattern}, >= {draw(st.integers(1, 3))}{mods})"


@st.composite
def _deep(draw: DrawFn, name: str, scope: str, anchor: int, known: Known, deep: Sequence[str]) -> str:
    repeat = _pick(draw, ("", "", "", "repeat each", "repeat every day", "repeat by family", "repeat by achievement"))
    lines = [f"scope {scope}" if scope != "user" else "", repeat, _pick(draw, ("", "family red")), _reward(draw, 50)]
    if known.targets and _chance(draw, 20):
        lines.append(f"after {_pick(draw, known.targets)}")
    if scope == "user" and _chance(draw, 10):
        lines.append("for level >= 1")
    if _chance(draw, 10):
        lines.append(f"active {written(anchor)} ..")
    heads = draw(
        st.sampled_from(
            (
                ("",),
                ("",),
                ("",),
                ("", f" version 2 from {written(anchor)}"),
                ("", f" version 2 from {written(anchor + HOUR)} fresh"),
            )
        )
    )
    texts: list[str] = []
    for head in heads:
        if repeat.startswith("repeat by"):
            own = draw(_patterns(known, deep, events=False))
            when = f"count(event={own}, >= {draw(st.integers(1, 2))})"
        else:
            when = draw(_conditions(known, deep, spanned="every" in repeat))
        texts.append(f"achievement {name}{head} {{ {' '.join(lines)} when {when} }}")
    return "\n".join(texts)


def _refused(text: str) -> bool:
    """Return whether rules have an error, such as a filter that no unlock passes, or can never come true."""
    file, _ = parse(Source("drawn.ach", CONTRACT + text))
    problems = check([file])[1]
    return any(each.severity is Severity.ERROR for each in problems) or bool(strategies.impossible(CONTRACT + text))


@st.composite
def rule_files(draw: DrawFn, anchor: int, *, calm: bool = False) -> str:
    """Draw a rule file: plain achievements, and some over their unlocks; without errors."""
    return CONTRACT + "\n".join(draw(st.permutations(draw(_achievements(anchor, calm=calm))))) + "\n"


@st.composite
def _achievements(draw: DrawFn, anchor: int, *, calm: bool = False) -> list[str]:
    scope = draw(st.sampled_from(("user", "user", "user", "tenant", "team")))
    texts, known = list[str](), Known(calm=calm)
    for name in PLAIN[: draw(st.integers(1, len(PLAIN)))]:
        texts.append(draw(_plain(name, scope, anchor, known)))
        known = known._replace(names=(*known.names, name), targets=(*known.targets, name))
    deep: tuple[str, ...] = ()
    for name in DEEP[: draw(st.integers(1, len(DEEP)))]:
        drawn = _deep(name, scope, anchor, known, deep)
        text = draw(drawn.filter(lambda text: not _refused("\n".join([*texts, text]))))
        texts.append(text)
        deep, known = (*deep, name), known._replace(targets=(*known.targets, name))
    return texts


@st.composite
def scenarios(draw: DrawFn, *, calm: bool = False) -> Scenario:
    """Draw rules over unlocks and a stream that share their edges; `calm` ones are mostly final."""
    anchor = draw(st.sampled_from(strategies.ANCHORS))
    return Scenario(draw(rule_files(anchor, calm=calm)), draw(strategies.streams(anchor)))


class Change(NamedTuple):
    """Rule files that follow each other, and a stream for all of them."""

    texts: list[str]
    events: list[Event]


@st.composite
def changes(draw: DrawFn) -> Change:
    """Draw rules over unlocks that change: achievements come and go, rewards and families are others."""
    anchor = draw(st.sampled_from(strategies.ANCHORS))
    every = draw(_achievements(anchor))
    texts = [every]
    for _ in range(draw(st.integers(1, 2))):
        edit = draw(st.sampled_from(("without", "reward", "family", "bound", "back")))
        last = texts[-1]
        place = draw(st.integers(0, len(last) - 1))
        made = [*last]
        if edit == "without":
            del made[place]
        elif edit == "back":
            made = every
        else:
            made[place] = made[place].replace(*OTHERWISE[edit])
        if made and not _refused("\n".join(made)):
            texts.append(made)
    events = draw(strategies.streams(anchor))
    return Change([CONTRACT + "\n".join(text) + "\n" for text in texts], events)


OTHERWISE: Final = {"reward": ("xp: 10", "xp: 25"), "family": ("family red", "family blue"), "bound": (">= 2", ">= 1")}
