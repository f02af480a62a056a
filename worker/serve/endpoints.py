"""The HTTP side: routes, who may ask for what, and how answers look. What they say is the work of `answers`."""

from __future__ import annotations

from functools import cache
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import structlog
from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from worker.probes.readiness import NATS, POSTGRESQL
from worker.rates import Buckets, Rate
from worker.serve.access import Access, Caller
from worker.serve.answers import UnlocksAsked
from worker.serve.gzip_coding import LONGEST_AT_ONCE, SMALLEST, compressed, takes_gzip
from worker.serve.openapi import document_text
from worker.serve.operations import OPERATIONS, Health, Kind
from worker.serve.problems import (
    MEDIA_TYPE,
    MethodNotAllowedError,
    NotFoundError,
    ProblemError,
    TooManyRequestsError,
    UnexpectedError,
)
from worker.serve.requests import credential, decoded, is_known, languages, number, parameters, subject_of, truth

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from worker.probes.readiness import Readiness
    from worker.serve.answers import Answers, Content
    from worker.serve.config import Config
    from worker.serve.live import Live, Opened
    from worker.serve.operations import Operation

    Answer = Callable[["Asked"], Awaitable[Response]]

WHY_COST: Final = 10
"""Requests that one explanation counts as: it reads all events of a subject."""
HEALTH_SECONDS: Final = 1.0
"""For which the state of the servers is kept: it takes no credential, and must not cost the database anything."""
_CACHE: Final = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Accept-Encoding, Accept-Language"}
_NEVER: Final = {"Cache-Control": "no-store"}

log = structlog.get_logger()


class Asked(NamedTuple):
    """A request that may be answered."""

    request: Request
    caller: Caller | None
    query: dict[str, str]

    @property
    def path(self) -> dict[str, str]:
        """The segments of the path by name, encoded."""
        return self.request.path_params

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages asked for, best first."""
        return languages(self.query.get("lang"), self.request.headers.get("accept-language"))

    @property
    def known(self) -> str | None:
        """The tags of answers that the caller has already."""
        return self.request.headers.get("if-none-match")

    @property
    def takes_gzip(self) -> bool:
        """Whether the answer may come compressed."""
        return takes_gzip(self.request.headers.get("accept-encoding"))


class Endpoints:
    """Answers requests."""

    def __init__(self, config: Config, answers: Answers, live: Live, readiness: Readiness) -> None:
        """Take the parts; `readiness` asks both servers."""
        self._answers = answers
        self._readiness = readiness
        self._live = live
        self._access = Access(config)
        self._buckets = Buckets()
        self._key_rate = Rate(config.key_rate, config.key_burst)
        self._token_rate = Rate(config.token_rate, config.token_burst)
        self._health: tuple[float, Health] | None = None

    def app(self) -> Starlette:
        """Return the application; the paths that it sees are still encoded (see `gate`)."""
        made = Starlette(
            routes=[
                Route(one.path, self._endpoint(one, getattr(self, one.name)), methods=["GET"], name=one.name)
                for one in OPERATIONS
            ],
            exception_handlers={HTTPException: _refused, ProblemError: _problem, Exception: unexpected},
        )
        # It would lead to wherever the request's Host says.
        made.router.redirect_slashes = False
        return made

    def _endpoint(self, operation: Operation, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        known = frozenset(one.name for one in operation.parameters)

        async def endpoint(request: Request) -> Response:
            request.scope["ach.operation"] = operation
            query = parameters(request.url.query, known)
            caller = None if operation.is_open else self._caller(request, operation)
            return await answer(Asked(request, caller, query))

        return endpoint

    def _caller(self, request: Request, operation: Operation) -> Caller:
        """Return who calls, if they may ask of this tenant and subject, and within their rate.

        Raises:
            UnauthorizedError, ForbiddenError, TooManyRequestsError: they may not.
        """
        caller = self._access.caller(credential(request.headers.get("authorization")))
        request.scope["ach.caller"] = caller.id
        path = request.path_params
        caller.check_tenant(decoded(path["tenant"], "tenant"))
        if "user" in path or "subject" in path:
            caller.check_subject(subject_of(path))
        rate = self._key_rate if caller.subject is None else self._token_rate
        cost = WHY_COST if operation.name.endswith("why") else 1
        wait = self._buckets.take(caller.id, rate, monotonic(), min(cost, rate.burst))
        if wait:
            raise TooManyRequestsError("this credential has used up its rate", retry_after=int(wait) + 1)
        return caller

    # -- one for each operation ----------------------------------------------------------------------------------------

    async def user_achievements(self, asked: Asked) -> Response:
        """Answer where a subject stands."""
        known = asked.known
        content = await self._answers.achievements(
            subject_of(asked.path), asked.languages, asked.query.get("family"), lambda tag: is_known(known, tag)
        )
        return await _answered(content, asked)

    async def user_why(self, asked: Asked) -> Response:
        """Answer why a subject has an achievement, or why not yet."""
        name = decoded(asked.path["achievement"], "achievement")
        content = await self._answers.why(subject_of(asked.path), name, asked.languages, asked.query.get("occurrence"))
        return _plain(content, dict(_CACHE))

    async def user_live(self, asked: Asked) -> Response:
        """Begin a live stream."""
        last = asked.request.headers.get("last-event-id") or None
        opened = await self._live.open(subject_of(asked.path), asked.languages, last)
        return Events(opened, None if asked.caller is None else asked.caller.expires)

    subject_achievements, subject_why, subject_live = user_achievements, user_why, user_live

    async def catalogue(self, asked: Asked) -> Response:
        """Answer what can be earned."""
        content = await self._answers.catalogue(decoded(asked.path["tenant"], "tenant"), asked.languages)
        return await _answered(content, asked)

    async def unlocks(self, asked: Asked) -> Response:
        """Answer which unlocks there are in a tenant."""
        if asked.caller is not None:
            asked.caller.check_key()
        page = UnlocksAsked(
            since=asked.query.get("since"),
            limit=number(asked.query.get("limit"), "limit", 100),
            corrections=truth(asked.query.get("corrections"), "corrections"),
        )
        content = await self._answers.unlocks(decoded(asked.path["tenant"], "tenant"), page, asked.languages)
        return await _answered(content, asked)

    async def health(self, _asked: Asked) -> Response:
        """Answer whether the servers are there."""
        now = monotonic()
        if self._health is None or now - self._health[0] >= HEALTH_SECONDS:
            silent = await self._readiness.silent()
            postgresql, nats = POSTGRESQL not in silent, self._live.connected and NATS not in silent
            self._health = (now, Health(ok=postgresql and nats, postgresql=postgresql, nats=nats))
        health = self._health[1]
        return Response(
            msgspec.json.encode(health), 200 if health.ok else 503, headers=_NEVER, media_type=Kind.JSON.value
        )

    async def openapi(self, asked: Asked) -> Response:
        """Answer with the document that describes all this."""
        headers = {"Cache-Control": "max-age=300", "Vary": "Accept-Encoding"}
        if not asked.takes_gzip:
            return Response(_document(), headers=headers, media_type=Kind.JSON.value)
        return Response(
            _document_compressed(), headers={**headers, "Content-Encoding": "gzip"}, media_type=Kind.JSON.value
        )


class Events(Response):
    """A live stream as an answer."""

    def __init__(self, opened: Opened, expires: float | None) -> None:
        super().__init__(
            media_type=Kind.EVENTS.value, headers={"Cache-Control": "private, no-store", "X-Accel-Buffering": "no"}
        )
        del self.headers["content-length"]
        self._opened = opened
        self._expires = expires

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write it."""
        if scope["method"] == "HEAD":
            self._opened.abandon()
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": b""})
            return
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        except BaseException:
            self._opened.abandon()
            raise
        await self._opened.write(receive, send, self._expires)
        await send({"type": "http.response.body", "body": b""})


