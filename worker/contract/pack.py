"""Many events of one user as a few bytes: how the archive keeps them. Pure.

A pack has its events in canonical order, column by column: instants and numbers as differences, byte plane by byte
plane, since the high ones are nearly always zero; texts joined by a character that PostgreSQL stores in no text. Where
payloads hardly differ but in numbers, they are templates and columns of numbers. All of these are deflated, each by
itself, as they have nothing in common. An id that is a UUID is its 16 bytes, or 9.5 where the first six are the
millisecond of `occurred_at` (version 7); these are random, and stay as they are.

The first byte is the version of the form: a reader that does not know it refuses the pack, and loses nothing. The last
four are a CRC: what is not as it was written is refused, too.
"""

from __future__ import annotations

import zlib
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

from worker.contract.planes import number, plane, read_number, read_plane, steps
from worker.contract.templates import Apart, apart, together

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

VERSION: Final = 2
_WITHOUT_TEMPLATES: Final = 1
"""An earlier form, which is read: all payloads are texts."""
MOST: Final = 512
"""Events of a pack: what a reader who wants one of them has to unpack."""

_END: Final = "\0"
_UUID, _TIMED = 32, 19
"""Digits that are kept of an id that is a UUID, and of one that begins with the millisecond of its event."""
_SEVENTH: Final = 7
"""The version of the latter."""
_LAGS, _STEPS = range(2)
"""What the instants are whose first byte says it."""
_TYPES, _WRITTEN, _SOURCES, _REGIONS, _PAYLOADS = range(5)
"""Columns of texts; of payloads there are fewer, where they are templates."""
_SUM: Final = 4
"""Bytes of the CRC."""
_MILLISECOND: Final = 1000
_MOST_TIMED: Final = 2**48 * _MILLISECOND


EventRow = tuple[str, str, str, str, int, int, str | None]
"""Tenant, id, type, user, instant in microseconds, offset in seconds, payload."""


class PackedEvent(NamedTuple):
    """An event as the ledger has it, without tenant and user; instants in microseconds, the offset in seconds."""

    event_id: str
    event_type: str
    occurred_at: int
    utc_offset: int
    occurred_at_text: str | None
    source: str | None
    payload: str | None
    received_at: int
    stream_seq: int
    published_at: int | None
    region: str | None

    def row(self, tenant: str, user: str) -> EventRow:
        """Return what a fold needs of it."""
        return tenant, self.event_id, self.event_type, user, self.occurred_at, self.utc_offset, self.payload


class UnreadablePackError(Exception):
    """The bytes are no pack, or one that a later release has written."""


def pack_of(events: Sequence[PackedEvent]) -> bytes:
    """Return events of one user, in canonical order, as a pack."""
    ids, types, at, offsets, written, sources, payloads, received, seqs, published, regions = zip(*events, strict=True)
    kind, names = _packed_ids(ids, at)
    numbers = b"".join(
        (
            plane(steps(at)),
            plane(steps(offsets)),
            _received(at, received),
            plane(steps(seqs)),
            plane([_transit(one, back) for one, back in zip(published, received, strict=True)]),
        )
    )
    columns: list[Iterable[str]] = [types, *map(_marked, (written, sources, regions))]
    forms, rest = _payloads(_marked(payloads))
    texts = _END.join([text for column in (*columns, rest, *([] if kind else [ids])) for text in column])
    parts = names, _deflated(numbers), _deflated(texts.encode()), forms.numbers and _deflated(forms.numbers)
    sizes = (len(events), len(forms.templates), *map(len, parts))
    body = b"".join((bytes((VERSION, kind)), *map(number, sizes), *parts))
    return body + zlib.crc32(body).to_bytes(_SUM, "big")


def _payloads(texts: list[str]) -> tuple[Apart, list[str]]:
    """Return payloads taken apart where that is smaller, and what is written as texts: templates, or all payloads."""
    found = apart(texts)
    if found is None:
        return _WHOLE, texts
    whole = len(_deflated(_END.join(texts).encode()))
    small = len(_deflated(_END.join(found.templates).encode())) + len(_deflated(found.numbers))
    return (found, found.templates) if small < whole else (_WHOLE, texts)


_WHOLE: Final = Apart([], b"")


def unpack(body: bytes) -> list[PackedEvent]:
    """Return the events of a pack, in canonical order.

    Raises:
        UnreadablePackError: it is not as it was written, or of a later release.
    """
    found = _Found(memoryview(body))
    at, offsets = found.stepped(), found.stepped()
    received = found.received(at)
    seqs = found.stepped()
    published = [
        None if one == 0 else back + one - (one > 0) for one, back in zip(found.numbers(), received, strict=True)
    ]
    types = found.texts(_TYPES)
    written, sources, regions = (_unmarked(found.texts(column)) for column in (_WRITTEN, _SOURCES, _REGIONS))
    payloads = _unmarked(found.payloads())
    ids = found.ids(at)
    rows = zip(
        ids, types, at, offsets, written, sources, payloads, received, seqs, published, regions, strict=True
    )  # fmt: skip
    return list(map(PackedEvent._make, rows))


def unpack_events(body: bytes, tenant: str, user: str) -> list[EventRow]:
    """Return what a fold needs of the events of a pack, in canonical order.

    Raises:
        UnreadablePackError: it is not as it was written, or of a later release.
    """
    found = _Found(memoryview(body))
    at, offsets, types, payloads = found.stepped(), found.stepped(), found.texts(_TYPES), found.payloads()
    ids = found.ids(at)
    return [
        (tenant, event_id, event_type, user, when, offset, payload[1:] or None)
        for event_id, event_type, when, offset, payload in zip(ids, types, at, offsets, payloads, strict=True)
    ]


