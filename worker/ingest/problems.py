"""What senders get in place of 202: problems that name the events at fault, or those that were not stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from worker.serve.problems import (
    AwayError,
    BadRequestError,
    ForbiddenError,
    MethodNotAllowedError,
    NotFoundError,
    Problem,
    ProblemError,
    TooLargeError,
    TooManyRequestsError,
    UnauthorizedError,
    UnexpectedError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_FLAWS: Final = 100
"""That one answer lists."""


class Flaw(Struct, frozen=True, omit_defaults=True):
    """What is wrong with one event of a request."""

    index: Annotated[int, Meta(ge=0, description="The place of the event in the request, from 0.")]
    detail: Annotated[str, Meta(description="What is wrong with it.")]
    hint: Annotated[str, Meta(description="What to do.")]
    field: Annotated[str | UnsetType, Meta(description="The field at fault, where it is one field.")] = UNSET


class IngestProblem(Problem, frozen=True, kw_only=True):
    """A problem, and the events that it is about."""

    errors: Annotated[
        list[Flaw] | UnsetType, Meta(description=f"What is wrong with which event, {MOST_FLAWS} of them at most.")
    ] = UNSET
    not_stored: Annotated[
        list[int] | UnsetType, Meta(description="Places of the events that the broker has not acknowledged.")
    ] = UNSET


class EventsError(ProblemError):
    """Events are at fault; nothing of the request is stored."""

    name = "malformed-events"
    title = "Events cannot be read"
    hint = "Mend the events that `errors` names, and send all of them again."

    def __init__(self, flaws: Sequence[Flaw]) -> None:
        first = flaws[0]
        at = "" if first.field is UNSET else f"{first.field}: "
        others = f", and {len(flaws) - 1:,} more" if len(flaws) > 1 else ""
        super().__init__(f"event {first.index}: {at}{first.detail}{others}")
        self.flaws = flaws

    @property
    def problem(self) -> Problem:
        """The body of the answer."""
        return _with(super().problem, errors=[*self.flaws[:MOST_FLAWS]])


class ContractError(EventsError):
    """Events break the contracts of the rules."""

    status = 422
    name = "contract"
    title = "Events break the contract of their type"


class OtherTenantError(EventsError):
    """Events are another tenant's."""

    status = 403
    name = "other-tenant"
    title = "Events of another tenant"
    hint = "Send each tenant's events with a key of that tenant."


class EventTooLargeError(EventsError):
    """Events are larger than the broker takes."""

    status = 413
    name = "event-too-large"
    title = "Events are too large"
    hint = "Store the data elsewhere, and send where it is."


class TimeoutProblemError(ProblemError):
    """The body has not arrived in time."""

    status = 408
    name = "too-slow"
    title = "The body has not arrived in time"
    hint = "Send smaller bodies."


class MediaTypeError(ProblemError):
    """The body is of a type or an encoding that is not read."""

    status = 415
    name = "unsupported-media-type"
    title = "Unsupported media type"
    hint = (
        "Send application/json, application/x-ndjson, application/cloudevents+json or "
        "application/cloudevents-batch+json, or CloudEvents in ce- headers; as it is, or with Content-Encoding: gzip."
    )


class NotStoredError(AwayError):
    """The broker has not acknowledged all events."""

    name = "not-stored"
    title = "Not all events are stored"
    hint = (
        "Send the request again with the same ids, after as many seconds as `Retry-After` says: no event counts twice."
    )

    def __init__(self, places: Sequence[int], number: int, said: str, *, retry_after: int = 1) -> None:
        super().__init__(
            f"{len(places):,} of {number:,} events were not acknowledged by the broker: {said}", retry_after=retry_after
        )
        self.places = places

    @property
    def problem(self) -> Problem:
        """The body of the answer."""
        return _with(super().problem, not_stored=[*self.places])


class PostAloneError(MethodNotAllowedError):
    """Events are posted."""

    hint = "Use POST for events and webhooks, GET for /v1/health and /openapi.json."

    def __init__(self, allowed: str) -> None:
        super().__init__(f"allowed here: {allowed}")
        self._allowed = allowed

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer: what is allowed, too."""
        return {**super().headers, "Allow": self._allowed}


STATUSES: Final[tuple[type[ProblemError], ...]] = (
    BadRequestError,
    UnauthorizedError,
    ForbiddenError,
    NotFoundError,
    MethodNotAllowedError,
    TimeoutProblemError,
    TooLargeError,
    MediaTypeError,
    ContractError,
    TooManyRequestsError,
    UnexpectedError,
    AwayError,
)
"""One problem of each status, in the order of their codes."""


def _with(
    problem: Problem, errors: list[Flaw] | UnsetType = UNSET, not_stored: list[int] | UnsetType = UNSET
) -> IngestProblem:
    return IngestProblem(
        type=problem.type,
        title=problem.title,
        status=problem.status,
        detail=problem.detail,
        hint=problem.hint,
        errors=errors,
        not_stored=not_stored,
    )
