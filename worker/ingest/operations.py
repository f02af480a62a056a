"""What can be asked for: the routes and the OpenAPI document are both made of this."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

from msgspec import Meta, Struct

from worker.contract.cloudevents import BATCH_TYPE, STRUCTURED_TYPE
from worker.contract.fields import MAX_ID_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

_Id = Annotated[
    str,
    Meta(min_length=1, max_length=MAX_ID_BYTES, description=f"At most {MAX_ID_BYTES} bytes of UTF-8, without U+0000."),
]


class EventBody(Struct, frozen=True):
    """One event. Fields that are not named here are ignored."""

    event_id: _Id
    event_type: _Id
    user_id: _Id
    tenant_id: Annotated[_Id, Meta(description="The tenant that the key is of.")]
    occurred_at: Annotated[str, Meta(description="When it happened: an RFC 3339 instant with an offset.")]
    source: Annotated[str, Meta(max_length=MAX_ID_BYTES)] | None = None
    payload: dict[str, Any] | None = None


class CloudEventBody(Struct, frozen=True):
    """One CloudEvent 1.0. Attributes that are not named here are dropped."""

    specversion: Annotated[str, Meta(pattern=r"^1\.0$")]
    id: Annotated[str, Meta(min_length=1)]
    source: Annotated[str, Meta(min_length=1, description="The event's id is `source#id`.")]
    type: _Id
    subject: Annotated[_Id, Meta(description="The user.")]
    time: Annotated[str, Meta(description="When it happened: an RFC 3339 instant with an offset.")]
    tenantid: Annotated[_Id, Meta(description="The tenant that the key is of.")] | None = None
    datacontenttype: Annotated[str, Meta(description="JSON, where it is given.")] | None = None
    data: dict[str, Any] | None = None


class Accepted(Struct, frozen=True):
    """The broker has all events."""

    accepted: Annotated[int, Meta(ge=0, description="How many events the request had.")]


class Health(Struct, frozen=True, kw_only=True):
    """Whether events can be taken now."""

    ok: bool
    nats: bool


class Operation(NamedTuple):
    """One thing that can be asked for."""

    name: str
    method: str
    path: str
    summary: str
    about: str
    answer: Any
    bodies: Mapping[str, Any] = MappingProxyType({})
    """Shapes by media type."""
    statuses: tuple[int, ...] = ()
    """Of problems, beside those of every operation."""
    good: int = 200
    is_open: bool = False
    """Whether it takes no key."""
    validates: bool = False
    """Whether it has the parameter `validate`."""


OPERATIONS: Final = (
    Operation(
        "events",
        "POST",
        "/v1/events",
        "Send events",
        "Answered with 202 once the broker has acknowledged all of them. With 503, those in `not_stored` were not: "
        "send the request again with the same ids. With every other status nothing is stored, but where one event is "
        "too large for the stream. CloudEvents may come in binary mode, too: attributes in `ce-` headers, data as "
        "body.",
        Accepted,
        {
            "application/json": EventBody | list[EventBody],
            "application/x-ndjson": str,
            STRUCTURED_TYPE: CloudEventBody,
            BATCH_TYPE: list[CloudEventBody],
        },
        (401, 403, 408, 413, 415, 422, 429, 503),
        202,
        validates=True,
    ),
    Operation(
        "webhook",
        "POST",
        "/v1/webhooks/{name}",
        "Take a webhook",
        "Signed as Standard Webhooks says; the configuration says what becomes of its body.",
        Accepted,
        {"application/json": dict[str, Any]},
        (401, 408, 413, 415, 429, 503),
        202,
        is_open=True,
    ),
    Operation("health", "GET", "/v1/health", "Whether events can be taken", "No key.", Health, is_open=True),
    Operation("openapi", "GET", "/openapi.json", "This document", "No key.", dict[str, Any], is_open=True),
)

_METHODS: Final = {"GET": ["GET", "HEAD", "OPTIONS"], "POST": ["OPTIONS", "POST"]}
_PATHS: Final = {re.compile(re.sub(r"{\w+}", "[^/]+", one.path)): _METHODS[one.method] for one in OPERATIONS}


def methods_of(path: str) -> list[str]:
    """Return the methods that a path takes, none where there is no such path."""
    for pattern, methods in _PATHS.items():
        if pattern.fullmatch(path):
            return methods
    return []
