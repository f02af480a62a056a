"""What can be asked for: paths, parameters and answers. The routes and the OpenAPI document are both made of this."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, NamedTuple

from msgspec import Struct

from worker.engine.why import Why
from worker.serve.answers import Achievements, Catalogue
from worker.serve.hub import Unlock
from worker.view.unlocks import LONGEST_PAGE, Page

LANGUAGES: Final = r"^[A-Za-z]{1,8}([-_][A-Za-z0-9]{1,8}){0,7}(,[A-Za-z]{1,8}([-_][A-Za-z0-9]{1,8}){0,7}){0,9}$"
"""Tags of BCP 47 with commas between them, the best first."""
MOST_BYTES: Final = 512
"""Of an id, in UTF-8."""


class Health(Struct, frozen=True, kw_only=True):
    """Whether the servers behind this are there."""

    ok: bool
    postgresql: bool
    nats: bool


class Kind(StrEnum):
    """How an answer is given."""

    JSON = "application/json"
    EVENTS = "text/event-stream"


class Parameter(NamedTuple):
    """Something that a caller says, in the path or behind the question mark."""

    name: str
    about: str
    schema: dict[str, Any]


class Operation(NamedTuple):
    """One thing that can be asked for."""

    name: str
    path: str
    summary: str
    about: str
    answer: Any
    parameters: tuple[Parameter, ...] = ()
    statuses: tuple[int, ...] = ()
    """Of problems, beside those of every operation."""
    is_open: bool = False
    """Whether it takes no credential."""
    has_tag: bool = False
    """Whether its answers have an ETag."""
    kind: Kind = Kind.JSON


_ID: Final[dict[str, Any]] = {
    "type": "string",
    "minLength": 1,
    "maxLength": MOST_BYTES,
    "pattern": r"^[^\u0000]*$",
    "description": f"At most {MOST_BYTES} bytes of UTF-8.",
}
PATH: Final = {
    "tenant": Parameter("tenant", "The tenant, percent-encoded once.", _ID),
    "user": Parameter("user", "The user, percent-encoded once.", _ID),
    "scope": Parameter("scope", "`user`, `tenant`, or the field that rules name as their scope.", _ID),
    "subject": Parameter("subject", "The subject of that scope, percent-encoded once.", _ID),
    "achievement": Parameter("achievement", "`achievement`, or `achievement.tier`.", _ID),
}
_LANG: Final = Parameter(
    "lang", "Languages, the best first; in place of `Accept-Language`.", {"type": "string", "pattern": LANGUAGES}
)
_FAMILY: Final = Parameter("family", "Only achievements of this family.", _ID)
_OCCURRENCE: Final = Parameter("occurrence", "Of what repeats: which occurrence, the current one if left out.", _ID)
_SINCE: Final = Parameter(
    "since",
    "A cursor: what lies behind it. `now`: no unlocks, and the cursor of this moment.",
    {"type": "string", "pattern": "^(now|[A-Za-z0-9_-]{22})$"},
)
_LIMIT: Final = Parameter(
    "limit", "Unlocks on a page, at most.", {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE, "default": 100}
)
_CORRECTIONS: Final = Parameter(
    "corrections",
    "Whether what became of unlocks later is listed too.",
    {"type": "boolean", "default": False},
)

_USER: Final = "/v1/tenants/{tenant}/users/{user}"
_SUBJECT: Final = "/v1/tenants/{tenant}/subjects/{scope}/{subject}"
_STANDING: Final = (
    "Everything that the subject may see: progress, what it has earned, and how many achievements are hidden. One that "
    "nothing is known of is at the beginning of everything. Send the ETag as `If-None-Match`."
)
_LIVE: Final = (
    "Server-Sent Events. `ready` begins; `unlock` has what became of an unlock; `stale` says that the standing is "
    "another one now (at most once a second); `skipped` that more unlocks were missed than are sent; `expired` and "
    "`slow` end the stream. Resume with `Last-Event-ID`."
)


def _pair(name: str, what: str, path: str, **rest: Any) -> tuple[Operation, Operation]:  # noqa: ANN401 - as Operation has them
    """Return an operation on a user, and on a subject of any scope."""
    return (
        Operation(f"user_{name}", f"{_USER}{path}", f"{what} of a user", **rest),
        Operation(f"subject_{name}", f"{_SUBJECT}{path}", f"{what} of a team, or of any other scope", **rest),
    )


OPERATIONS: Final = (
    *_pair(
        "achievements",
        "Achievements",
        "/achievements",
        about=_STANDING,
        answer=Achievements,
        parameters=(_LANG, _FAMILY),
        statuses=(404, 410),
        has_tag=True,
    ),
    *_pair(
        "why",
        "Why, or why not yet: one achievement",
        "/achievements/{achievement}/why",
        about="The explanation, event by event, of each tier that the subject sees.",
        answer=Why,
        parameters=(_LANG, _OCCURRENCE),
        statuses=(404, 410),
    ),
    *_pair(
        "live",
        "Live events",
        "/live",
        about=_LIVE,
        answer=Unlock,
        parameters=(_LANG,),
        statuses=(404, 410),
        kind=Kind.EVENTS,
    ),
    Operation(
        "catalogue",
        "/v1/tenants/{tenant}/catalogue",
        "What can be earned",
        "All that is not hidden at first, and how many are.",
        Catalogue,
        parameters=(_LANG,),
        has_tag=True,
    ),
    Operation(
        "unlocks",
        "/v1/tenants/{tenant}/unlocks",
        "Unlocks of all subjects of a tenant",
        "In the order of the books, with a tenant's key alone. Ask again with the `cursor` of the answer.",
        Page,
        parameters=(_SINCE, _LIMIT, _CORRECTIONS, _LANG),
    ),
    Operation("health", "/v1/health", "Whether the servers are there", "No credential.", Health, is_open=True),
    Operation("openapi", "/openapi.json", "This document", "No credential.", dict[str, Any], is_open=True),
)
