"""What stands behind a call: a bound, a filter, `and`, `or`, a span. All of it belongs into brackets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.diagnostics import Suggestion
from dsl.parse.aliases import NO_AVERAGE, other_operator
from dsl.parse.calls import call_at, flat
from dsl.parse.intents.arguments import cut
from dsl.parse.intents.meaning import event_of, given, written
from dsl.source import Span
from dsl.types import Unit

if TYPE_CHECKING:
    from dsl.parse.calls import Call

_TERM: Final = r"\s*(?P<not>not\s+)?(?P<name>[a-z_][a-z0-9_]*)\s*\("
_SIGN: Final = r"\s*(>=|>|<=|<|==|=>|=<|=)\s*(-?\d[\d_.]*)(?!\w)"
_WHERE: Final = r"\s*where\s+([^{}\n]*?)(?=\s*(?:\}|\n|\b(?:and|or)\s+(?:not\s+)?[a-z_]+\())"
_SPAN: Final = r"\s*(within|per|unless)\s*=?\s*(\d+[smhdw]|[a-z][\w.]*)(?![\w=])"
_JOIN: Final = r"\s*(and|or|&&|\|\||&|\|)(?=\s*(?:not\s+)?[a-z_]+\s*\()"
_OPERATORS: Final = ("count", "sum", "max", "min", "streak", "sequence", "all", "any", "at_least", "unlocked")
_REACH: Final = 400
"""Characters behind a call that are looked at."""
_MOST_TERMS: Final = 12
_OF: Final = ("sum", "max", "min")


def _match(pattern: str, text: str, at: int) -> re.Match[str] | None:
    """Match at an offset, within a bounded piece of text."""
    return re.compile(pattern).match(text, at, at + _REACH)


class _Term(NamedTuple):
    """A call with what stands behind it, written anew; its event, where it says what must not happen."""

    text: str
    never: str | None
    end: int


def behind(text: str, at: int) -> Suggestion | None:
    """Return the condition that is meant where a call has ended just before an offset."""
    closing = len(text[:at].rstrip())
    call = call_at(text, closing - 1) if text[:closing].endswith(")") else None
    if call is None or call.span.end != closing:
        return None
    if (suggestion := other_operator(text, call.span.start)) is not None and call.name not in _OPERATORS:
        return suggestion
    if re.match(r"\s*[/*+-]\s*[a-z_]+\s*\(", text[closing : closing + 40]):
        return Suggestion(NO_AVERAGE, call.span, "")
    start = len(text[: call.span.start].rstrip())
    if not re.search(r"\b(when|and|or)\s*\Z|[(,]\s*\Z", text[max(0, start - 20) : call.span.start]):
        return None
    if call.name not in _OPERATORS:
        return None
    terms = [_behind(text, call, never=False)]
    joins: list[str] = []
    while len(terms) < _MOST_TERMS and (join := _match(_JOIN, text, terms[-1].end)):
        found = _match(_TERM, text, join.end())
        other = None if found is None else call_at(text, found.end())
        if found is None or other is None:
            return None
        joins.append("all" if join[1] in ("and", "&&", "&") else "any")
        terms.append(_behind(text, other, never=found["not"] is not None))
    whole = _together(terms, joins)
    if whole is None or len(terms) == 1 == (terms[0].end == closing):
        return None
    hint = (
        "conditions are combined by all(...) and any(...)"
        if joins
        else "what belongs to a condition is in its brackets"
    )
    return Suggestion(f"{hint}; write: {whole}", Span(call.span.start, terms[-1].end), whole)


def _behind(text: str, call: Call, *, never: bool) -> _Term:
    """Return a call with its bound, filter and span within."""
    arguments = [part for each in given(call) for part in cut(each)]
    end = call.span.end
    while True:
        found = _match(_SIGN, text, end)
        if found is not None and call.name in ("all", "any"):
            return _Term(written("at_least", [found[2], *arguments]), None, found.end())
        if found is not None and call.name == "unlocked":
            pass
        elif found is not None:
            sign = ">=" if found[1] in ("=", "==", "=>") and found[2] != "0" else found[1]
            arguments.append(f"{sign} {found[2]}")
        elif found := _match(_WHERE, text, end):
            arguments = _filtered(arguments, flat(found[1]))
        elif found := _match(_SPAN, text, end):
            name = "by" if found[1] == "per" and found[2] not in set(Unit) else found[1]
            arguments.append(f"{name}={found[2]}")
        else:
            break
        end = found.end()
    arguments = _named(call.name, arguments)
    event = event_of(arguments)
    upper = any(re.fullmatch(r"(<=?|==?) 0|< 1|<= \d+", each) for each in arguments)
    if event is not None and (never or (upper and call.name in ("count", "sum", "streak"))):
        return _Term("", event, end)
    return _Term(written(call.name, [re.sub(r" == ?", " = ", each) for each in arguments]), None, end)


def _named(name: str, arguments: list[str]) -> list[str]:
    """Give the first argument its name, and a field that stands behind its event one of its own."""
    if not arguments or not re.fullmatch(r"[a-z]\w*(?:\.\w+)*( where .*)?", arguments[0]):
        return arguments
    first, rest = arguments[0], arguments[1:]
    parts = first.split(".")
    if name in _OF and " " not in first and len(parts) > 2 and not any(each.startswith("of=") for each in rest):  # noqa: PLR2004 - a.b.field
        return [f"event={'.'.join(parts[:-1])}", f"of={parts[-1]}", *rest]
    return [f"event={first}", *rest] if name in ("count", "streak", *_OF) else arguments


def _filtered(arguments: list[str], where: str) -> list[str]:
    where = where.replace("==", "=")
    if not arguments or event_of(arguments) is None:
        return arguments
    first, *rest = arguments
    return [f"{first} and {where}" if " where " in first else f"{first} where {where}", *rest]


def _together(terms: list[_Term], joins: list[str]) -> str | None:
    """Return one condition; None where it says only what must not happen, or mixes `and` with `or`."""
    positive = [term.text for term in terms if not term.never]
    never = [term.never for term in terms if term.never is not None]
    if not positive or len(set(joins)) > 1 or (never and "any" in joins):
        return None
    unless = f"unless={never[0] if len(never) == 1 else '[' + ', '.join(never) + ']'}" if never else ""
    if len(positive) == 1:
        return positive[0] if not unless else f"{positive[0][:-1]}, {unless})"
    return written(joins[0], [*positive, *filter(None, [unless])])
