"""What running an example says: passed, or what was expected and what came out instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from dsl.event import Event
    from dsl.source import Source, Span
    from dsl.syntax import Example, Expect


class Failure(NamedTuple):
    """What an example expected and did not get: where it says so, and what came out instead.

    `line` is the expectation, None where something else failed: an event breaks its contract, or the order shows.
    """

    source: Source
    example: str
    span: Span
    expected: str
    got: str
    line: Expect | None = None


class Verdict(NamedTuple):
    """The result of one example; it passed if there are no failures. `events` are its events, each once."""

    source: Source
    example: Example
    failures: tuple[Failure, ...]
    events: tuple[Event, ...] = ()
