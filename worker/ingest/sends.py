"""Which trace the messages of a request belong to, and the span of sending them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from worker.contract.trace import TRACE_HEADERS, trace_in
from worker.traces.conventions import caller_of, messaging
from worker.traces.spans import Start, ended

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from starlette.requests import Request

    from worker.broker.window import Outgoing
    from worker.contract.trace import Trace
    from worker.traces.spans import OpenSpan, Spans


class Sends:
    """Puts traces on messages.

    An event that says a trace of its own, as CloudEvents may, keeps it. All others belong to the caller's: below the
    span of sending where the trace is recorded, and as the caller said it where it is not.
    """

    def __init__(self, spans: Spans, stream: str) -> None:
        self._spans = spans
        self._stream = stream

    @contextmanager
    def traced(
        self, request: Request, span: OpenSpan | None, messages: Sequence[Outgoing], elements: Sequence[bytes]
    ) -> Generator[Sequence[Outgoing]]:
        """Yield messages with their traces, to be sent within the block; `elements` are the CloudEvents of each.

        `span` is that of the request.
        """
        own = _own_of(request, elements)
        sending = None if span is None else self._begin(span.trace, own)
        others = caller_of(request.headers.getlist) if sending is None else sending.trace
        with ended(sending):
            yield [_with(one, trace or others) for one, trace in zip(messages, own, strict=True)]

    def _begin(self, parent: Trace, own: Sequence[Trace | None]) -> OpenSpan | None:
        facts = {**messaging("send", self._stream), "messaging.batch.message_count": len(own)}
        return self._spans.begin(Start(f"send {self._stream}", "producer", parent, facts, own))


def _own_of(request: Request, elements: Sequence[bytes]) -> list[Trace | None]:
    """Return the traces that events say of themselves: in a CloudEvent, or in the headers of one in binary mode."""
    given = ((name, request.headers.getlist(name)) for name in TRACE_HEADERS if name.startswith("ce-"))
    headers = {name: values[0] for name, values in given if len(values) == 1}
    return [trace_in(headers, one) for one in elements]


def _with(message: Outgoing, trace: Trace | None) -> Outgoing:
    return message if trace is None else message._replace(headers=trace.headers)
