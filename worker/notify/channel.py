"""How a delivery goes out, whatever the type of its endpoint."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Protocol

from worker.contract.trace import TRACEPARENT
from worker.notify.http_client import AddressRefusedError, Requester, RequestError
from worker.notify.schedule import SECOND, Attempt, Outcome, answered
from worker.notify.signature import signed_headers

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.contract.trace import Trace
    from worker.notify.endpoints import Reach, WebhookTarget
    from worker.notify.http_client import Resolve
    from worker.notify.message import Delivery


class Channel(Protocol):
    """Sends deliveries to one endpoint."""

    async def send(self, delivery: Delivery, trace: Trace | None = None) -> Attempt:
        """Make one attempt, which belongs to a trace; return what became of it."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...


class WebhookChannel:
    """Signed requests as Standard Webhooks has them."""

    def __init__(
        self,
        target: WebhookTarget,
        reach: Reach,
        resolver: Resolve | None = None,
        clock: Callable[[], float] = time,
    ) -> None:
        """Make one; `clock` gives seconds since the epoch.

        Raises:
            OSError: as `Requester` does.
        """
        self._target = target
        self._requester = Requester(reach, resolver)
        self._clock = clock

    async def send(self, delivery: Delivery, trace: Trace | None = None) -> Attempt:
        """Make one attempt, which belongs to a trace; return what became of it."""
        headers = {
            "content-type": "application/json",
            # Without `tracestate`: what vendors say there is for their own systems, and the receiver is none of them.
            **({} if trace is None else {TRACEPARENT: trace.parent}),
            **signed_headers(self._target.keys, delivery.id, int(self._clock()), delivery.body),
        }
        try:
            response = await self._requester.request("POST", self._target.url, headers, delivery.body)
        except AddressRefusedError as error:
            return Attempt(Outcome.REFUSED, detail=str(error))
        except RequestError as error:
            return Attempt(Outcome.FAILED, detail=str(error))
        return answered(
            response.status,
            retry_after=response.headers.get("retry-after", ""),
            abort=response.headers.get("webhook-delivery", "").strip().lower() == "abort-message",
            now=int(self._clock() * SECOND),
        )

    async def aclose(self) -> None:
        """Close connections."""
        await self._requester.aclose()
