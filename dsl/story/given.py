"""The `at` lines of an example as events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from dsl.event import Event
from dsl.payload import Fault, Reader
from dsl.story.verdict import Failure
from dsl.syntax import Given

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.schema import Rules
    from dsl.source import Source, Span
    from dsl.syntax import Example, Expect
    from dsl.types import Json

TENANT: Final = "example"
"""The tenant of an example's events that name none."""
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")


def until_of(example: Example) -> int | None:
    """Return the instant up to which an example's clock goes, in microseconds; None for its latest event."""
    return None if example.until is None else example.until.us


class GivenEvents:
    """Turns the `at` lines of an example into events, and keeps what is wrong with them."""

    def __init__(self, rules: Rules, source: Source, example: Example) -> None:
        self.rules = rules
        self.source = source
        self.example = example
        self.failures: list[Failure] = []
        self.ids: set[tuple[str, str]] = set()

    def fail(self, span: Span, expected: str, got: str, line: Expect | None = None) -> None:
        """Note a failure."""
        self.failures.append(Failure(self.source, self.example.title, span, expected, got, line))

    def events(self) -> Iterator[Event]:
        """Yield the events, those with the id of an earlier one left out."""
        number = 0
        for line in self.example.lines:
            if not isinstance(line, Given):
                continue
            for n in range(1, line.times + 1):
                number += 1
                event = self._event(line, n, f"e{number:06d}")
                if event is None:
                    break
                if (event.tenant, event.id) not in self.ids:
                    self.ids.add((event.tenant, event.id))
                    yield event

    def _event(self, line: Given, n: int, made_up: str) -> Event | None:
        payload = {key: _numbered(value, n) for key, value in line.payload.items()}
        schema = self.rules.events.get(line.event.text)
        fields = {} if schema is None else Reader(schema).strict(_ENCODER.encode(payload))
        if isinstance(fields, Fault):
            self.fail(line.span, f"{fields.field}: {fields.expected}", fields.got)
            return None
        at = line.at.us + (n - 1) * (0 if line.every is None else line.every.us)
        return Event(
            tenant=TENANT if line.tenant is None else line.tenant,
            id=made_up if line.id is None else _id(line.id, n, line.times),
            type=line.event.text,
            user=line.user,
            at=at,
            offset=line.at.offset,
            fields=fields,
        )


def _id(text: str, n: int, times: int) -> str:
    if "{n}" in text or times == 1:
        return text.replace("{n}", str(n))
    return f"{text}-{n}"


def _numbered(value: Json, n: int) -> Json:
    if isinstance(value, str):
        return value.replace("{n}", str(n))
    if isinstance(value, list):
        return [_numbered(item, n) for item in value]
    if isinstance(value, dict):
        return {key: _numbered(item, n) for key, item in value.items()}
    return value
