"""The HTTP side: who may send, bodies in, and answers once the broker has said what became of the events."""

from __future__ import annotations

from time import monotonic, time, time_ns
from typing import TYPE_CHECKING, Final

import anyio
import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route

from worker.ingest.bodies import SHARE, UNVERIFIED_SHARE, inflated, read_body, size_of
from worker.ingest.cloud import envelopes_of, renamed
from worker.ingest.forms import OF_CLOUDEVENTS, Form, elements_of, form_of
from worker.ingest.openapi import document_text
from worker.ingest.operations import OPERATIONS, Accepted, Health
from worker.ingest.problems import EventsError
from worker.ingest.reading import messages_of
from worker.ingest.senders import Sender
from worker.ingest.webhooks import envelope_of, verified_id
from worker.rates import Buckets, Rate
from worker.serve.endpoints import problem_response, unexpected
from worker.serve.gate import span_of
from worker.serve.problems import BadRequestError, NotFoundError, ProblemError, TooManyRequestsError, UnauthorizedError
from worker.serve.requests import credential, parameters

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.requests import Request

    from worker.ingest.bodies import Memory
    from worker.ingest.config import Limits
    from worker.ingest.contracts import Contracts
    from worker.ingest.metrics import IngestStats
    from worker.ingest.operations import Operation
    from worker.ingest.publisher import Publisher
    from worker.ingest.reading import Naming
    from worker.ingest.senders import Senders
    from worker.ingest.sends import Sends
    from worker.probes.readiness import Readiness

VALIDATE: Final = "validate"
CONTRACT: Final = "contract"
JSON: Final = "application/json"
DRAINED_BYTES: Final = 4 * 1024 * 1024
"""Of a body that is refused and still arrives: a client that is writing would not read our answer."""
DRAINED_SECONDS: Final = 1.0
_READ: Final = "ach.read"
"""In the scope of a request whose body has arrived."""
_NEVER: Final = {"Cache-Control": "no-store"}
_NO_KEY: Final = "Send `Authorization: Bearer` with a tenant's key; `ach ingest key --tenant NAME` makes one."
_TOO_MANY: Final = "Wait for as many seconds as `Retry-After` says, and send the same again."


