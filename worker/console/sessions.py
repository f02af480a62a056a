"""Sessions in signed cookies, and the tokens of their forms.

Nothing is stored: a cookie says who has logged in and until when, and the key that signs it lives as long as the
process. A restart logs everyone out.
"""

from __future__ import annotations

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from worker.console.access import Person, Role

if TYPE_CHECKING:
    from worker.console.access import Access

COOKIE: Final = "ach_console"
LASTS_SECONDS: Final = 12 * 3600
TRIES: Final = 10
"""Wrong tokens from one address in one minute."""
MOST_ADDRESSES: Final = 10_000
LONGEST_COOKIE: Final = 4096
MINUTE: Final = 60_000_000


class _Said(msgspec.Struct, array_like=True):
    name: str
    role: Role
    tenants: list[str] | None
    until: int
    nonce: str


class Session(NamedTuple):
    """A person who has logged in; `form_token` goes with every form that does something."""

    person: Person
    form_token: str
    until: int
    """Microseconds."""


class Sessions:
    """Makes and reads the cookies of one process."""

    def __init__(self, access: Access, key: bytes | None = None) -> None:
        self._access = access
        self._key = key or secrets.token_bytes(32)

    def begin(self, person: Person, now: int) -> str:
        """Return the cookie of a person who has just logged in; `now` in microseconds."""
        until = now + LASTS_SECONDS * 1_000_000
        said = _Said(person.name, person.role, person.limit, until, secrets.token_urlsafe(12))
        text = urlsafe_b64encode(msgspec.json.encode(said)).decode()
        return f"{text}.{self._sign('session', text)}"

    def read(self, cookie: str, now: int) -> Session | None:
        """Return the session of a cookie; None where it is not ours, has expired, or the person has changed."""
        text, _, signature = cookie.rpartition(".")
        if len(cookie) > LONGEST_COOKIE:
            return None
        if not hmac.compare_digest(signature.encode("utf-8", "replace"), self._sign("session", text).encode()):
            return None
        try:
            said = msgspec.json.decode(urlsafe_b64decode(text), type=_Said)
        except (Base64Error, msgspec.DecodeError):
            return None
        tenants = None if said.tenants is None else frozenset(said.tenants)
        person = Person(said.name, said.role, tenants)
        if said.until <= now or not self._access.still(person):
            return None
        return Session(person, self._sign("form", text), said.until)

    def of_proxy(self, person: Person, now: int) -> Session:
        """Return the session of a person that a proxy names: it has no cookie, and its forms are bound to the name."""
        text = msgspec.json.encode([person.name, person.role, person.limit]).decode()
        return Session(person, self._sign("proxy", text), now + LASTS_SECONDS * 1_000_000)

    def _sign(self, what: str, text: str) -> str:
        return hmac.new(self._key, f"{what}:{text}".encode("utf-8", "replace"), "sha256").hexdigest()


class Tries:
    """How often an address has given a wrong token of late."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def exhausted(self, address: str, now: int) -> bool:
        """Tell whether an address has to wait; `now` in microseconds."""
        minute, wrong = self._wrong.get(address, (0, 0))
        return minute == now // MINUTE and wrong >= TRIES

    def wrong(self, address: str, now: int) -> None:
        """Count a wrong token."""
        minute, wrong = self._wrong.pop(address, (0, 0))
        self._wrong[address] = (now // MINUTE, wrong + 1 if minute == now // MINUTE else 1)
        while len(self._wrong) > MOST_ADDRESSES:
            self._wrong.popitem(last=False)
