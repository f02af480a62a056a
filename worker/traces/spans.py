"""The spans of a process, as the rest of it sees them. Without an exporter there are none."""

from __future__ import annotations

from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from worker.contract.message import Message
    from worker.contract.trace import Trace

    Facts = Mapping[str, int | float | str]
    """Attributes by name."""

NO_FACTS: Final[Facts] = MappingProxyType({})


class Start(NamedTuple):
    """How a span begins."""

    name: str
    kind: Literal["client", "consumer", "producer", "server"]
    parent: Trace | None = None
    """None: it is the root of a trace."""
    facts: Facts = NO_FACTS
    links: Sequence[Trace | None] = ()
    """Traces that it belongs to besides."""


class OpenSpan(Protocol):
    """A span that has begun. Nothing of it waits or raises."""

    @property
    def trace(self) -> Trace:
        """Where it stands, for what hangs below it."""
        ...

    def end(self, facts: Facts = NO_FACTS, *, name: str = "", error: str = "") -> None:
        """End it, with what is known now: further attributes, a better name, and the type of an error."""
        ...


class Spans(Protocol):
    """Where spans go. Nothing here waits or raises: traces never hold up events."""

    exports: bool
    """Whether they go anywhere: without, nothing needs to be gathered for them."""

    def begin(self, start: Start) -> OpenSpan | None:
        """Begin a span; return None where its trace is not recorded."""
        ...

    def processed(self, messages: Sequence[Message], seconds: float, facts: Facts) -> Trace | None:
        """Record that a batch was processed, in so many seconds up to now; return its span, None if there is none."""
        ...

    def announcing(self, unlock: str, trace: Trace) -> Trace:
        """Begin to announce an unlock, whose event has this trace; return the trace of the announcement."""
        ...

    def announced(self, unlock: str) -> None:
        """Record that the broker has the announcement."""
        ...

    async def close(self) -> None:
        """Export what is left, in bounded time."""
        ...


class NoSpans:
    """No exporter: an announcement belongs to the trace of its event."""

    exports = False

    def begin(self, start: Start) -> OpenSpan | None:
        """Begin nothing."""
        del start

    def processed(self, messages: Sequence[Message], seconds: float, facts: Facts) -> Trace | None:
        """Record nothing."""
        del messages, seconds, facts

    def announcing(self, unlock: str, trace: Trace) -> Trace:
        """Return the trace of the event."""
        del unlock
        return trace

    def announced(self, unlock: str) -> None:
        """Record nothing."""

    async def close(self) -> None:
        """Nothing is left."""


@contextmanager
def ended(span: OpenSpan | None) -> Generator[None]:
    """End a span with a block; what the block raises is its error, by the type alone."""
    try:
        yield
    except BaseException as error:
        if span is not None:
            span.end(error=type(error).__name__)
        raise
    if span is not None:
        span.end()