class _Found:
    """A pack whose columns are read one after the other."""

    def __init__(self, body: memoryview) -> None:
        if len(body) and body[0] not in {VERSION, _WITHOUT_TEMPLATES}:
            raise UnreadablePackError(f"the archive has a pack of form {body[0]}; this release reads form {VERSION}")
        body, said = body[:-_SUM], body[-_SUM:]
        if zlib.crc32(body).to_bytes(_SUM, "big") != bytes(said):
            raise UnreadablePackError("the archive has a pack that is not as it was written")
        self._kind, place, sizes = body[1], 2, list[int]()
        self._first = body[0] == _WITHOUT_TEMPLATES
        for _ in range(4 if self._first else 6):
            size, place = read_number(body, place)
            sizes.append(size)
        self._count, *lengths = sizes
        self._templates = 0 if self._first else lengths.pop(0)
        ends = list(accumulate(lengths, initial=place))
        self._names, numbers, texts, *self._forms = (body[begin:end] for begin, end in pairwise(ends))
        self._numbers = memoryview(zlib.decompress(numbers, -zlib.MAX_WBITS))
        self._place = 0
        self._said = zlib.decompress(texts, -zlib.MAX_WBITS).decode().split(_END)

    def texts(self, column: int) -> list[str]:
        """Return a column of texts."""
        if self._first:  # payloads stood before regions
            column = {_REGIONS: _PAYLOADS, _PAYLOADS: _REGIONS}.get(column, column)
        return self._said[column * self._count : (column + 1) * self._count]

    def payloads(self) -> list[str]:
        """Return the payloads, marked."""
        if not self._templates:
            return self.texts(_PAYLOADS)
        begin = _PAYLOADS * self._count
        numbers = memoryview(zlib.decompress(self._forms[0], -zlib.MAX_WBITS))
        return together(self._said[begin : begin + self._templates], numbers, self._count)

    def ids(self, at: Sequence[int]) -> list[str]:
        """Return the ids, given the instants."""
        return _ids(self._names, self._kind, at) if self._kind else self._said[-self._count :]

    def stepped(self) -> list[int]:
        """Return the next column of numbers, which are differences."""
        return list(accumulate(self.numbers()))

    def received(self, at: Sequence[int]) -> list[int]:
        """Return the next column of numbers, which are instants."""
        self._place += 1
        if self._numbers[self._place - 1] == _STEPS:
            return self.stepped()
        return list(map(int.__add__, at, self.numbers()))

    def numbers(self) -> list[int]:
        """Return the next column of numbers."""
        found, self._place = read_plane(self._numbers, self._place, self._count)
        return found


# -- ids ---------------------------------------------------------------------------------------------------------------


def _packed_ids(ids: Sequence[str], at: Sequence[int]) -> tuple[int, bytes]:
    """Return how many digits are kept of each id, and these; 0 and none where one is not a UUID in its usual form."""
    try:
        numbers = [UUID(one) for one in ids]
    except ValueError:
        return 0, b""
    if any(str(number) != one for number, one in zip(numbers, ids, strict=True)):
        return 0, b""
    whole = [number.bytes for number in numbers]
    if all(one[:6] == _millisecond(when) and one[6] >> 4 == _SEVENTH for one, when in zip(whole, at, strict=True)):
        digits = "".join([one[6:].hex()[1:] for one in whole])
        return _TIMED, bytes.fromhex(digits + "0" * (len(digits) % 2))
    return _UUID, b"".join(whole)


def _millisecond(at: int) -> bytes:
    return (at // _MILLISECOND).to_bytes(6, "big") if 0 <= at < _MOST_TIMED else b""


def _ids(names: memoryview, kind: int, at: Sequence[int]) -> list[str]:
    text = names.hex()
    parts = [text[begin : begin + kind] for begin in range(0, kind * len(at), kind)]
    if kind == _TIMED:
        parts = [f"{when // _MILLISECOND:012x}{_SEVENTH}{part}" for when, part in zip(at, parts, strict=True)]
    return [f"{one[:8]}-{one[8:12]}-{one[12:16]}-{one[16:20]}-{one[20:]}" for one in parts]


# -- numbers -----------------------------------------------------------------------------------------------------------


def _received(at: Sequence[int], received: Sequence[int]) -> bytes:
    """Return instants as differences to other ones, or, as after a backlog, to the one before."""
    lags = plane([after - before for before, after in zip(at, received, strict=True)])
    stepped = plane(steps(received))
    return bytes((_LAGS,)) + lags if len(lags) <= len(stepped) else bytes((_STEPS,)) + stepped


def _transit(published: int | None, received: int) -> int:
    """Return the time between, which is never zero: that stands for null."""
    return 0 if published is None else published - received + (published >= received)


# -- texts -------------------------------------------------------------------------------------------------------------


def _marked(column: Iterable[str | None]) -> list[str]:
    """Return texts that may be null: what is not begins with a mark."""
    return ["" if text is None else "=" + text for text in column]


def _unmarked(column: Iterable[str]) -> list[str | None]:
    return [text[1:] if text else None for text in column]


def _deflated(raw: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9)
    return deflate.compress(raw) + deflate.flush()
