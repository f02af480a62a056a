"""Spans of deliveries: one that takes in an announcement, and below it one of the request to the endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.notify.endpoints import AppriseTarget
from worker.notify.schedule import Outcome
from worker.traces.conventions import messaging
from worker.traces.spans import Start

if TYPE_CHECKING:
    from worker.contract.trace import Trace
    from worker.notify.endpoints import Endpoint
    from worker.notify.message import Delivery
    from worker.notify.schedule import Attempt
    from worker.traces.spans import Facts, OpenSpan, Spans


class DeliveryTrace:
    """The spans of one attempt. The endpoint has its name there: its URL may hold a secret."""

    def __init__(self, trace: Trace | None, taking: OpenSpan | None = None, calling: OpenSpan | None = None) -> None:
        self._taking = taking
        self._calling = calling
        self.trace = trace if calling is None else calling.trace
        """Which the request says."""

    def end(self, attempt: Attempt) -> None:
        """End them with what became of the attempt."""
        status = {} if attempt.status is None else {"http.response.status_code": attempt.status}
        error = "" if attempt.outcome is Outcome.DELIVERED else str(attempt.status or attempt.outcome)
        if self._calling is not None:
            self._calling.end(status, error=error)
        if self._taking is not None:
            self._taking.end({"ach.outcome": attempt.outcome.value}, error=error)


class DeliveryTraces:
    """Begins the spans of attempts at one endpoint."""

    def __init__(self, spans: Spans, stream: str, group: str, endpoint: Endpoint) -> None:
        """Take the stream of announcements, and the endpoint with the name of its consumer."""
        self._spans = spans
        self._name = f"process {stream}"
        self._facts: Facts = {
            **messaging("process", stream),
            "messaging.consumer.group.name": group,
            "ach.endpoint": endpoint.name,
        }
        self._call: Facts = {"peer.service": endpoint.name}
        self._call_name = "send"
        if not isinstance(endpoint.target, AppriseTarget):
            self._call, self._call_name = {**self._call, "http.request.method": "POST"}, "POST"

    def begin(self, delivery: Delivery, number: int) -> DeliveryTrace:
        """Begin an attempt of a number. A digest has many parents: it is a root, with a link to each."""
        traces = [item.trace for item in delivery.items]
        own = traces[0] if len(traces) == 1 else None
        if not self._spans.exports:
            return DeliveryTrace(own)
        counted = {"messaging.batch.message_count": len(traces)} if len(traces) > 1 else {}
        facts = {**self._facts, **counted, "ach.attempt": number}
        taking = self._spans.begin(Start(self._name, "consumer", own, facts, traces))
        if taking is None:
            return DeliveryTrace(own)
        again = {"http.request.resend_count": number - 1} if number > 1 else {}
        calling = self._spans.begin(Start(self._call_name, "client", taking.trace, {**self._call, **again}))
        return DeliveryTrace(own, taking, calling)
