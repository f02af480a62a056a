"""Names and attributes of spans, as OpenTelemetry's conventions for HTTP and messaging have them. Pure.

None has a path, a query, an address, a header or a body: those name users, or are secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.contract.trace import TRACEPARENT, TRACESTATE, read_trace
from worker.traces.spans import Start

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.contract.trace import Trace
    from worker.traces.spans import OpenSpan

METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_FAILED: Final = 500
"""The first status that is a fault of the server."""


def messaging(operation: str, stream: str) -> dict[str, str]:
    """Return the attributes of every messaging span."""
    return {
        "messaging.system": "nats",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": stream,
    }


def request(method: str, values: Callable[[str], Sequence[str]]) -> Start:
    """Return how the span of an HTTP request begins, by its method and the values of a header."""
    known = method in METHODS
    said = "http.request.method"
    return Start(method if known else "HTTP", "server", caller_of(values), {said: method if known else "_OTHER"})


def caller_of(values: Callable[[str], Sequence[str]]) -> Trace | None:
    """Return the trace of an HTTP request; None where it says none, or two."""
    parents, states = values(TRACEPARENT), values(TRACESTATE)
    return read_trace(parents[0], states[0] if len(states) == 1 else "") if len(parents) == 1 else None


def end_request(span: OpenSpan, method: str, route: str | None, status: int) -> None:
    """End the span of an HTTP request; `route` is None where no path fits, `status` 0 where nothing was answered."""
    facts: dict[str, int | float | str] = {"http.response.status_code": status} if status else {}
    name = ""
    if route is not None:
        facts["http.route"] = route
        name = f"{method} {route}"
    span.end(facts, name=name, error=str(status) if status >= _FAILED else "")
