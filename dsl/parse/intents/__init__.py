"""What an author meant by a call that cannot be read, and the call to write instead.

An intent looks at a call as it is written, and writes it anew. It says something only where one reading is likely; the
suggestion is a whole call that can be read, so an editor may put it in place (tests/dsl/test_intents.py does).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl.diagnostics import Suggestion
from dsl.parse.calls import call_at
from dsl.parse.intents.arguments import at_least, bare_field, commas, copies, filters, named_bound, other_names, unless
from dsl.parse.intents.behind import behind
from dsl.parse.intents.clauses import clause_hint
from dsl.parse.intents.never import never
from dsl.parse.intents.places import (
    beside,
    bound_in_words,
    combinations,
    every,
    field_of_event,
    in_a_row,
    in_distinct,
    loose,
    no_unit,
    several,
)
from dsl.parse.intents.steps import sequence
from dsl.parse.intents.streaks import streak, week

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.parse.calls import Call
    from dsl.parse.intents.meaning import Meant, Taken

__all__ = ["behind", "clause_hint", "meant"]

_LONGEST: Final = 160
"""Characters of a suggestion that a hint shows."""
_LONGEST_CALL: Final = 1000
"""Characters of a call that is looked at."""
_OUTER: Final = 3
"""Calls around a place that are looked at."""

_OF_AN_EVENT: Final = (
    *(
        unless,
        copies,
        bound_in_words,
        in_a_row,
        several,
        beside,
        in_distinct,
        combinations,
        every,
        field_of_event,
        commas,
        bare_field,
        week,
        never,
    ),
    *(other_names, named_bound, filters),
)
_INTENTS: Final = {
    "count": _OF_AN_EVENT,
    "sum": _OF_AN_EVENT,
    "max": _OF_AN_EVENT,
    "min": _OF_AN_EVENT,
    "streak": (unless, copies, beside, commas, week, streak, no_unit, never, other_names, named_bound, filters),
    "sequence": (unless, sequence, other_names),
    "all": (unless, loose, commas, other_names),
    "any": (unless, loose, commas, other_names),
    "at_least": (unless, loose, at_least, commas, other_names),
}
"""What may be meant by a call of each operator, the likeliest first."""


def meant(text: str, at: int, taken: Taken) -> Suggestion | None:
    """Return what may be written in place of the call around an offset."""
    for call in _around(text, at):
        for intent in _INTENTS.get(call.name, ()):
            found = intent(text, call, taken)
            if found is not None:
                return _suggestion(found)
    return None


def _around(text: str, at: int) -> Iterator[Call]:
    """Yield the call around a place and those around it: what stands in a list of steps belongs to its sequence."""
    call = call_at(text, at)
    for _ in range(_OUTER):
        if call is None or call.span.end - call.span.start > _LONGEST_CALL:
            return
        yield call
        call = call_at(text, call.span.start)


def _suggestion(found: Meant) -> Suggestion:
    shown = found.text
    hint = f"{found.why}; write: {shown}" if 0 < len(shown) <= _LONGEST else found.why
    return Suggestion(hint, found.whole.span, shown)
