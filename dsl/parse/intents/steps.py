"""Sequences: what a step cannot say, said where it can be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dsl.parse.calls import arguments_of, items
from dsl.parse.intents.arguments import cut
from dsl.parse.intents.meaning import Meant, event_of, given, is_named, number_of, written

if TYPE_CHECKING:
    from dsl.parse.calls import Call
    from dsl.parse.intents.meaning import Taken

_MOST_STEPS: Final = 12
"""How often a step is written down for `times N`."""
_NO_LEAST: Final = (
    "between two steps there is no least span: let your product send how long it took, and filter the step by it: "
    "sequence([question.asked, answer.given where days >= 30])"
)
_NOT: Final = "what must not happen in between is `unless=` of the whole"


def sequence(_text: str, call: Call, _taken: Taken) -> Meant | None:
    """Return a sequence with steps that are events, and what they say beside that as its arguments."""
    arguments = [part for each in given(call) for part in cut(each)]
    listed = next((each for each in arguments if each.startswith("[")), None)
    steps = items(listed) if listed is not None else [each for each in arguments if not is_named(each)]
    made = _Steps()
    if len(arguments) > len(call.arguments):
        made.because("commas separate the arguments, and `=` follows their names")
    if listed is None:
        made.because("the steps of a sequence stand in one pair of brackets")
    for step in steps or ():
        made.take_all(step)
    for each in arguments:
        if is_named(each):
            made.take_argument(each)
    if made.impossible:
        return Meant(_NO_LEAST, "", call)
    if not made.why or not made.steps:
        return None
    whole = made.written()
    return Meant(", and ".join(made.why), written("all", [whole, *made.parts]) if made.parts else whole, call)


class _Steps:
    """The steps of a sequence that is written anew, and what stands beside them."""

    def __init__(self) -> None:
        self.why: dict[str, None] = {}
        self.steps: list[str] = []
        self.named: list[str] = []
        self.unless: list[str] = []
        self.within: str | None = None
        self.impossible = False
        self.parts: list[str] = []
        """Sequences of their own."""

    def because(self, why: str) -> None:
        """Say what was wrong."""
        self.why[why] = None

    def take_argument(self, text: str) -> None:
        """Add an argument with a name; `not=x` and `without=x` are `unless=x`."""
        name, _, value = (part.strip() for part in text.partition("="))
        if name in ("not", "without", "except"):
            self.because(_NOT)
            self.unless.append(value)
        elif name == "unless":
            self.unless.insert(0, value)
        elif name == "within":
            self.within = value
        else:
            self.named.append(text)

    def take_all(self, text: str) -> None:
        """Add a step, or several that stand behind each other with another sign than a comma."""
        steps = re.split(r"\s*(?:->|=>|>(?!=)|\bthen\b|\|)\s*", text) if " where " not in text else [text]
        if len(steps) > 1:
            self.because("commas separate the steps")
        for step in steps:
            self._take(step)

    def _take(self, step: str) -> None:
        if found := re.fullmatch(r"not (.+)", step):
            self.because(_NOT)
            self.unless.append(found[1])
        elif re.fullmatch(r"(.+?) (?:after|later|delay|min)\b.*\d+ ?[smhdw]\w*", step):
            self.impossible = True
        elif found := re.fullmatch(r"(.+?) within ?=? ?(\d+ ?[smhdw])\w*", step):
            self.because("a sequence has one span, from its first step to its last")
            self.within = found[2].replace(" ", "")
            self._take(found[1])
        elif found := re.fullmatch(r"(.+?) ?(?:\btimes ?=?|\bx|\*|>=) ?(\d+)|(\d+) ?(?:times|x|\*) ?(.+)", step):
            self.because("a step that comes several times is written several times")
            self._repeat(found[1] or found[4], int(found[2] or found[3]))
        elif found := re.fullmatch(r"(count|sequence) ?\(.*\)", step):
            self._take_call(found[1], [each.text for each in arguments_of(step) or ()])
        else:
            self.steps.append(step)

    def _repeat(self, step: str, times: int) -> None:
        self.steps += [step] * min(times, _MOST_STEPS)

    def _take_call(self, name: str, inside: list[str]) -> None:
        if name == "count":
            self.because("a step is an event: one that comes several times is written several times")
            self._repeat(event_of(inside) or "lesson.completed", number_of(inside) or 1)
            return
        self.because("steps do not nest; a part with a span of its own is a second sequence, in all(...)")
        self.steps += items(next((each for each in inside if each.startswith("[")), "[]")) or []
        if len(inside) > 1:
            self.parts.append(written("sequence", inside))

    def written(self) -> str:
        """Return the sequence."""
        unless = list(dict.fromkeys(self.unless))
        named = [*self.named, *([] if self.within is None else [f"within={self.within}"])]
        if unless:
            named.append(f"unless={unless[0] if len(unless) == 1 else '[' + ', '.join(unless) + ']'}")
        return written("sequence", [f"[{', '.join(self.steps)}]", *named])