class Endpoints:
    """Answers requests."""

    def __init__(  # noqa: PLR0913 - its parts
        self,
        senders: Senders,
        contracts: Contracts,
        publisher: Publisher,
        memory: Memory,
        stats: IngestStats,
        *,
        readiness: Readiness,
        naming: Naming,
        sends: Sends,
    ) -> None:
        self._senders = senders
        self._contracts = contracts
        self._publisher = publisher
        self._memory = memory
        self._stats = stats
        self._readiness = readiness
        self._naming = naming
        self._sends = sends
        self._buckets = Buckets()

    @property
    def _limits(self) -> Limits:
        return self._senders.config.limits

    def app(self) -> Starlette:
        """Return the application; the paths that it sees are still encoded (see worker/serve/gate.py)."""
        made = Starlette(
            routes=[
                Route(one.path, self._endpoint(one, getattr(self, one.name)), methods=[one.method], name=one.name)
                for one in OPERATIONS
            ],
            exception_handlers={HTTPException: _refused, Exception: unexpected},
        )
        # It would lead to wherever the request's Host says.
        made.router.redirect_slashes = False
        return made

    def _endpoint(
        self, operation: Operation, answer: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            request.scope["ach.operation"] = operation
            try:
                return await answer(request)
            except ProblemError as error:
                self._stats.refused[error.name] += 1
                return await _with_rest_of_body(request, problem_response(error))
            except ClientDisconnect:
                # It has gone before its body was here; nothing was published, and what is answered reaches no one.
                return Response(status_code=400)

        return endpoint

    # -- one for each operation ----------------------------------------------------------------------------------------

    async def events(self, request: Request) -> Response:
        """Take events."""
        began = monotonic()
        validate = _validates(parameters(request.url.query, {VALIDATE}))
        sender = self._sender(request)
        request.scope["ach.caller"] = sender.id
        self._take(sender, 1)
        form = form_of(request.headers.get("content-type"), request.headers.keys())
        with self._memory.hold({f"tenant:{sender.tenant}": SHARE}, self._size(request)):
            body = await self._body(request)
            elements = elements_of(form, body, self._limits.batch_events)
            self._take(sender, len(elements) - 1)
            await self._send(request, sender, form, elements, validate=validate or sender.validate)
        return self._accepted(len(elements), began)

    async def webhook(self, request: Request) -> Response:
        """Take a webhook."""
        began = monotonic()
        _ = parameters(request.url.query, ())
        name = request.path_params["name"]
        webhook = self._senders.webhook(name)
        if webhook is None:
            raise UnauthorizedError("no such webhook, or none that is signed by a secret that is known here")
        sender = Sender(webhook.tenant, f"webhook:{name}")
        with self._memory.hold({sender.id: SHARE, "webhooks": UNVERIFIED_SHARE}, self._size(request)):
            body = await self._body(request)
            webhook_id = verified_id(webhook, request.headers, body, int(time()))
            request.scope["ach.caller"] = sender.id
            self._take(sender, 1)
            await self._send(request, sender, Form.JSON, [envelope_of(name, webhook, webhook_id, body)], validate=False)
        return self._accepted(1, began)

    async def health(self, _request: Request) -> Response:
        """Answer whether events can be taken."""
        there = not await self._readiness.silent()
        body = msgspec.json.encode(Health(ok=there, nats=there))
        return Response(body, 200 if there else 503, headers=_NEVER, media_type=JSON)

    async def openapi(self, _request: Request) -> Response:
        """Answer with the document that describes all this."""
        return Response(document_text(), headers={"Cache-Control": "max-age=300"}, media_type=JSON)

    # -- steps ---------------------------------------------------------------------------------------------------------

    def _sender(self, request: Request) -> Sender:
        try:
            return self._senders.sender(credential(request.headers.get("authorization")))
        except UnauthorizedError as error:
            raise UnauthorizedError(error.detail, _NO_KEY) from None

    def _take(self, sender: Sender, cost: int) -> None:
        rate = Rate(self._limits.key_rate, self._limits.key_burst)
        wait = self._buckets.take(sender.id, rate, monotonic(), min(cost, rate.burst))
        if wait:
            raise TooManyRequestsError(
                "this credential has used up its rate of events", _TOO_MANY, retry_after=int(wait) + 1
            )

    def _size(self, request: Request) -> int:
        headers = request.headers
        return size_of(headers.get("content-length"), headers.get("content-encoding"), self._limits.body_bytes)

    async def _body(self, request: Request) -> bytes:
        limits = self._limits
        body = await read_body(request.stream(), limits.body_bytes, limits.body_seconds)
        request.scope[_READ] = True
        return inflated(body, limits.body_bytes) if request.headers.get("content-encoding") == "gzip" else body

    async def _send(
        self, request: Request, sender: Sender, form: Form, elements: Sequence[bytes], *, validate: bool
    ) -> None:
        held = await self._contracts.of_rules() if validate else self._contracts.plain
        is_cloud, as_sent = form in OF_CLOUDEVENTS, elements
        if is_cloud:
            elements = envelopes_of(form, elements, _headers_of(request), sender.tenant)
        try:
            messages = messages_of(elements, held, tenant=sender.tenant, naming=self._naming, now=time_ns() // 1000)
        except EventsError as error:
            raise (type(error)(renamed(error.flaws)) if is_cloud else error) from None
        said = as_sent if is_cloud else [b""] * len(messages)
        with self._sends.traced(request, span_of(request.scope), messages, said) as traced:
            self._stats.copies += await self._publisher.publish(traced)

    def _accepted(self, number: int, began: float) -> Response:
        self._stats.accepted += number
        self._stats.seconds.observe(monotonic() - began)
        return Response(msgspec.json.encode(Accepted(number)), 202, headers=_NEVER, media_type=JSON)


def _validates(query: dict[str, str]) -> bool:
    if query.get(VALIDATE, CONTRACT) != CONTRACT:
        raise BadRequestError(f"{VALIDATE}: expected {CONTRACT}")
    return VALIDATE in query


def _headers_of(request: Request) -> dict[str, str]:
    """Return the headers as text: raw UTF-8 stays what it is, and what is none cannot be encoded again.

    Raises:
        BadRequestError: one of a CloudEvent is given twice.
    """
    found: dict[str, str] = {}
    for raw, value in request.headers.raw:
        name = raw.decode("ascii", "replace")
        if name in found and name.startswith("ce-"):
            raise BadRequestError(f"{name}: given twice")
        found[name] = value.decode("utf-8", "surrogateescape")
    return found


# -- what goes wrong ---------------------------------------------------------------------------------------------------


async def _with_rest_of_body(request: Request, response: Response) -> Response:
    """Return an answer for which a body may still arrive: a part of that is read, and the connection is closed."""
    if request.method != "POST" or _READ in request.scope:
        return response
    response.headers["Connection"] = "close"
    if "expect" in request.headers:  # the client waits for our answer, and sends nothing
        return response
    size = 0
    with anyio.move_on_after(DRAINED_SECONDS):
        while size < DRAINED_BYTES:
            message = await request.receive()
            size += len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body", False):
                break
    return response


async def _refused(request: Request, _error: Exception) -> Response:
    """Answer where no route fits; methods that a path does not take have not come so far (worker/ingest/gate.py)."""
    missing = NotFoundError("there is no such path", "See /openapi.json for the paths that there are.")
    return await _with_rest_of_body(request, problem_response(missing))
