"""Values in canonical form: as parts of keys, as subjects, as fingerprints."""

from __future__ import annotations

import re
from decimal import Context, Decimal
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dsl.types import Listed, Number, Value

_LONG: Final = 64
"""Characters above which a value is remembered by its hash (16 bytes, hexadecimal)."""
_HASH: Final = re.compile("\x01[0-9a-f]{32}")
"""What stands for a hash among keys, and for no text: a text that is spelt like one is remembered by its own hash."""
_HASH_LENGTH: Final = 33

EXACT: Final = Context(prec=200)
"""Wide enough for the exact sum of more 38-digit decimals than there will ever be events."""


def minus(one: Number, two: Number) -> Number:
    """Return the exact difference. The operators of `Decimal` round to 28 digits, its unary minus as well."""
    if type(one) is int and type(two) is int:
        return one - two
    result: Decimal = EXACT.subtract(one, two)
    return result


def middle(one: Number, two: Number) -> Decimal:
    """Return the number halfway between two."""
    return EXACT.divide(EXACT.add(one, two), 2)


def canonical_number(number: int | Decimal) -> str:
    """Return a number in plain decimal notation without needless zeros: `10`, `0.5`, `1000`."""
    if isinstance(number, int):
        return str(number)
    text = format(number, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in {"-0", ""} else text


def canonical_text(text: str) -> str:
    """Return a string as JSON."""
    return msgspec.json.encode(text).decode()


def value_text(value: Value | Listed) -> str:
    """Return a value as plain text: strings as they are, numbers in plain decimals, `true` or `false`; lists as JSON.

    The texts of the elements are joined as strings, so that no element can look like two.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return msgspec.json.encode([value_text(each) for each in value]).decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    return canonical_number(value)


def value_key(value: Value) -> str:
    """Return a short key that equal values of one field share, and others do not.

    States hold such keys: what a value has for its key it has for good.
    """
    text = value if isinstance(value, str) else value_text(value)
    if len(text) < _HASH_LENGTH:  # as most are
        return text
    if len(text) <= _LONG and (text[0] != "\x01" or _HASH.fullmatch(text) is None):
        return text
    return "\x01" + blake2b(text.encode(), digest_size=16).hexdigest()


def fingerprint(values: Iterable[Value | Listed | None]) -> str:
    """Return a short key of several values, absent ones being equal to each other and to nothing else."""
    parts = [None if value is None else value_text(value) for value in values]
    text = msgspec.json.encode(parts).decode()  # begins with a bracket, which no hash does
    return text if len(text) <= _LONG else blake2b(text.encode(), digest_size=16).hexdigest()
