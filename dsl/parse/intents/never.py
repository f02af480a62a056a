"""Upper bounds and negations: what must not happen is `unless=` of what must."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dsl.parse.calls import Call, arguments_of, call_at
from dsl.parse.intents.meaning import BOUND, Meant, event_of, first_of, given, written

if TYPE_CHECKING:
    from dsl.parse.intents.meaning import Taken

_NO_UPPER_BOUND: Final = "there is no upper bound: one more event would take the achievement back"
_NO_NEGATION: Final = "a condition cannot be negated: one more event would take the achievement back"


def never(text: str, call: Call, _taken: Taken) -> Meant | None:
    """`= 0`, `<= 3` and `not count(...)`: what must not happen is `unless=` of what must."""
    negated = text[: call.span.start].rstrip("( \t\n").endswith("not") and call.name not in ("all", "any")
    bound = next((found for each in call.arguments if (found := re.fullmatch(BOUND, each.text))), None)
    upper = bound is not None and (bound[1] in ("<", "<=", "=<") or (bound[1] in ("=", "==") and bound[2] == "0"))
    event = event_of(given(call))
    if event is None or not (negated or upper) or call.name in ("max", "min"):
        return None
    why = _NO_NEGATION if negated else _NO_UPPER_BOUND
    around = call_at(text, call.span.start, "all")
    if around is None or call_at(text, call.span.start) != around:
        return _alone(why, event, call)
    others = [each.text for each in around.arguments if not each.span.start <= call.span.start < each.span.end]
    if not others or any(re.match(r"not\b|unlocked\b", each) for each in others):
        return _alone(why, event, call)
    whole = _with_unless(others, event)
    return Meant(f"{why}; `unless=` begins afresh at each `{first_of(event)}`", whole, around)


def _alone(why: str, event: str, call: Call) -> Meant:
    """Return what to write where nothing says yet what must happen."""
    other = "quiz.passed" if "lesson.completed" in event else "lesson.completed"
    example = f"count(event={other}, >= 10, unless={event})"
    return Meant(f"{why}. What must not happen is `unless=` of what must: {example}", "", call)


def _with_unless(conditions: list[str], event: str) -> str:
    if len(conditions) > 1 or "unless" in conditions[0]:
        return written("all", [*conditions, f"unless={event}"])
    inside = [each.text for each in arguments_of(conditions[0]) or ()]
    return written(conditions[0].partition("(")[0].strip(), [*inside, f"unless={event}"])
