"""Errors as callers get them: RFC 9457, with a hint that says what to do."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

MEDIA_TYPE: Final = "application/problem+json"


class Problem(Struct, frozen=True, kw_only=True):
    """An error (RFC 9457)."""

    type: Annotated[str, Meta(description="`urn:ach:problem:` and a name that stays the same.")]
    title: Annotated[str, Meta(description="The same for all problems of this type.")]
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: Annotated[str, Meta(description="What is wrong with this request.")]
    hint: Annotated[str, Meta(description="What to do.")]


class ProblemError(Exception):
    """A request that gets no answer but a problem; `retry_after` in seconds, None where trying again is of no use."""

    status: int = 400
    name: str = "bad-request"
    title: str = "The request cannot be understood"
    hint: str = "See /openapi.json for what the request may hold."

    def __init__(self, detail: str, hint: str | None = None, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        if hint is not None:
            self.hint = hint

    @property
    def problem(self) -> Problem:
        """The body of the answer."""
        return Problem(
            type=f"urn:ach:problem:{self.name}",
            title=self.title,
            status=self.status,
            detail=self.detail,
            hint=self.hint,
        )

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer, beside those of every answer."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


class BadRequestError(ProblemError):
    """The request is malformed."""


class UnauthorizedError(ProblemError):
    """No credential, or none that is good."""

    status = 401
    name = "unauthorized"
    title = "No valid credential"
    hint = "Send `Authorization: Bearer` with a tenant's key, or with a token that your application has signed."

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer: how to authenticate, too."""
        return {**super().headers, "WWW-Authenticate": 'Bearer realm="ach"'}


class ForbiddenError(ProblemError):
    """The credential is good, and not for this. It says the same of what exists and what does not."""

    status = 403
    name = "forbidden"
    title = "Not allowed"
    hint = "Use a credential of the tenant that the path names; a token is good for its one subject alone."


class NotFoundError(ProblemError):
    """There is no such thing, or the subject may not know that there is."""

    status = 404
    name = "not-found"
    title = "Not found"
    hint = "See the catalogue for what there is."


class MethodNotAllowedError(ProblemError):
    """This API only reads."""

    status = 405
    name = "method-not-allowed"
    title = "Method not allowed"
    hint = "Use GET or HEAD: this API only reads."

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer: what is allowed, too."""
        return {**super().headers, "Allow": "GET, HEAD, OPTIONS"}


class GoneError(ProblemError):
    """A user who was erased."""

    status = 410
    name = "erased"
    title = "Erased"
    hint = "Forget what you have stored of this user; nothing will come again."


class TooLargeError(ProblemError):
    """The request has a body, or too many events would have to be read for the answer."""

    status = 413
    name = "too-large"
    title = "Too large"
    hint = "Send no body with GET."


class TooManyRequestsError(ProblemError):
    """The credential has used up its rate."""

    status = 429
    name = "too-many-requests"
    title = "Too many requests"
    hint = "Wait for as many seconds as `Retry-After` says; send `If-None-Match` to ask for what has changed."


class UnexpectedError(ProblemError):
    """A defect."""

    status = 500
    name = "internal"
    title = "Internal error"
    hint = "Try again; report it if it stays."


class AwayError(ProblemError):
    """A server that the answer needs is away, and no earlier answer is kept."""

    status = 503
    name = "unavailable"
    title = "Temporarily unavailable"
    hint = "Try again after as many seconds as `Retry-After` says."

    def __init__(self, detail: str, *, retry_after: int = 2) -> None:
        super().__init__(detail, retry_after=retry_after)


STATUSES: Final[tuple[type[ProblemError], ...]] = (
    BadRequestError,
    UnauthorizedError,
    ForbiddenError,
    NotFoundError,
    MethodNotAllowedError,
    GoneError,
    TooLargeError,
    TooManyRequestsError,
    UnexpectedError,
    AwayError,
)
"""All of them, in the order of their codes."""
