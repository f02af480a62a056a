"""The spans of a worker, as the rest of the worker sees them. Without an exporter there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.contract.message import Message
    from worker.contract.trace import Trace


class Spans(Protocol):
    """Where spans go. Nothing here waits or raises: traces never hold up events."""

    def processed(
        self, messages: Sequence[Message], seconds: float, facts: Mapping[str, int | float | str]
    ) -> Trace | None:
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

    def processed(
        self, messages: Sequence[Message], seconds: float, facts: Mapping[str, int | float | str]
    ) -> Trace | None:
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
