"""The payload of an event, read by the contract of its type.

Numbers are exact: an `int` is a JSON number with a whole value (`5`, and `5.0` as well), a `decimal` a JSON number or a
string with one in it; both are read from their text, never through a float, and have at most MAX_DIGITS digits before
and after the point. One value has one form (`1.50` is `1.5`), so that it cannot distinguish two copies. A
`timestamp` is an RFC 3339 string, read as whole microseconds UTC. A `user` is a string of 1 to MAX_USER_BYTES bytes of
UTF-8. A list is a tuple of at most MAX_ELEMENTS values, of at most MAX_USERS where they are users. Null is absent.

`Reader.strict` is for what arrives and names the first field that breaks the contract. `Reader.lenient` is for what the
ledger holds: the contract may be a newer one, and what does not fit it counts as absent.

Measured and tried: docs/decisions/0008-hot-path/bulk-reader.md.
"""

from __future__ import annotations

import json
import re
from datetime import date, datetime, timedelta
from decimal import Context, Decimal
from itertools import repeat
from math import ceil
from operator import sub
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, NotRequired, TypedDict, cast

import msgspec

from dsl.calendar import EPOCH
from dsl.types import (
    DAY,
    MAX_DIGITS,
    MAX_ELEMENTS,
    MAX_USER_BYTES,
    MAX_USERS,
    SECOND,
    FieldType,
    Listed,
    Value,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dsl.schema import EventSchema, Field

MAX_NUMBER_TEXT: Final = 128
"""Characters of a number; what is longer has more digits than MAX_DIGITS, or is written to annoy."""
SHOWN: Final = 40
"""Characters of a wrong value that a message quotes."""

_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_INSTANT: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt]([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(?:\.(\d+))?"
    r"(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_EARLIEST: Final = (date.min.toordinal() - _EPOCH_DAY) * DAY
_LATEST: Final = (date.max.toordinal() - _EPOCH_DAY + 1) * DAY - 1
_USUAL: Final = len("2026-01-01T00:00:00.000000Z")
_MARKS: Final = "--T::."
"""What stands at every third place of one, from the fifth on."""
_MARKED: Final = (*zip(range(4, 20, 3), _MARKS, strict=False), (26, "Z"))
_TICK: Final = timedelta(microseconds=1)
_EXACT: Final = Context(prec=MAX_NUMBER_TEXT, Emax=10**6, Emin=-(10**6))
_WORD: Final = 2**63 - 1


class Fault(NamedTuple):
    """The first field that breaks the contract; field "" is the payload itself."""

    field: str
    expected: str
    got: str


class _Number(str):
    """The text of a JSON number, as written."""

    __slots__ = ()


def instant(text: str) -> tuple[int, int] | None:
    """Return (microseconds UTC since the epoch, offset as written in seconds) of an RFC 3339 instant, or None.

    Digits beyond the microsecond are cut off. A leap second is the first second of the next minute.
    """
    if not is_usual(text) or text[11:13] == "24":
        return _any_instant(text)
    # What most producers write the library reads without a second look.
    try:
        return (datetime.fromisoformat(text) - EPOCH) // _TICK, 0
    except ValueError:
        return None


class Instants(NamedTuple):
    """Instants side by side: microseconds UTC since the epoch, offsets in seconds, and whether each text `is_usual`."""

    at: list[int]
    offset: list[int]
    usual: list[bool]


def read_instants(texts: Sequence[str]) -> Instants | None:
    """Return what `instant` does of each; None where one of them is no instant.

    Where all are usual they are read side by side, without a call for each.
    """
    number = len(texts)
    if not _are_usual(texts):
        moments = [instant(text) for text in texts]
        known = [moment for moment in moments if moment is not None]
        if len(known) < number:
            return None
        return Instants([at for at, _ in known], [offset for _, offset in known], [*map(is_usual, texts)])
    try:
        spans = map(sub, map(datetime.fromisoformat, texts), repeat(EPOCH))
        at = [span // _TICK for span in spans]
    except ValueError:
        return None
    return Instants(at, [0] * number, [True] * number)


def _are_usual(texts: Sequence[str]) -> bool:
    """Return whether all instants are usual, and none at an hour of 24, by looking at all of them at once."""
    joined, number = "".join(texts), len(texts)
    return (
        [*map(len, texts)].count(_USUAL) == number
        and all(joined[place::_USUAL].count(mark) == number for place, mark in _MARKED)
        and "6" not in joined[17::_USUAL]
        and ("2", "4") not in zip(joined[11::_USUAL], joined[12::_USUAL], strict=True)
    )


def is_usual(text: str) -> bool:
    """Return whether an instant has the usual form: UTC, microseconds, no leap second."""
    return len(text) == _USUAL and text[4:20:3] == _MARKS and text[26] == "Z" and text[17] != "6"


def _any_instant(text: str) -> tuple[int, int] | None:
    match = _INSTANT.fullmatch(text)
    if match is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return _uncommon_instant(match)
    since, zone = moment - EPOCH, moment.utcoffset()
    at = since // _TICK
    offset = 0 if zone is None else zone.days * 86400 + zone.seconds
    return (at, offset) if _EARLIEST <= at <= _LATEST else None


def _uncommon_instant(match: re.Match[str]) -> tuple[int, int] | None:
    """Read what the library does not take for an instant: a leap second, or no such day."""
    year, month, day, hour, minute, second, fraction, sign, hours, minutes = match.groups()
    try:
        days = date(int(year), int(month), int(day)).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    at = days * DAY + (int(hour) * 3600 + int(minute) * 60 + int(second)) * SECOND
    if fraction is not None:
        at += int(fraction[:6].ljust(6, "0"))
    if at > _LATEST:  # a leap second that begins the year 10000, on its own clock
        return None
    offset = 0
    if sign is not None:
        offset = int(hours) * 3600 + int(minutes) * 60
        offset = -offset if sign == "-" else offset
    at -= offset * SECOND
    return (at, offset) if _EARLIEST <= at <= _LATEST else None


def exact(text: str) -> Decimal | None:
    """Return the number in its one form, or None where it is none, or has too many digits."""
    if len(text) > MAX_NUMBER_TEXT or _NUMBER.fullmatch(text) is None:
        return None
    number = Decimal(text)
    if not number:
        return Decimal(0)
    number = number.normalize(_EXACT)
    _, digits, exponent = number.as_tuple()
    if len(digits) > MAX_DIGITS or number.adjusted() >= MAX_DIGITS or int(exponent) < -MAX_DIGITS:
        return None
    return Decimal(int(number)) if int(exponent) > 0 else number


_TOGETHER: Final = 500
_TOGETHER_CHARACTERS: Final = 500_000
"""Payloads that are read as one array, and their characters: text with an emoji takes four bytes for each."""


class Reader:
    """Reads payloads of one event type; made once per contract."""

    def __init__(self, schema: EventSchema) -> None:
        self._fields = tuple(schema.fields.values())
        self._lifted = tuple(
            (field.name, _LIFT[field.type], field.low) for field in self._fields if field.type in _LIFT
        )
        self._maybe_null = any(field.optional for field in self._fields)
        wire = {field.name: _wire(field) for field in self._fields}
        shape: Any = TypedDict("shape", wire)  # pyright: ignore[reportArgumentType, reportUnknownVariableType]
        self._decoder: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(shape)
        self._quick: Callable[[bytes | str], dict[str, Value]] = self.quick
        plain = self.quick != self._fast
        self._array = msgspec.json.Decoder(list[shape]) if plain else None  # pyright: ignore[reportInvalidTypeForm]

    @property
    def quick(self) -> Callable[[bytes | str], dict[str, Value]]:
        """What returns the fields as `strict` does, or raises `msgspec.MsgspecError`: then `strict` is to be asked."""
        return self._fast if self._lifted or self._maybe_null or not self._fields else self._decoder.decode

    @property
    def whole(self) -> Callable[[msgspec.Raw], dict[str, Value]] | None:
        """What reads the fields of any JSON at once, or raises as `quick`; None where more is to be done."""
        return None if self.quick == self._fast else self._decoder.decode

    def strict(self, payload: bytes | str) -> dict[str, Value] | Fault:
        """Return the declared fields that are present, or the first fault. The payload is valid JSON."""
        try:
            return self._fast(payload)
        except msgspec.MsgspecError:
            return self._slow(payload)

    def lenient(self, payload: bytes | str) -> dict[str, Value]:
        """Return the declared fields that are present and fit."""
        try:
            return self._quick(payload)
        except msgspec.MsgspecError:
            return self._fitting(payload)

    def lenient_of(self, payloads: Sequence[str]) -> list[dict[str, Value]]:
        """Do what `lenient` does for many payloads, each of them a JSON value, as the ledger has them.

        They are read as arrays, where nothing is unusual: of so many characters at most that memory stays small.
        """
        if self._array is None:
            return [*map(self.lenient, payloads)]
        found: list[dict[str, Value]] = []
        for at in range(0, len(payloads), _TOGETHER):
            found += self._read_together(self._array, payloads[at : at + _TOGETHER])
        return found

    def _read_together(
        self, array: msgspec.json.Decoder[list[dict[str, Any]]], payloads: Sequence[str]
    ) -> list[dict[str, Value]]:
        if sum(map(len, payloads)) <= _TOGETHER_CHARACTERS:
            try:
                found = array.decode(f"[{','.join(payloads)}]")
            except msgspec.MsgspecError:
                found = []
            if len(found) == len(payloads):
                return found
        return [*map(self.lenient, payloads)]

    def _fitting(self, payload: bytes | str) -> dict[str, Value]:
        given = _object(_parse(payload))
        if given is None:
            return {}
        read: dict[str, Any] = {field.name: _given(field, given.get(field.name)) for field in self._fields}
        return {name: value for name, value in read.items() if value is not None and not isinstance(value, Fault)}

    def _fast(self, payload: bytes | str) -> dict[str, Value]:
        """Return the fields where nothing is unusual.

        Raises:
            msgspec.MsgspecError: a closer look is needed.
        """
        if not self._fields:
            return {}
        fields = self._decoder.decode(payload)
        if self._maybe_null and None in fields.values():
            fields = {name: value for name, value in fields.items() if value is not None}
        for name, lift, low in self._lifted:
            if name in fields:
                fields[name] = value = lift(fields[name])
                if value is None or (low is not None and value < low):
                    raise msgspec.ValidationError(name)
        return fields

    def _slow(self, payload: bytes | str) -> dict[str, Value] | Fault:
        parsed = _parse(payload)
        given = _object(parsed)
        if given is None:
            return Fault("", "an object", _shown(parsed))
        fields: dict[str, Any] = {}
        for field in self._fields:
            value = _given(field, given.get(field.name))
            if isinstance(value, Fault):
                return value
            if value is not None:
                fields[field.name] = value
            elif not field.optional:
                got = "null" if field.name in given else "nothing"
                return Fault(field.name, _described(field), got)
        return fields


# -- the quick way: what msgspec reads, and what is left to do with it -------------------------------------------------


def _wire(field: Field) -> Any:  # noqa: ANN401 - a type made by hand
    """Return the type that msgspec reads a field as: what it refuses is looked at more closely."""
    kind: Any = _WIRE[field.type]
    if field.type is FieldType.INT:
        low = -_WORD if field.low is None else min(max(ceil(field.low), -_WORD), _WORD)
        # Numbers that no machine word holds are rare; a bound beyond it leaves nothing to the quick way.
        kind = Annotated[int, msgspec.Meta(ge=low, lt=_WORD)]
    return NotRequired[kind | None] if field.optional else kind


def _from_number(value: msgspec.Raw) -> Decimal | None:
    return exact(str(value, "utf-8").strip('"'))


def _from_instant(value: str) -> int | None:
    moment = instant(value)
    return None if moment is None else moment[0]


def _from_numbers(values: tuple[msgspec.Raw, ...]) -> tuple[Decimal, ...] | None:
    numbers = [number for number in map(_from_number, values) if number is not None]
    return tuple(numbers) if len(numbers) == len(values) else None


def _from_user(value: str) -> str | None:
    return value if len(value.encode()) <= MAX_USER_BYTES else None


_WORD_WIDE: Final = Annotated[int, msgspec.Meta(ge=-_WORD, lt=_WORD)]
# As many characters fit into the bytes whatever they are; longer names are rare, and looked at more closely.
_NAMED: Final = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_USER_BYTES // 4)]
_MOST: Final = msgspec.Meta(max_length=MAX_ELEMENTS)
_WIRE: Final[dict[FieldType, Any]] = {
    FieldType.STRING: str,
    FieldType.INT: int,
    FieldType.DECIMAL: msgspec.Raw,
    FieldType.BOOL: bool,
    FieldType.TIMESTAMP: str,
    FieldType.USER: _NAMED,
    FieldType.STRINGS: Annotated[tuple[str, ...], _MOST],
    FieldType.INTS: Annotated[tuple[_WORD_WIDE, ...], _MOST],
    FieldType.DECIMALS: Annotated[tuple[msgspec.Raw, ...], _MOST],
    FieldType.USERS: Annotated[tuple[_NAMED, ...], msgspec.Meta(max_length=MAX_USERS)],
}
_LIFT: Final[dict[FieldType, Callable[[Any], Any]]] = {
    FieldType.DECIMAL: _from_number,
    FieldType.TIMESTAMP: _from_instant,
    FieldType.DECIMALS: _from_numbers,
}


# -- the slow way: every value with its text ---------------------------------------------------------------------------


def _parse(payload: bytes | str) -> object:
    try:
        return json.loads(payload, parse_int=_Number, parse_float=_Number, parse_constant=_Number)
    except (ValueError, RecursionError):  # nothing that this engine put into the ledger, but nothing to stumble over
        return None


def _object(parsed: object) -> dict[str, object] | None:
    return cast("dict[str, object]", parsed) if isinstance(parsed, dict) else None


def _given(field: Field, given: object) -> Value | Listed | Fault | None:
    """Return the value of one field, None where it is absent, or its fault."""
    if given is None:
        return None
    element = field.type.element
    value = _typed(field.type, given) if element is None else _listed(element, given)
    if value is None or (field.low is not None and _below(value, field)):
        digits = f" of at most {MAX_DIGITS} digits" if value is None and _is_long(field.type, given) else ""
        return Fault(field.name, f"{_described(field)}{digits}", _shown(given))
    return value


def _is_long(kind: FieldType, given: object) -> bool:
    """Return whether a value is the text of a number that has too many digits."""
    text = given if isinstance(given, _Number) or (kind is FieldType.DECIMAL and isinstance(given, str)) else None
    if text is None or kind not in (FieldType.INT, FieldType.DECIMAL):
        return False
    return _NUMBER.fullmatch(text[: 4 * MAX_NUMBER_TEXT]) is not None and exact(text) is None


def _below(value: Value | Listed, field: Field) -> bool:
    return field.low is not None and not isinstance(value, str | tuple) and value < field.low


def _most(element: FieldType) -> int:
    return MAX_USERS if element is FieldType.USER else MAX_ELEMENTS


def _listed(element: FieldType, given: object) -> Listed | None:
    """Return a list of values of one type, or None where it is none, or has too many elements."""
    if not isinstance(given, list):
        return None
    found = cast("list[object]", given)
    if len(found) > _most(element):
        return None
    values = [value for value in (_typed(element, each) for each in found) if value is not None]
    return tuple(values) if len(values) == len(found) else None


def _typed(kind: FieldType, given: object) -> Value | None:
    match kind:
        case FieldType.BOOL:
            return given if isinstance(given, bool) else None
        case FieldType.DECIMAL:
            return exact(given) if isinstance(given, str) else None
        case FieldType.INT:
            number = exact(given) if isinstance(given, _Number) else None
            return int(number) if number is not None and number == number.to_integral_value() else None
        case FieldType.STRING:
            return given if isinstance(given, str) and not isinstance(given, _Number) else None
        case FieldType.TIMESTAMP:
            return _from_instant(given) if isinstance(given, str) and not isinstance(given, _Number) else None
        case FieldType.USER:
            return _from_user(given) if isinstance(given, str) and given and not isinstance(given, _Number) else None
        case _:  # a list within a list
            return None


def _described(field: Field) -> str:
    if field.low is not None:
        return f"{field.type} >= {field.low}"
    element = field.type.element
    size = f" of 1 to {MAX_USER_BYTES} bytes" if field.type.names_users else ""
    return f"{field.type}{size}" if element is None else f"{field.type} of at most {_most(element):,} elements{size}"


def _shown(given: object) -> str:
    if isinstance(given, dict):
        return "an object"
    if isinstance(given, list):
        return f"an array of {len(cast('list[object]', given)):,}"
    text = str(given) if isinstance(given, _Number) else json.dumps(given, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
