"""Spans by OTLP over HTTP: the only module that knows opentelemetry.

A batch has many parents, so its span `process` is a root with a link to each: that is how OpenTelemetry describes a
consumer that works in batches. The span `send` of an announcement is a child of the event that earned the unlock, so
that the producer's trace goes on to the consumers of UNLOCKS. A batch without a sampled event has no span.

The SDK exports from a thread of its own and drops spans when its queue is full: a collector that is slow, away or
hostile costs no event.
"""

from __future__ import annotations

import logging
from threading import Thread
from time import time_ns
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import structlog
from anyio import to_thread
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from worker.contract.trace import Trace, trace_of
from worker.distribution import release
from worker.traces.conventions import messaging
from worker.traces.spans import NO_FACTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opentelemetry.trace import Span

    from worker.contract.message import Message
    from worker.settings import Settings
    from worker.traces.spans import Facts, Start

MOST_LINKS: Final = 128
"""Of one batch, which is what the SDK keeps."""
MOST_LOOKED_AT: Final = 1024
"""Messages of one batch that are searched for a trace."""
MOST_OPEN: Final = 10_000
"""Announcements without an answer that have a span; the oldest ones lose theirs."""
CLOSE_SECONDS: Final = 3.0
"""For what is left to be exported when the worker stops."""
_LONGEST: Final = 300
"""Characters of what the SDK has to say."""

log = structlog.get_logger()


class OtlpSpans:
    """Exports spans to where the variables OTEL_... say."""

    exports = True

    def __init__(self, settings: Settings, service: str, *, begins: bool) -> None:
        """Make an exporter for a service of a name; `begins` tells whether it may begin a trace of its own.

        Raises:
            ValueError, TypeError, OSError: a variable is malformed, or a file that it names cannot be read.
        """
        _listen_to_sdk()
        self._settings = settings
        self._begins = begins
        self._provider = TracerProvider(resource=_resource(service), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("ach", release())
        self._open: dict[str, Span] = {}

    def begin(self, start: Start) -> OtlpSpan | None:
        """Begin a span; return None where its trace is not recorded.

        The flag of the caller decides. A trace is begun only where a sampler was chosen, and as that one says.
        """
        parent, links = start.parent, _links(start.links)
        if not (self._begins or links if parent is None else parent.is_sampled):
            return None
        context = Context() if parent is None else _below(parent)
        span = self._tracer.start_span(start.name, context, SpanKind[start.kind.upper()], start.facts, links)
        return OtlpSpan(span) if parent is not None or span.is_recording() else None

    def processed(self, messages: Sequence[Message], seconds: float, facts: Facts) -> Trace | None:
        """Record that a batch was processed; return its span, None if none of its events is sampled."""
        links = _links(trace_of(message, 0) for message in messages[:MOST_LOOKED_AT])
        if not links:
            return None
        settings, now = self._settings, time_ns()
        span = self._tracer.start_span(
            f"process {settings.input_stream}",
            Context(),
            SpanKind.CONSUMER,
            {
                **messaging("process", settings.input_stream),
                "messaging.consumer.group.name": settings.consumer,
                "messaging.batch.message_count": len(messages),
                **{f"ach.{name}": value for name, value in facts.items()},
            },
            links,
            start_time=now - int(seconds * 1e9),
        )
        span.end(now)
        return _trace_of(span) if span.get_span_context().trace_flags.sampled else None

    def announcing(self, unlock: str, trace: Trace) -> Trace:
        """Begin the span of an announcement, as a child of the event that earned the unlock; return its place."""
        stream = self._settings.unlock_stream
        described = {**messaging("send", stream), "messaging.message.id": unlock}
        span = self._tracer.start_span(f"send {stream}", _below(trace), SpanKind.PRODUCER, described)
        if span.is_recording():
            self._open.pop(unlock, None)
            while len(self._open) >= MOST_OPEN:
                del self._open[next(iter(self._open))]
            self._open[unlock] = span
        return _trace_of(span)

    def announced(self, unlock: str) -> None:
        """End the span of an announcement."""
        span = self._open.pop(unlock, None)
        if span is not None:
            span.end()

    async def close(self) -> None:
        """Export what is left, for `CLOSE_SECONDS` at most; a thread that takes longer ends with the process."""
        ending = Thread(target=self._provider.shutdown, name="ach-traces", daemon=True)
        ending.start()
        await to_thread.run_sync(ending.join, CLOSE_SECONDS)


class OtlpSpan:
    """A span that has begun."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.trace = _trace_of(span)

    def end(self, facts: Facts = NO_FACTS, *, name: str = "", error: str = "") -> None:
        """End it; the type of an error is an attribute, and the span has failed."""
        if not self._span.is_recording():
            return
        self._span.set_attributes(facts)
        if name:
            self._span.update_name(name)
        if error:
            self._span.set_attribute("error.type", error)
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


def _below(trace: Trace) -> Context:
    return set_span_in_context(NonRecordingSpan(_context_of(trace)), Context())


def _resource(service: str) -> Resource:
    own = Resource({"service.name": service, "service.version": release(), "service.instance.id": str(uuid4())})
    return own.merge(OTELResourceDetector().detect())


def _links(traces: Iterable[Trace | None]) -> list[Link]:
    """Return links to the traces that their producers record, each once, and so many at most."""
    found: dict[tuple[str, str], Link] = {}
    for trace in traces:
        if trace is None or not trace.is_sampled or (trace.trace_id, trace.span_id) in found:
            continue
        found[trace.trace_id, trace.span_id] = Link(_context_of(trace))
        if len(found) == MOST_LINKS:
            break
    return [*found.values()]


def _context_of(trace: Trace) -> SpanContext:
    state = TraceState.from_header([trace.state]) if trace.state else None
    return SpanContext(int(trace.trace_id, 16), int(trace.span_id, 16), True, TraceFlags(trace.flags), state)  # noqa: FBT003 - remote


def _trace_of(span: Span) -> Trace:
    context = span.get_span_context()
    state = context.trace_state.to_header() if context.trace_state else ""
    return Trace(f"{context.trace_id:032x}", f"{context.span_id:016x}", int(context.trace_flags), state)


class _Words(logging.Handler):
    """Hands on what the SDK has to say, each change once: a collector that is away is said every few seconds."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Log it as everything else is logged."""
        said = record.getMessage()[:_LONGEST]
        if said != self._said:
            self._said = said
            log.warning("opentelemetry", said=said)


def _listen_to_sdk() -> None:
    logger = logging.getLogger("opentelemetry")
    logger.propagate = False
    logger.handlers = [_Words()]