async def _answered(content: Content, asked: Asked) -> Response:
    """Return an answer in the form that the caller takes, or that it is the one that the caller has."""
    headers = dict(_CACHE)
    if content.tag is not None:
        headers["ETag"] = f'W/"{content.tag}"'
        if is_known(asked.known, content.tag):
            return _unchanged(content, headers)
    if len(content.body) < SMALLEST or not asked.takes_gzip:
        return _plain(content, headers)
    headers["Content-Encoding"] = "gzip"
    return _plain(content._replace(body=await _packed(content.body)), headers)


def _unchanged(content: Content, headers: dict[str, str]) -> Response:
    age = {} if content.age is None else {"Age": str(content.age)}
    return Response(status_code=304, headers={**headers, **age})


def _plain(content: Content, headers: dict[str, str]) -> Response:
    if content.age is not None:
        headers["Age"] = str(content.age)
    return Response(content.body, headers=headers, media_type=Kind.JSON.value)


async def _packed(body: bytes) -> bytes:
    return await to_thread.run_sync(compressed, body) if len(body) > LONGEST_AT_ONCE else compressed(body)


@cache
def _document() -> bytes:
    return document_text().encode()


@cache
def _document_compressed() -> bytes:
    return compressed(_document())


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def problem_response(error: ProblemError) -> Response:
    """Return a problem as an answer."""
    return Response(
        msgspec.json.encode(error.problem),
        error.status,
        headers={**_NEVER, **error.headers},
        media_type=MEDIA_TYPE,
    )


def _problem(_request: Request, error: Exception) -> Response:
    return problem_response(error) if isinstance(error, ProblemError) else unexpected(_request, error)


def _refused(_request: Request, error: Exception) -> Response:
    """Answer where no route fits."""
    status = getattr(error, "status_code", 404)
    if status == MethodNotAllowedError.status:
        return problem_response(MethodNotAllowedError("only GET and HEAD are answered here"))
    return problem_response(NotFoundError("there is no such path", "See /openapi.json for the paths that there are."))


def unexpected(_request: Request, error: Exception) -> Response:
    """Answer where the server is at fault."""
    log.error("a request has failed by a defect", exc_info=error)
    return problem_response(UnexpectedError("the request has failed by a defect of the server"))
