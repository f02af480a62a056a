"""The same answers on NATS: a service of the name `ach`, with a subject for each operation and tenant.

The subject binds the tenant, so the broker's permissions decide who may ask. A request is a JSON object; an error is a
problem, its status in the header `Nats-Service-Error-Code`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, TypeVar
from urllib.parse import unquote

import msgspec
import structlog
from msgspec import Meta, Struct

from dsl.outcome import Subject
from worker.broker.service import Endpoint, Reply, Service
from worker.contract.partition import token
from worker.serve.answers import UnlocksAsked
from worker.serve.operations import LANGUAGES, MOST_BYTES
from worker.serve.problems import BadRequestError, ProblemError, UnexpectedError
from worker.view.reader import USER
from worker.view.unlocks import LONGEST_PAGE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from worker.serve.answers import Answers, Content

NAME: Final = "ach"
PREFIX: Final = "ach.v1"
VERSION: Final = "1.0.0"
_PARTS: Final = 4
LONGEST_REQUEST: Final = 8192

_Id = Annotated[str, Meta(min_length=1, max_length=MOST_BYTES)]
_Languages = Annotated[str, Meta(pattern=LANGUAGES.removesuffix("$") + r"\Z")]

log = structlog.get_logger()

A = TypeVar("A")


class _Asked(Struct, forbid_unknown_fields=True, kw_only=True):
    lang: _Languages | None = None

    @property
    def languages(self) -> tuple[str, ...]:
        return () if self.lang is None else tuple(self.lang.split(","))


class OfSubject(_Asked, kw_only=True):
    """Asks of a user, or of a subject of another scope."""

    user: _Id | None = None
    scope: _Id | None = None
    subject: _Id | None = None

    def of(self, tenant: str) -> Subject:
        """Return the subject, which is one of the tenant.

        Raises:
            BadRequestError: the request names none, or two.
        """
        named = (self.user, self.scope, self.subject)
        if any(name is not None and ("\0" in name or len(name.encode()) > MOST_BYTES) for name in named):
            raise BadRequestError(f"ids: expected {MOST_BYTES} bytes at most, without NUL")
        match named:
            case (str(user), None, None):
                return Subject(tenant, USER, user)
            case (None, str(scope), str(subject)):
                return Subject(tenant, scope, subject)
            case _:
                raise BadRequestError("expected `user`, or `scope` and `subject`")


class ProgressAsked(OfSubject, kw_only=True):
    """Asks where a subject stands."""

    family: _Id | None = None


class WhyAsked(OfSubject, kw_only=True):
    """Asks why a subject has an achievement, or why not yet."""

    achievement: _Id
    occurrence: _Id | None = None


class CatalogueAsked(_Asked, kw_only=True):
    """Asks what can be earned."""


class PageAsked(_Asked, kw_only=True):
    """Asks for unlocks of the tenant."""

    since: _Id | None = None
    limit: Annotated[int, Meta(ge=1, le=LONGEST_PAGE)] = 100
    corrections: bool = False


def service_of(answers: Answers, tenants: Collection[str]) -> Service:
    """Return the service. `tenants` are those whose tokens are hashes, which cannot be read back."""
    hashed = {token(name): name for name in tenants if token(name).startswith("~")}

    async def progress(tenant: str, asked: ProgressAsked) -> Content:
        return await answers.achievements(asked.of(tenant), asked.languages, asked.family)

    async def why(tenant: str, asked: WhyAsked) -> Content:
        return await answers.why(asked.of(tenant), asked.achievement, asked.languages, asked.occurrence)

    async def catalogue(tenant: str, asked: CatalogueAsked) -> Content:
        return await answers.catalogue(tenant, asked.languages)

    async def unlocks(tenant: str, asked: PageAsked) -> Content:
        page = UnlocksAsked(since=asked.since, limit=asked.limit, corrections=asked.corrections)
        return await answers.unlocks(tenant, page, asked.languages)

    def endpoint(name: str, about: str, shape: type[A], answer: Callable[[str, A], Awaitable[Content]]) -> Endpoint:
        return Endpoint(name, f"{PREFIX}.*.{name}", about, _answering(shape, answer, hashed))

    return Service(
        NAME,
        VERSION,
        "What achievements a tenant's users and teams have.",
        [
            endpoint("progress", "Where a user or another subject stands.", ProgressAsked, progress),
            endpoint("why", "Why a subject has an achievement, or why not yet.", WhyAsked, why),
            endpoint("catalogue", "What can be earned.", CatalogueAsked, catalogue),
            endpoint("unlocks", "Unlocks of all subjects, with a cursor.", PageAsked, unlocks),
        ],
    )


def _answering(
    shape: type[A], answer: Callable[[str, A], Awaitable[Content]], hashed: Mapping[str, str]
) -> Callable[[str, bytes], Awaitable[Reply]]:
    read = msgspec.json.Decoder(shape).decode

    async def reply(subject: str, body: bytes) -> Reply:
        try:
            return Reply((await answer(_tenant_of(subject, hashed), _read(read, body))).body)
        except ProblemError as error:
            return _problem(error)
        except Exception:
            log.exception("a request has failed by a defect", subject=subject.rpartition(".")[2])
            return _problem(UnexpectedError("the request has failed by a defect of the server"))

    return reply


def _read(read: Callable[[bytes], A], body: bytes) -> A:
    if len(body) > LONGEST_REQUEST:
        raise BadRequestError(f"the request: expected {LONGEST_REQUEST:,} bytes at most")
    try:
        return read(body or b"{}")
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequestError(f"the request: {error}") from None


def _tenant_of(subject: str, hashed: Mapping[str, str]) -> str:
    """Return the tenant that a subject binds.

    Raises:
        BadRequestError: its token stands for no name that is known here.
    """
    parts = subject.split(".")
    name = parts[2] if len(parts) == _PARTS else ""
    tenant = hashed.get(name) or unquote(name)
    if not tenant or token(tenant) != name:
        raise BadRequestError("the tenant's token: expected a name, percent-encoded as on subjects of events")
    return tenant


def _problem(error: ProblemError) -> Reply:
    return Reply(msgspec.json.encode(error.problem), str(error.status), error.problem.title)
