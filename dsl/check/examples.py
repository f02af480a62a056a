"""Examples: do the names exist, and do the payloads satisfy their contracts?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from dsl.payload import Fault, Reader
from dsl.source import Span
from dsl.syntax import Expect, Given, Until

if TYPE_CHECKING:
    from dsl.check.conditions import Conditions
    from dsl.check.names import Names
    from dsl.check.problems import Report
    from dsl.source import Source
    from dsl.syntax import Example
    from dsl.types import Json

MAX_EVENTS: Final = 10_000
"""Maximum number of events of one example, including `times`: an example runs many times, in other orders."""
_ENCODER = msgspec.json.Encoder(decimal_format="number")


class Examples:
    """Checks examples; a contract's reader is made once."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._readers: dict[str, Reader] = {}

    def check(self, example: Example, source: Source, conditions: Conditions, report: Report) -> None:
        """Check one example."""
        count = 0
        self._until(example, report)
        for line in example.lines:
            match line:
                case Given():
                    if count <= MAX_EVENTS < count + line.times:
                        report.error("ACH414", line.span, f"an example has at most {MAX_EVENTS:,} events")
                    count += line.times
                    self._given(line, source, conditions, report)
                case Expect():
                    conditions.target(line.target.achievement, line.target.tier)
                case Until():
                    pass

    @staticmethod
    def _until(example: Example, report: Report) -> None:
        """Check that the clock goes to one instant, and no event lies behind it."""
        untils = [line for line in example.lines if isinstance(line, Until)]
        for line in untils[1:]:
            report.error("ACH414", line.span, "the clock of an example goes up to one instant", "leave one `until`")
        lasts = [_last(line) for line in example.lines if isinstance(line, Given)]
        if untils and lasts and max(lasts) > untils[0].at.us:
            message, hint = "an event of the example lies behind this instant", "name a later instant, or leave it out"
            report.error("ACH414", untils[0].span, f"{message}: the clock cannot stop before it", hint)

    def _given(self, line: Given, source: Source, conditions: Conditions, report: Report) -> None:
        if line.times < 1:
            report.error("ACH414", line.span, f"an event cannot happen {line.times} times")
        if not conditions.event(line.event):
            return
        fault = self._reader(line.event.text).strict(_ENCODER.encode(_first(line.payload)))
        if isinstance(fault, Fault):
            span = _key(source, line, fault.field)
            message = f"`{fault.field}` of `{line.event.text}` must be {fault.expected}, but is {fault.got}"
            report.error("ACH308", span, message)

    def _reader(self, event: str) -> Reader:
        if event not in self._readers:
            self._readers[event] = Reader(self._names.events[event])
        return self._readers[event]


def _last(line: Given) -> int:
    """Return the instant of the last event of a line, in microseconds."""
    return line.at.us + max(0, line.times - 1) * (0 if line.every is None else line.every.us)


def _first(value: Json) -> Json:
    """Return a payload as its first event has it: `{n}` in strings counts from 1."""
    match value:
        case str():
            return value.replace("{n}", "1")
        case list():
            return [_first(item) for item in value]
        case dict():
            return {key: _first(item) for key, item in value.items()}
        case _:
            return value


def _key(source: Source, line: Given, field: str) -> Span:
    """Return where a payload's field stands in the text, or its event where the field is not there."""
    body = source.text[line.event.span.end : line.span.end]
    match = re.search(rf'(?<![\w"])"?{re.escape(field)}"?\s*:', body) if field else None
    if match is None:
        return line.event.span
    start = line.event.span.end + match.start()
    return Span(start, start + len(match[0].rstrip(": \t\r\n")))
