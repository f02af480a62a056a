"""Arguments that are written elsewhere, under another name, or without a comma."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dsl.diagnostics import nearest
from dsl.parse.calls import arguments_of, flat
from dsl.parse.intents.meaning import BOUND, Meant, event_of, first_of, given, written

if TYPE_CHECKING:
    from dsl.parse.calls import Call
    from dsl.parse.intents.meaning import Taken


def unless(_text: str, call: Call, _taken: Taken) -> Meant | None:
    """`unless=count(event=x, ...)` names its event."""
    changed: list[str] = []
    for each in call.arguments:
        found = re.fullmatch(r"unless\s*=\s*(?:count|sum|max|min|streak)\s*(\(.*\))", each.text)
        event = None if found is None else event_of([one.text for one in arguments_of(found[1]) or ()])
        changed.append(each.text if event is None else f"unless={event}")
    if changed == given(call):
        return None
    return Meant("`unless=` takes events, and each of them starts this afresh", written(call.name, changed), call)


def copies(_text: str, call: Call, _taken: Taken) -> Meant | None:
    """`once within 1m`: copies are left out where the event is declared."""
    kept: list[str] = []
    once: re.Match[str] | None = None
    for each in call.arguments:
        found = re.search(
            r"\bonce\b(?:\s+per\s+([a-z]\w*))?(?:\s+(?:within|every|in|per)\s*=?\s*(\d+[smhdw]|\w+))?\s*\Z", each.text
        )
        once = once or found
        kept.append(each.text if found is None else each.text[: found.start()].rstrip(" ,"))
    if once is None:
        return None
    event = first_of(event_of(kept) or "lesson.completed")
    span = once[2] if once[2] and once[2][0].isdigit() else "1m"
    declared = f"event {event} {{ {once[1] or 'id'}: string once per {once[1] or 'id'} within {span} }}"
    why = f"copies are left out where the event is declared: {declared}"
    return Meant(why, written(call.name, list(filter(None, kept))), call)


_GLUED: Final = r"(.+?)\s+(within|per|unless|tz|distinct|of|grace)\s*=?\s*(\S+)"


def cut(text: str) -> list[str]:
    """Return the arguments of `>= 3 within 7d`, which no comma separates."""
    if found := re.fullmatch(r"(within|per|unless|tz|distinct|of|grace|by)\s+([^\s=]+)", text):
        return [f"{found[1]}={found[2]}"]
    found = re.fullmatch(rf"(event\s*=\s*)?([a-z]\w*(?:\.\w+)*)\s+({BOUND})", text)
    if found is not None and (found[1] or "." in found[2]):
        return [f"event={found[2]}", found[3]]
    found = re.fullmatch(_GLUED, text)
    if found is None or re.search(r"\bonce\b", text) or not is_whole(found[1]):
        return [text]
    if " where " in text and found[2] not in ("within", "unless"):
        return [text]
    return [*cut(found[1]), f"{found[2]}={found[3]}"]


def is_whole(text: str) -> bool:
    """Return whether brackets and strings in a text are closed."""
    return all(text.count(one) == text.count(other) for one, other in ("()", "[]", "{}")) and text.count('"') % 2 == 0


def commas(_text: str, call: Call, taken: Taken) -> Meant | None:
    """`>= 3 within 7d` is two arguments."""
    names = taken(call.name) or ()
    parts = [part for each in call.arguments for part in cut(each.text)]
    added = {part.partition("=")[0] for part in parts} & {"within", "per", "unless", "tz", "distinct", "of", "grace"}
    known = [part.partition("=")[0] for part in parts if re.match(r"[a-z_]+\s*=", part)]
    if parts == given(call) or not added <= set(names) or len(set(known)) < len(known):
        return None
    return Meant("commas separate the arguments, and `=` follows their names", written(call.name, parts), call)


def at_least(_text: str, call: Call, _taken: Taken) -> Meant | None:
    """`at_least(3, event=a)` is a count: `at_least` counts conditions."""
    arguments = given(call)
    number = next((each for each in arguments if re.fullmatch(r"\d+", each)), None)
    if number is None or not any(re.match(r"event\s*=", each) for each in arguments):
        return None
    rest = [part for each in arguments if each is not number for part in cut(each)]
    return Meant(
        "`at_least` counts conditions; events are counted by `count`", written("count", [*rest, f">= {number}"]), call
    )


def bare_field(_text: str, call: Call, taken: Taken) -> Meant | None:
    """`sum(distance, event=a)`: the field is `of=`, that of a count `distinct=`."""
    arguments = given(call)
    name = "of" if "of" in (taken(call.name) or ()) else "distinct"
    bare = [each for each in arguments if re.fullmatch(r"[a-z]\w*", each)]
    if any(" where " in each for each in arguments):
        return None
    event = [each for each in arguments if re.match(r"event\s*=", each) or re.fullmatch(r"[a-z]\w*(\.\w+)+", each)]
    if len(bare) != 1 or len(event) != 1 or any(each.startswith(f"{name}=") for each in arguments) or bare[0] in _UNITS:
        return None
    first = event[0] if "=" in event[0] else f"event={event[0]}"
    rest = [each for each in arguments if each not in (bare[0], event[0])]
    return Meant(f"the field is `{name}=`", written(call.name, [first, f"{name}={bare[0]}", *rest]), call)


_UNITS: Final = ("minute", "hour", "day", "week", "month", "year")


def named_bound(_text: str, call: Call, taken: Taken) -> Meant | None:
    """`times=3` is the bound `>= 3`."""
    sign = "<=" if call.name == "min" else ">="
    names = taken(call.name) or ()
    kept: list[str] = []
    for each in call.arguments:
        found = re.fullmatch(rf"({'|'.join(_BOUND_NAMES)})\s*=+\s*\"?(\d[\d_.]*)\"?", each.text)
        kept.append(each.text if found is None or found[1] in names else f"{sign} {found[2]}")
    if kept == given(call) or sum(each.startswith(("<", ">")) for each in kept) > 1:
        return None
    return Meant("the bound has no name", written(call.name, kept), call)


_BOUND_NAMES: Final = (
    "at_least least min minimum max maximum times number n value bound target threshold goal amount "  # noqa: SIM905
    "total size how_many".split()
)


_BESIDE: Final = (
    (r"(?:in|last|window|during|over|span|interval|timeframe|since|for)\s*=\s*(\d+[smhdw])", r"within=\1", "within"),
    (r"(?:every|each|in|by|unit|period|interval)\s*=\s*\"?(minute|hour|day|week|month|year)s?\"?", r"per=\1", "per"),
    (
        r"(?:group_by|groupby|group|partition_by|each|for_each|key|keyed_by)\s*=\s*\"?(?!day|week|hour)([a-z]\w*)\"?",
        r"by=\1",
        "by",
    ),
    (
        r"(?:freeze|freezes|skips|skip|misses|missed|allowed|gap|max_gap|days_off|rest)\s*=\s*(\d+)d?",
        r"grace=\1",
        "grace",
    ),
    (r"(?:timezone|zone|time_zone)\s*=\s*(user|event|\"[^\"]*\")", r"tz=\1", "tz"),
    (
        r"(?:distinct_by|unique|unique_by|distinct_on|different|of|field|on)\s*=\s*\"?([a-z]\w*)\"?",
        r"distinct=\1",
        "distinct",
    ),
    (r"(?:field|value|column|on|by|amount|total|score)\s*=\s*\"?([a-z]\w*)\"?", r"of=\1", "of"),
    (r"(?:except|without|reset|resets|reset_by|reset_on|until|not)\s*=\s*([a-z][\w.]*)", r"unless=\1", "unless"),
)
"""Arguments by another name: what they look like, what is written, and its name."""


def other_names(_text: str, call: Call, taken: Taken) -> Meant | None:
    """`last=7d` is `within=7d`, and so on."""
    names = taken(call.name) or ()
    known = {each.partition("=")[0].strip() for each in given(call)}
    changed: list[str] = []
    why: list[str] = []
    for each in call.arguments:
        for pattern, instead, name in _BESIDE:
            found = re.fullmatch(pattern, each.text)
            if found is not None and name in names and name not in known and not each.text.startswith(f"{name}="):
                why.append(f"that is `{name}=`")
                changed.append(found.expand(instead))
                break
        else:
            changed.append(each.text)
    return Meant(", ".join(why), written(call.name, changed), call) if why else None


def filters(_text: str, call: Call, taken: Taken) -> Meant | None:
    """Arguments that are comparisons of fields belong behind the event."""
    names = taken(call.name) or ()
    kept: list[str] = []
    tests: list[str] = []
    for at, each in enumerate(call.arguments):
        test = _comparison(each.text, names) or _bare(each.text, names, call)
        if test is None or (at == 0 and re.fullmatch(rf"[a-z][\w.]*\s*{BOUND}", each.text)):
            kept.append(each.text)
        else:
            tests.append(test)
    number = next((at for at, each in enumerate(kept) if re.match(r"event\s*=", each)), None)
    if number is None and kept and event_of(kept[:1]) is not None:
        number, kept[0] = 0, f"event={kept[0]}"
    if not tests or number is None:
        return None
    event, _, before = kept[number].partition(" where ")
    if before:
        tests.insert(0, f"({before})" if re.search(r"\bor\b", before) else before)
    kept[number] = f"{event} where {' and '.join(tests)}"
    if not any(re.match(r"[<>=]", each) for each in kept):
        kept.append(">= 1")
    return Meant("what an event must be is a filter behind it", written(call.name, kept), call)


def _bare(text: str, names: tuple[str, ...], call: Call) -> str | None:
    """Return a bool that stands alone, where the event has a filter already."""
    filtered = any(re.match(r"event\s*=.*\bwhere\b", each) for each in given(call))
    alone = re.fullmatch(r"(?:not\s+)?[a-z]\w*", text)
    return text if filtered and alone is not None and text not in (*names, *_NO_FIELDS, *_UNITS, "all", "not") else None


def _comparison(text: str, names: tuple[str, ...]) -> str | None:
    found = re.fullmatch(
        r"([a-z]\w*)\s*(==|!=|<>|>=|<=|=>|=<|=|>|<|\bnot\s+in\b|\bin\b|\bis\b)\s*(.+)", text, re.DOTALL
    )
    if found is None or found[1] in names or found[1] in ("where", "filter", "if", *_NO_FIELDS):
        return None
    value = found[3]
    if found[2] in ("=", "==") and re.fullmatch(r"[a-z]\w*", value) and value not in ("true", "false"):
        if nearest(found[1], names):
            return None  # a misspelt name of an argument
        value = f'"{value}"'
    elif found[2] == "=" and nearest(found[1], names) and not value.startswith('"'):
        return None
    sign = {"==": "=", "<>": "!=", "=>": ">=", "=<": "<="}.get(found[2], flat(found[2]))
    return f"{found[1]} {sign} {flat(value)}"


_NO_FIELDS: Final = frozenset(
    "at_least least min minimum max maximum times number n value bound target threshold goal by once days weeks "  # noqa: SIM905
    "hours months years group_by groupby group partition_by key skip skips except exclude ignore starts start "
    "week_start week_starts first_day repeat then and or as role distinct of event grace since from until "
    "before between per within unless tz".split()
)
"""What is more likely meant as another argument than as a field."""
