"""What an intent says, and what all of them look at."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dsl.parse.calls import Call

    Taken = Callable[[str], tuple[str, ...] | None]
    """What an operator takes by name; None for what is no operator."""

BOUND: Final = r"(>=|>|<=|<|==|=>|=<|=|!=)\s*(-?[\d_.]+)"
"""A bound: its sign and its number."""


class Meant(NamedTuple):
    """Why it cannot be written so, and the call instead; `whole` is what that takes the place of."""

    why: str
    text: str
    whole: Call


def given(call: Call) -> list[str]:
    """Return the arguments of a call."""
    return [each.text for each in call.arguments]


def written(name: str, arguments: Sequence[str]) -> str:
    """Return a call."""
    return f"{name}({', '.join(arguments)})"


def is_named(text: str) -> bool:
    """Return whether an argument has a name."""
    return re.match(r"[a-z_]+\s*=(?!=)", text) is not None


def event_of(arguments: Sequence[str]) -> str | None:
    """Return the event of a call, with its filter: by name, or as the first argument."""
    for each in arguments:
        if found := re.match(r"event\s*=\s*", each):
            return each[found.end() :]
    first = arguments[0] if arguments else ""
    return first if re.match(r"[a-z][\w.]*(\s+where\b.*)?\Z|\[", first) else None


def number_of(arguments: Sequence[str]) -> int | None:
    """Return the number of a bound that counts events."""
    found = next((found for each in arguments if (found := re.fullmatch(r"(?:>=?|==?)?\s*(\d+)", each))), None)
    return None if found is None else int(found[1])


def first_of(event: str) -> str:
    """Return the name of an event, or the first one in a list."""
    found = re.search(r"[a-z][\w.]*", event)
    return event if found is None else found[0]
