"""The users and event types that a dead letter names, read from any bytes. Pure, and total.

A dead letter could not be read as an event, so this reader asks for less than the contract. It reads what is JSON and
searches everything else for the names of the fields. It finds nothing in compressed or encrypted bytes.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from urllib.parse import unquote

from worker.contract.cloudevents import is_encoded, lowered
from worker.contract.fields import MAX_ID_BYTES
from worker.contract.partition import token

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

TENANT: Final = "tenant_id"
USER: Final = "user_id"
TYPE: Final = "event_type"
UNKNOWN: Final = ""
"""The tenant of a user that is named without one."""

PAYLOAD: Final = "payload"
SPECVERSION: Final = "specversion"
"""What is in every CloudEvent; the names of its fields say something else elsewhere."""
_THEIR_NAMES: Final = {"tenantid": TENANT, "subject": USER, "type": TYPE}
_THEIR_PAYLOAD: Final = "data"
_WRAPPED: Final = 3
"""How many levels deep JSON may be a text within JSON."""
_HASH: Final = re.compile(r"~[0-9a-f]{32}")
# A field as any notation may write it: "user_id": "x", \"user_id\": \"x\", 'user_id': 'x', user_id=x, <user_id>x.
_NAMES: Final = f"{TENANT}|{USER}|{TYPE}|{'|'.join(_THEIR_NAMES)}"
_VALUE: Final = r"""(?:\\+["']([^"'\\]*)|"((?:[^"\\]|\\.)*)|'((?:[^'\\]|\\.)*)|([^\s\\"',;&<>{}\[\]]+))"""


class Named(NamedTuple):
    """A user that bytes name, as tokens of NATS subjects; an unknown tenant is ""."""

    tenant: str
    user: str


class Said(NamedTuple):
    """What a body names: users as (tenant, user), with "" for a tenant that it does not name, and event types."""

    users: frozenset[tuple[str, str]]
    types: frozenset[str]


def users_named(
    prefix: str,
    subject: str,
    body: bytes,
    headers: Mapping[str, str] | None = None,
    *,
    fields: frozenset[str] = frozenset(),
) -> frozenset[Named]:
    """Return every user that a message names: in its body, in headers of a CloudEvent, in the subject that it came on.

    A body that names no tenant belongs to the tenant of its subject. `prefix` is that of the input; `fields` are those
    that name users in payloads, of whatever event type.
    """
    tenant, user = _addressee(prefix, subject)
    found = {Named(name_token(of) if of else tenant, name_token(name)) for of, name in read(body, fields).users}
    of, name = _in_headers(headers or {})
    if name:
        found.add(Named(name_token(of) if of else tenant, name_token(name)))
    if user:
        found.add(Named(tenant, user))
    return frozenset(found)


def types_named(body: bytes, headers: Mapping[str, str]) -> frozenset[str]:
    """Return every event type that a message names, in its body or in headers of a CloudEvent."""
    said = lowered(headers)
    written = said.get("ce-type", "")
    types = read(body).types
    return types | {unquote(written) if is_encoded(said) else written} if written else types


def name_token(name: str) -> str:
    """Return the token of a subject that stands for a name, of whatever characters and length."""
    text = name.encode("utf-8", "replace").decode()
    # Names that no event may have are not worth a place in the cache.
    return token(text) if len(text) <= MAX_ID_BYTES else token.__wrapped__(text)


def read(body: bytes, fields: frozenset[str] = frozenset()) -> Said:
    """Return the users and event types that a body names; `fields` as in `users_named`."""
    users: set[tuple[str, str]] = set()
    types: set[str] = set()
    for text in _texts(body):
        said = _read(text, _WRAPPED, fields)
        users |= said.users
        types |= said.types
    return Said(frozenset(users), frozenset(types))


@lru_cache(maxsize=8)
def _pattern(fields: frozenset[str]) -> re.Pattern[str]:
    """Return what finds the fields of an event in a text, and others that name users."""
    names = "|".join([_NAMES, *sorted(fields)])
    return re.compile(rf"""(?<![A-Za-z0-9_])({names})\\*["']?\s*[:=>]\s*{_VALUE}""", re.DOTALL)


@lru_cache(maxsize=8)
def _lists(fields: frozenset[str]) -> re.Pattern[str]:
    """Return what finds lists of users in a text; one that does not end reaches to the end of the text."""
    return re.compile(rf"""(?<![A-Za-z0-9_])(?:{"|".join(sorted(fields))})\\*["']?\s*[:=]\s*\[([^\]]*)""")


_QUOTED: Final = re.compile(r"""\\*["']((?:[^"'\\]|\\[^"'])*)\\*["']""")


def _in_headers(headers: Mapping[str, str]) -> tuple[str, str]:
    """Return tenant and user of a CloudEvent's headers; "" for one that they do not name."""
    said = lowered(headers)
    tenant, user = said.get("ce-tenantid", UNKNOWN), said.get("ce-subject", "")
    return (unquote(tenant), unquote(user)) if is_encoded(said) else (tenant, user)


def _addressee(prefix: str, subject: str) -> tuple[str, str]:
    """Return the tokens of tenant and user of a subject; "" for one that it does not name."""
    if not subject.startswith(prefix + "."):
        return UNKNOWN, ""
    tokens = subject[len(prefix) + 1 :].split(".")
    if len(tokens) == 1:  # raw, or an array of a tenant: no user either way, and who knows what the token means
        return UNKNOWN, ""
    return _canonical(tokens[0]), _canonical(tokens[1])


def _canonical(said: str) -> str:
    """Return a token as `token` would write it; "" for one that stands for no name."""
    if said.startswith("~"):
        return said if _HASH.fullmatch(said) else ""
    return name_token(unquote(said))


def _texts(body: bytes) -> Iterator[str]:
    """Yield the texts that a body may be: UTF-8, or what else its first bytes or its faults speak for."""
    encoding = json.detect_encoding(body)
    text = body.decode(encoding, "replace")
    yield text.removeprefix("\ufeff")
    if "\ufffd" in text:
        yield body.decode("latin-1")


def _read(text: str, wrapped: int, fields: frozenset[str]) -> Said:
    try:
        # Numbers stay as they are written: an id that is one is an id.
        value: Any = json.loads(text, strict=False, object_pairs_hook=_Object, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return _search(text, fields)
    if isinstance(value, str) and wrapped and value != text:
        return _read(value, wrapped - 1, fields)
    return _walk(value, fields)


class _Object:
    """A JSON object with every pair that was written, double names included."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs

        self.is_foreign = any(key == SPECVERSION for key, _ in pairs)
        """Whether it is a CloudEvent."""

    def texts(self, name: str) -> list[str]:
        return [text for key, value in self.pairs if self._ours(key) == name for text in _strings(value)]

    def payloads(self) -> list[object]:
        return [part for key, part in self.pairs if self._is_payload(key)]

    def beside_payload(self) -> list[object]:
        return [part for key, part in self.pairs if not self._is_payload(key)]

    def _is_payload(self, key: str) -> bool:
        return key == PAYLOAD or (self.is_foreign and key == _THEIR_PAYLOAD)

    def _ours(self, key: str) -> str:
        return _THEIR_NAMES.get(key, key) if self.is_foreign else key


def _strings(value: object) -> Iterable[str]:
    """Return texts where one was expected, or a list or an object came in its place."""
    if isinstance(value, str):
        return [value] if value else []
    return [part for part in _parts(value) if isinstance(part, str) and part]


def _parts(value: object) -> list[object]:
    if isinstance(value, _Object):
        return [part for _, part in value.pairs]
    return cast("list[object]", value) if isinstance(value, list) else []


def _walk(value: object, fields: frozenset[str]) -> Said:
    """Return what JSON says: an event, events in an array, or either within something else.

    A payload belongs to the user of its event, and names others in some fields alone. These are users of the nearest
    tenant and of the outermost one: with all between, a deep body would name as many users as its square.
    """
    users: set[tuple[str, str]] = set()
    types: set[str] = set()
    stack: list[tuple[object, str, str | None]] = [(value, UNKNOWN, None)]
    while stack:
        one, tenant, outermost = stack.pop()
        parts = _parts(one)
        if isinstance(one, _Object):
            names, tenants = one.texts(USER), one.texts(TENANT)
            types.update(one.texts(TYPE))
            tenant = _one_of(tenants) if tenants else tenant
            outermost = tenant if outermost is None else outermost
            users.update((tenant, name) for name in names)
            others = list(_in_fields(one, fields))
            if names:
                parts = one.beside_payload()
                others += _anywhere(one.payloads(), fields)
            users.update((of, name) for of in {tenant, outermost} for name in others)
        stack.extend((part, tenant, outermost) for part in parts)
    return Said(frozenset(users), frozenset(types))


def _in_fields(value: _Object, fields: frozenset[str]) -> Iterator[str]:
    """Yield the texts in some fields of an object, not of those within it."""
    return (text for key, part in value.pairs if key in fields for text in _strings(part))


def _anywhere(values: Iterable[object], fields: frozenset[str]) -> Iterator[str]:
    """Yield the texts in some fields of JSON, however deep they lie."""
    stack = [*values] if fields else []
    while stack:
        one = stack.pop()
        if isinstance(one, _Object):
            yield from _in_fields(one, fields)
        stack.extend(part for part in _parts(one) if not isinstance(part, str))


def _one_of(tenants: Iterable[str]) -> str:
    """Return the tenant where there is one; which of several was meant is unknown."""
    once = set(tenants)
    return once.pop() if len(once) == 1 else UNKNOWN


def _search(text: str, fields: frozenset[str]) -> Said:
    """Return what the fields say in a text that is no JSON; whose tenant is which is known where there is one."""
    found: dict[str, set[str]] = {TENANT: set(), USER: set(), TYPE: set()}
    is_foreign = SPECVERSION in text
    for field in _pattern(fields).finditer(text):
        value = next((part for part in field.groups()[1:] if part), "")
        if value and field[1] in fields:
            found[USER].add(_unescaped(value))
        elif value and (is_foreign or field[1] in found):
            found[_THEIR_NAMES.get(field[1], field[1])].add(_unescaped(value))
    for several in _lists(fields).finditer(text) if fields else ():
        found[USER].update(_unescaped(one[1]) for one in _QUOTED.finditer(several[1]) if one[1])
    tenant = _one_of(found[TENANT]) if found[TENANT] else UNKNOWN
    return Said(frozenset((tenant, user) for user in found[USER]), frozenset(found[TYPE]))


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    try:
        value = json.loads(f'"{text}"', strict=False)
    except ValueError:
        return text
    return value if isinstance(value, str) else text
