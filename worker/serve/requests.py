"""What a request says, read strictly: ids of the path, parameters, languages, credential."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from dsl.outcome import Subject
from worker.serve.operations import LANGUAGES, MOST_BYTES
from worker.serve.problems import BadRequestError, UnauthorizedError
from worker.view.reader import USER
from worker.view.unlocks import LONGEST_PAGE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MOST_LANGUAGES: Final = 10
_ESCAPES: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_TAGS: Final = re.compile(LANGUAGES)
_TAG: Final = re.compile(r"[A-Za-z]{1,8}([-_][A-Za-z0-9]{1,8}){0,7}|\*")
_BOOLEANS: Final = {"true": True, "false": False}
_SECRETIVE: Final = frozenset({"access_token", "authorization", "bearer", "jwt", "key", "token"})


def decoded(segment: str, name: str) -> str:
    """Return an id of the path or the query, decoded once.

    Raises:
        BadRequestError: it is no percent-encoded UTF-8 of 1 to 512 bytes.
    """
    raw = unquote_to_bytes(segment)
    if _ESCAPES.search(segment) or not 1 <= len(raw) <= MOST_BYTES or b"\0" in raw:
        raise BadRequestError(f"{name}: expected 1 to {MOST_BYTES} bytes, percent-encoded, without NUL")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BadRequestError(f"{name}: expected UTF-8, percent-encoded once") from None


def subject_of(path: Mapping[str, str]) -> Subject:
    """Return the subject that a path names."""
    tenant = decoded(path["tenant"], "tenant")
    if "user" in path:
        return Subject(tenant, USER, decoded(path["user"], "user"))
    return Subject(tenant, decoded(path["scope"], "scope"), decoded(path["subject"], "subject"))


def parameters(query: str, known: Collection[str]) -> dict[str, str]:
    """Return the parameters of a query, decoded once.

    Raises:
        BadRequestError: one is unknown, given twice, or no UTF-8; or it is a credential, which ends up in logs.
    """
    found: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        name, _, value = pair.replace("+", "%20").partition("=")
        if name.lower() in _SECRETIVE:
            raise BadRequestError(
                "a credential in the query string is refused: it would end up in logs and histories",
                "Send it as `Authorization: Bearer`, and make a new one in place of this.",
            )
        if name not in known:
            raise BadRequestError(f"unknown parameter; known are: {', '.join(sorted(known)) or 'none'}")
        if name in found:
            raise BadRequestError(f"{name}: given twice")
        found[name] = decoded(value, name)
    return found


def languages(given: str | None, header: str | None) -> tuple[str, ...]:
    """Return the languages that a reader asks for, the best first: by the parameter, or else by the header.

    Raises:
        BadRequestError: the parameter has something else than tags of languages.
    """
    if given is None:
        return _accepted(header or "")
    if not _TAGS.fullmatch(given):
        raise BadRequestError("lang: expected tags of languages with commas, as in `pt-BR,en`")
    return tuple(given.split(","))


def _accepted(header: str) -> tuple[str, ...]:
    """Read `Accept-Language`; what cannot be read is passed over."""
    weighed: list[tuple[float, int, str]] = []
    for place, part in enumerate(header.split(",")[:MOST_LANGUAGES]):
        tag, _, weight = (text.strip() for text in part.partition(";"))
        if not _TAG.fullmatch(tag):
            continue
        quality = re.fullmatch(r"q=([01](?:\.\d{0,3})?)", weight)
        rank = 1.0 if quality is None else float(quality[1])
        if rank > 0:
            weighed.append((-rank, place, tag))
    return tuple(tag for _, _, tag in sorted(weighed))


def number(given: str | None, name: str, default: int) -> int:
    """Return a number of 1 to 1,000.

    Raises:
        BadRequestError: it is none.
    """
    if given is None:
        return default
    if not re.fullmatch(r"[0-9]{1,4}", given) or not 1 <= int(given) <= LONGEST_PAGE:
        raise BadRequestError(f"{name}: expected a number of 1 to {LONGEST_PAGE}")
    return int(given)


def truth(given: str | None, name: str) -> bool:
    """Return a boolean; False where it is left out.

    Raises:
        BadRequestError: it is none.
    """
    if given is None:
        return False
    if given not in _BOOLEANS:
        raise BadRequestError(f"{name}: expected true or false")
    return _BOOLEANS[given]


def credential(header: str | None) -> str:
    """Return the credential of `Authorization`.

    Raises:
        UnauthorizedError: there is none, or of another scheme.
    """
    if header is None:
        raise UnauthorizedError("the request has no credential")
    scheme, _, said = header.partition(" ")
    if scheme.lower() != "bearer" or not said.strip():
        raise UnauthorizedError("the credential is of another scheme than Bearer")
    return said.strip()


def is_known(header: str | None, tag: str) -> bool:
    """Tell whether `If-None-Match` names a tag, by weak comparison (RFC 9110, 8.8.3.2)."""
    if header is None:
        return False
    given = [one.strip().removeprefix("W/") for one in header.split(",")]
    return f'"{tag}"' in given or given == ["*"]
