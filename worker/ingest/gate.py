"""What every request passes first: as at the read API, but for bodies, and with no leave for pages of any origin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.ingest.operations import methods_of
from worker.ingest.problems import PostAloneError
from worker.serve.gate import Gate
from worker.serve.problems import BadRequestError

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.datastructures import Headers
    from starlette.types import ASGIApp, Scope

    from worker.ingest.metrics import IngestStats
    from worker.traces.spans import Spans

METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST"})


class IngestGate(Gate):
    """An ASGI application around another one."""

    methods: Collection[str] = METHODS
    once: Collection[str] = (
        *("authorization", "content-encoding", "content-type", "expect", "transfer-encoding"),
        *("webhook-id", "webhook-timestamp", "webhook-signature"),
    )

    def __init__(self, app: ASGIApp, stats: IngestStats, spans: Spans | None = None) -> None:
        super().__init__(app, (), spans)
        self._stats = stats

    def check_method(self, scope: Scope, headers: Headers) -> None:
        """Refuse methods that nothing here takes, and bodies of two lengths.

        Raises:
            PostAloneError, BadRequestError: it is one of them.
        """
        if scope["method"] not in self.allowed(scope):
            raise PostAloneError(", ".join(self.allowed(scope)))
        # A proxy in front of us may believe the other one: then one request passes for two.
        if "transfer-encoding" in headers and "content-length" in headers:
            raise BadRequestError("Transfer-Encoding and Content-Length: expected one of them", "Send one of them.")

    def allowed(self, scope: Scope) -> list[str]:
        """Return the methods that a path takes; all that there are, where no path is."""
        return methods_of(scope["raw_path"].decode("ascii", "replace")) or sorted(self.methods)

    def note(self, scope: Scope, status: int, seconds: float) -> None:
        """Log and count a request that was answered."""
        super().note(scope, status, seconds)
        operation = scope.get("ach.operation")
        self._stats.requests["none" if operation is None else operation.name, str(status)] += 1
