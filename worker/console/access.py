"""Who may see and do what on the console. Pure, but for the making of tokens.

A person is known by a token, and the file holds only its hash, or by the name that a reverse proxy gives. A person
sees all tenants or some, and only reads unless the role is `operator`.
"""

from __future__ import annotations

import secrets
import tomllib
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from typing import Annotated, Final, NamedTuple

import msgspec

EVERYONE: Final = "*"
"""In the place of a name: everyone that the proxy names and the file does not."""
SHORTEST_TOKEN: Final = 20
"""Characters of a token that a person has chosen."""


class Role(StrEnum):
    """What a person may do."""

    VIEWER = "viewer"
    """Look."""
    OPERATOR = "operator"
    """Also send dead letters again, grant and revoke."""


class Person(NamedTuple):
    """Who looks: the name goes into the log of actions. `tenants` is None for all."""

    name: str
    role: Role
    tenants: frozenset[str] | None

    @property
    def acts(self) -> bool:
        """Whether the person may do more than look."""
        return self.role is Role.OPERATOR

    @property
    def limit(self) -> list[str] | None:
        """The tenants as an argument of queries: sorted, None for all."""
        return None if self.tenants is None else sorted(self.tenants)

    def sees(self, tenant: str) -> bool:
        """Tell whether the person may know of a tenant."""
        return self.tenants is None or tenant in self.tenants


class AccessError(ValueError):
    """The file of persons cannot be used; the message says what is wrong and where."""


_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    name: _Name
    role: Role = Role.VIEWER
    token_sha256: _Hash | None = None
    tenants: list[str] | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    person: list[_Entry]


class Access:
    """All persons."""

    def __init__(self, by_hash: dict[str, Person], by_name: dict[str, Person]) -> None:
        self._by_hash = by_hash
        self._by_name = by_name

    def of_token(self, token: str) -> Person | None:
        """Return whose token it is; None for none. The time it takes does not tell how much of it was right."""
        asked, found = token_hash(token), None
        for known, person in self._by_hash.items():
            if compare_digest(known, asked):
                found = person
        return found

    def of_name(self, name: str) -> Person | None:
        """Return the person that a proxy names; None where the file has neither the name nor `*`."""
        known = self._by_name.get(name)
        if known is not None and name != EVERYONE:
            return known
        everyone = self._by_name.get(EVERYONE)
        return None if everyone is None or not name else everyone._replace(name=name)

    def still(self, person: Person) -> bool:
        """Tell whether a person who has logged in with a token is the same by now."""
        return person in self._by_hash.values()


def read_access(text: str) -> Access:
    """Return the persons of a TOML file.

    Raises:
        AccessError: it is no such file, has a name or a token twice, or no person in it.
    """
    try:
        file = msgspec.convert(tomllib.loads(text), _File)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise AccessError(f"{error}; expected tables [[person]] with name, role, token_sha256, tenants") from None
    by_hash: dict[str, Person] = {}
    by_name: dict[str, Person] = {}
    for entry in file.person:
        person = Person(entry.name, entry.role, None if entry.tenants is None else frozenset(entry.tenants))
        if entry.name in by_name:
            raise AccessError(f"the person {entry.name} is there twice")
        if entry.name == EVERYONE and entry.token_sha256 is not None:
            raise AccessError("the person * stands for those that a proxy names, and has no token")
        by_name[entry.name] = person
        if entry.token_sha256 is not None:
            if entry.token_sha256 in by_hash:
                raise AccessError(f"{entry.name} has the token of {by_hash[entry.token_sha256].name}")
            by_hash[entry.token_sha256] = person
    if not by_name:
        raise AccessError("it names no person")
    return Access(by_hash, by_name)


def access_of_token(token: str, *, name: str = "admin", role: Role = Role.VIEWER) -> Access:
    """Return the access of one person who sees all tenants, by a token.

    Raises:
        AccessError: the token is too short.
    """
    if len(token) < SHORTEST_TOKEN:
        raise AccessError(f"the token has {len(token)} characters: it needs {SHORTEST_TOKEN} or more")
    person = Person(name, role, None)
    return Access({token_hash(token): person}, {name: person})


def fresh_token() -> str:
    """Return a token that cannot be guessed."""
    return secrets.token_urlsafe(24)


def token_hash(token: str) -> str:
    """Return what the file holds of a token: SHA-256, in hexadecimal. Tokens are long and random: no salt is needed."""
    return sha256(token.encode("utf-8", "replace")).hexdigest()
