"""Parts of a call in the wrong place: a filter beside its event, a field behind its event, a bound in words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dsl.parse.calls import items
from dsl.parse.intents.meaning import BOUND, Meant, event_of, given, is_named, written

if TYPE_CHECKING:
    from dsl.parse.calls import Call
    from dsl.parse.intents.meaning import Taken

_WHERE: Final = "the filter stands behind its event, without a comma"
_OF: Final = ("sum", "max", "min")


def beside(_text: str, call: Call, _taken: Taken) -> Meant | None:
    """`event=a, where n > 5` and `event=a(n > 5)`: the filter is a part of the event."""
    kept: list[str] = []
    tests: list[str] = []
    for each in call.arguments:
        test = re.fullmatch(r"(?:where|filter|if|when|having)\s*[=:]?\s*(.+)", each.text, re.DOTALL)
        inside = re.fullmatch(r"((?:event\s*=\s*)?[a-z]\w*(?:\.\w+)*)\s*[(\[]\s*(.+?)\s*[)\]]", each.text, re.DOTALL)
        if test is not None:
            tests.append(test[1].strip("\"'()"))
        elif inside is not None and re.search(r"[=<>]|\bin\b", inside[2]) and inside[1].partition("=")[0] != "unless":
            kept.append(inside[1])
            tests.append(inside[2])
        else:
            kept.append(each.text)
    return _filtered(call, kept, tests, _WHERE)


def _filtered(call: Call, kept: list[str], tests: list[str], why: str) -> Meant | None:
    event = event_of(kept)
    if event is None or not tests or not re.match(r"[a-z][\w.]*(?: as \w+)?(?: where\b|\Z)", event):
        return None
    number = next(at for at, each in enumerate(kept) if event in each)
    name, _, before = event.partition(" where ")
    whole = " and ".join([*([before] if before else []), *(test.replace("==", "=") for test in tests)])
    kept[number] = f"event={name} where {whole}"
    return Meant(why, written(call.name, kept), call)


def in_distinct(_text: str, call: Call, _taken: Taken) -> Meant | None:
    """`distinct=pet in base_pets`: which values count is said by the filter."""
    kept: list[str] = []
    tests: list[str] = []
    for each in call.arguments:
        found = re.fullmatch(r"distinct\s*=\s*([a-z]\w*)\s+(?:where\s+(.+)|((?:not\s+)?in\s+.+))", each.text, re.DOTALL)
        kept.append(each.text if found is None else f"distinct={found[1]}")
        if found is not None:
            tests.append(found[2] or f"{found[1]} {found[3]}")
    if call.name != "count":
        return None
    return _filtered(call, kept, tests, "`distinct=` names a field, and the filter says which values count")


def every(_text: str, call: Call, _taken: Taken) -> Meant | None:
    """`= all`, `>= size(base_pets)`: as many as the list has."""
    arguments = given(call)
    event = event_of(arguments)
    if event is None or " in " not in event or not any(each.startswith("distinct") for each in arguments):
        return None
    words = r"(?:(?:>=|==?|=>)\s*)?(?:all|every|everything|(?:size|length|len|count)\s*\(\s*\w+\s*\))"
    changed = [">= all" if re.fullmatch(words, each) else each for each in arguments]
    if changed == arguments or sum(each.startswith((">", "<")) for each in changed) > 1:
        return None
    return Meant("`all` is as many as the list of the filter has", written(call.name, changed), call)


def field_of_event(_text: str, call: Call, _taken: Taken) -> Meant | None:
    """`sum(event=a.b.n, >= 5)`, `sum(n of a.b, >= 5)`, `sum(event=a, n >= 5)`: the field is `of=`."""
    arguments = given(call)
    if call.name not in _OF or any(re.match(r"of\s*=", each) for each in arguments):
        return None
    for number, each in enumerate(arguments):
        dotted = re.fullmatch(r"(?:event\s*=\s*)?([a-z]\w*\.\w+(?:\.\w+)*)\.([a-z]\w*)", each)
        words = re.fullmatch(r"([a-z]\w*)\s+(?:of|from|in|on|for)\s+([a-z]\w*(?:\.\w+)*)", each)
        bound = re.fullmatch(rf"([a-z]\w*)\s*({BOUND})", each) if event_of(arguments[:number]) is not None else None
        if dotted is not None and event_of([each]) is not None:
            changed = [f"event={dotted[1]}", f"of={dotted[2]}"]
        elif words is not None:
            has_event = any(re.match(r"event\s*=", one) for one in arguments)
            changed = [*([] if has_event else [f"event={words[2]}"]), f"of={words[1]}"]
        elif bound is not None and not any(re.match(r"[<>=]", one) for one in arguments):
            changed = [f"of={bound[1]}", bound[2]]
        else:
            continue
        rest = [*arguments[:number], *changed, *arguments[number + 1 :]]
        return Meant("the field is `of=`", written(call.name, rest), call)
    return None


def bound_in_words(_text: str, call: Call, _taken: Taken) -> Meant | None:
    """`at least 10`, `>= 10 times`, `>= 10 in 7d` and `>= 1,000`: a bound is a comparison and a number."""
    changed: list[str] = []
    for each in given(call):
        words = re.fullmatch(r"(at least|at_least|minimum|min|more than|over|above)\s+(\d[\d_]*)(?:\s+\w+)?", each)
        much = re.fullmatch(r"(>=?|==?)\s*(\d[\d_]*)\s*(?:times|events|x|items|pcs)", each)
        span = re.fullmatch(r"(>=?)\s*(\d[\d_]*)\s+(?:in|during|over|inside|per)\s+(\d+[smhdw])", each)
        if words is not None:
            changed.append(f"{'>' if words[1] in ('more than', 'over', 'above') else '>='} {words[2]}")
        elif much is not None:
            changed.append(f"{'>' if much[1] == '>' else '>='} {much[2]}")
        elif span is not None:
            changed += [f"{span[1]} {span[2]}", f"within={span[3]}"]
        elif re.fullmatch(r"\d{3}", each) and changed and re.fullmatch(r"[<>]=? ?\d{1,3}(?:_\d{3})*", changed[-1]):
            changed[-1] += f"_{each}"
        else:
            changed.append(each)
    if changed == given(call):
        return None
    return Meant("a bound is a comparison and a number", written(call.name, changed), call)


def several(_text: str, call: Call, _taken: Taken) -> Meant | None:
    """`count(event=a.b, c.d, >= 3)`: several events stand in brackets."""
    arguments = given(call)
    first = next((each for each in arguments if re.fullmatch(r"event\s*=\s*[a-z]\w*(?:\.\w+)*", each)), None)
    others = [each for each in arguments if re.fullmatch(r"[a-z]\w*(?:\.\w+)+", each)]
    if first is None or not others:
        return None
    events = [first.partition("=")[2].strip(), *others]
    rest = [each for each in arguments if each is not first and each not in others]
    text = written(call.name, [f"event=[{', '.join(events)}]", *rest])
    return Meant("several events stand in brackets", text, call)


def combinations(_text: str, call: Call, _taken: Taken) -> Meant | None:
    """`distinct=(x, y)`, `distinct=x, y`, `by=["x", "y"]`: several fields stand in brackets, as names."""
    changed: list[str] = []
    why = ""
    for each in given(call):
        found = re.fullmatch(
            r"(distinct|by)\s*=\s*(?:\(([^()]*)\)|\[([^\[\]]*)\]|(\w+(?:\s*(?:\+|and|&)\s*\w+)+))", each
        )
        names = [] if found is None else re.findall(r"[a-z][\w.]*", (found[2] or found[3] or found[4] or ""))
        names = [name for name in names if name != "and"]
        before = re.fullmatch(r"(distinct|by)=\[?([^\[\]]*?)\]?", changed[-1].replace(" ", "")) if changed else None
        if found is not None and len(names) > 1:
            changed.append(f"{found[1]}=[{', '.join(names)}]")
            why = "several fields stand in brackets, as names"
        elif before is not None and re.fullmatch(r"[a-z]\w*", each) and each not in _FLAGS:
            changed[-1] = f"{before[1]}=[{', '.join([*before[2].split(','), each])}]"
            why = "several fields stand in brackets, as names"
        else:
            changed.append(each)
    return Meant(why, written(call.name, changed), call) if why and changed != given(call) else None


_SEVERAL: Final = r"\(([^()]*)\)|\[([^\[\]]*)\]|(\w+(?:\s*(?:\+|and|&)\s*\w+)+)"
_FLAGS: Final = ("all", "every", "not", "consecutive", "in_a_row", "straight")


def loose(_text: str, call: Call, _taken: Taken) -> Meant | None:
    """`any([C, C])` and `at_least(2 of C, C)`: conditions stand side by side."""
    changed: list[str] = []
    why = ""
    for each in given(call):
        several = items(each)
        number = re.fullmatch(r"(\d+)\s*(?:of|out of|from|in|:)\s*(.+)", each, re.DOTALL)
        if several is not None and any("(" in one for one in several):
            changed += several
            why = "the conditions stand side by side, without brackets"
        elif number is not None and call.name == "at_least" and "(" in number[2]:
            changed += [number[1], *(items(number[2]) or [number[2]])]
            why = "the conditions stand behind the number, with commas"
        else:
            changed.append(each)
    return Meant(why, written(call.name, changed), call) if why else None


_ROW: Final = r"(?:in_a_row|in_row|row|consecutive|consecutively|straight|uninterrupted|unbroken|streak)"


def in_a_row(_text: str, call: Call, _taken: Taken) -> Meant | None:
    """`consecutive`, `in_a_row=true`: what the filter leaves out begins afresh."""
    arguments = given(call)
    kept = [each for each in arguments if not re.fullmatch(rf"{_ROW}(?:\s*=+\s*\"?\w+\"?)?", each)]
    event = event_of(kept)
    if len(kept) == len(arguments) or event is None or any(each.startswith("unless") for each in kept):
        return None
    name, _, test = event.partition(" where ")
    kept = [each if is_named(each) or each != event else f"event={event}" for each in kept]
    if not test:
        why = "for events in a row name what begins afresh: unless=quiz.failed; for days in a row write streak(...)"
        return Meant(why, "", call)
    why = "what begins afresh is `unless=`; days in a row are counted by streak(...)"
    return Meant(why, written(call.name, [*kept, f"unless={name} where not ({test})"]), call)


def no_unit(_text: str, call: Call, _taken: Taken) -> Meant | None:
    """`streak(event=a where won, >= 5)`: events in a row go by no calendar."""
    arguments = given(call)
    event = event_of(arguments)
    if (
        event is None
        or " where " not in event
        or any(re.match(r"(?:per|min|grace|tz)\s*=", each) for each in arguments)
    ):
        return None
    if not any(re.fullmatch(BOUND, each) for each in arguments):
        return None
    name, _, test = event.partition(" where ")
    rest = [each for each in arguments if event not in each]
    if not any(each.startswith("unless") for each in rest):
        rest.append(f"unless={name} where not ({test})")
    why = "a streak counts calendar units, such as per=day; for events in a row"
    return Meant(why, written("count", [f"event={event}", *rest]), call)
