"""What every request passes before anything looks at it, and every answer on its way out.

Bodies are refused, pages of other origins get no leave to read, the path stays encoded, and one line is logged of each
request: by its kind, not by its path, which has the names of users.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response

from worker.serve.endpoints import problem_response
from worker.serve.problems import BadRequestError, ForbiddenError, MethodNotAllowedError, ProblemError, TooLargeError
from worker.traces.conventions import end_request, request
from worker.traces.spans import NoSpans

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from worker.serve.metrics import ServeStats
    from worker.traces.spans import OpenSpan, Spans

METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
MOST_PATH: Final = 8192
"""Bytes of path and query, encoded: three ids of 512 bytes take 4,608."""
MOST_HEADERS: Final = 16 * 1024
"""Bytes of all headers."""
_SECURITY: Final = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_PREFLIGHT: Final = {
    "Access-Control-Allow-Headers": "Authorization, If-None-Match, Last-Event-ID",
    "Access-Control-Allow-Methods": "GET, HEAD",
    "Access-Control-Max-Age": "600",
}
_EXPOSED: Final = "Age, ETag, Retry-After"
SPAN: Final = "ach.span"
"""In the scope of a request whose trace is recorded: its open span."""

log = structlog.get_logger()


class Gate:
    """An ASGI application around another one; a server that takes bodies has a gate of its own kind."""

    methods: Collection[str] = METHODS
    once: Collection[str] = ("authorization", "last-event-id", "origin")
    """Headers that may be given once."""

    def __init__(self, app: ASGIApp, origins: Collection[str], spans: Spans | None = None) -> None:
        """Stand around an application; `spans` is where the spans of requests go, if they go anywhere."""
        self._app = app
        self._origins = frozenset(origins)
        self._spans = spans or NoSpans()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, began, status = Headers(scope=scope), monotonic(), 0
        origin = headers.get("origin")
        span = self._spans.begin(request(scope["method"], headers.getlist)) if self._spans.exports else None
        if span is not None:
            scope[SPAN] = span

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._dress(MutableHeaders(scope=message), origin)
            await send(message)

        try:
            answer = self._at_once(scope, headers)
            if answer is not None:
                await answer(scope, receive, sending)
                return
            scope["path"] = scope["raw_path"].decode("ascii")
            await self._app(scope, receive, sending)
        finally:
            self.note(scope, status, monotonic() - began)
            if span is not None:
                operation = scope.get("ach.operation")
                end_request(span, scope["method"], None if operation is None else operation.path, status)

    def _at_once(self, scope: Scope, headers: Headers) -> Response | None:
        """Return the answer to what needs no look at anything; None where that takes one."""
        try:
            self.check_method(scope, headers)
            self._check(scope, headers)
        except ProblemError as error:
            response = problem_response(error)
            if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
                response.headers["Connection"] = "close"
            return response
        if scope["method"] != "OPTIONS":
            return None
        return Response(status_code=204, headers={"Allow": ", ".join(self.allowed(scope))})

    def allowed(self, scope: Scope) -> list[str]:
        """Return the methods that a path takes."""
        del scope
        return sorted(self.methods)

    def check_method(self, scope: Scope, headers: Headers) -> None:
        """Refuse methods and bodies that nothing here takes.

        Raises:
            MethodNotAllowedError, TooLargeError: it is one of them.
        """
        if scope["method"] not in self.methods:
            raise MethodNotAllowedError("only GET and HEAD are answered here")
        if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
            raise TooLargeError("the request has a body")

    def _check(self, scope: Scope, headers: Headers) -> None:
        raw = scope["raw_path"]
        if len(raw) + len(scope["query_string"]) > MOST_PATH or not raw.isascii():
            raise BadRequestError(f"path and query: expected ASCII, and {MOST_PATH:,} bytes at most")
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_HEADERS:
            raise BadRequestError(f"headers: expected {MOST_HEADERS:,} bytes at most")
        for name in self.once:
            if len(headers.getlist(name)) > 1:
                raise BadRequestError(f"{name}: given twice")
        if scope["method"] == "OPTIONS" and "origin" in headers and headers["origin"] not in self._origins:
            raise ForbiddenError("pages of this origin may not read here", "Add it to `origins`, if it is yours.")

    def _dress(self, headers: MutableHeaders, origin: str | None) -> None:
        """Add what every answer has."""
        for name, value in _SECURITY.items():
            headers[name] = value
        if not self._origins:
            return
        headers.add_vary_header("Origin")
        if origin in self._origins:
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = _EXPOSED
            if "allow" in headers:
                headers.update(_PREFLIGHT)

    def note(self, scope: Scope, status: int, seconds: float) -> None:
        """Log a request that was answered."""
        operation, span = scope.get("ach.operation"), span_of(scope)
        log.info(
            "request",
            method=scope["method"] if scope["method"] in self.methods else "other",
            what=None if operation is None else operation.name,
            status=status,
            ms=round(seconds * 1000, 1),
            caller=scope.get("ach.caller"),
            **({} if span is None else span.trace.ids),
        )


class ServeGate(Gate):
    """That of the read API, which counts requests."""

    def __init__(self, app: ASGIApp, origins: Collection[str], stats: ServeStats, spans: Spans | None = None) -> None:
        super().__init__(app, origins, spans)
        self._stats = stats

    def note(self, scope: Scope, status: int, seconds: float) -> None:
        """Log and count a request that was answered."""
        super().note(scope, status, seconds)
        self._stats.count(scope.get("ach.operation"), status, seconds)


def span_of(scope: Scope) -> OpenSpan | None:
    """Return the open span of a request; None where its trace is not recorded."""
    return scope.get(SPAN)
