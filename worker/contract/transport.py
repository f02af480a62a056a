"""What a message says of its events beside their bodies: place in the stream, time of publication, region. Pure.

It is the end of each row of the ledger, made once a message. A region comes from the event's own attribute, else from
the header of its message, else from the setting of the worker: the closest to the event that names one. What is named
and is no region is stored as none, and never costs the event.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from worker.contract.packing import FIELD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.contract.message import Message

REGION_HEADER: Final = "Ach-Region"
NO_REGION: Final = ""
UNFIT: Final = "*"
"""In a header, in the place of something that is no region."""
MAX_REGION_BYTES: Final = 64
NOWHERE: Final = f"0{FIELD}{FIELD}"
"""Of an event that did not come in a message."""

_HEADER: Final = f"\r\n{REGION_HEADER}:".encode()
_QUOTED_BYTES: Final = 6 * MAX_REGION_BYTES + 2
"""Of the longest JSON text that can be a region: each character may be escaped."""
_REGION: Final = re.compile(rf"[A-Za-z0-9._-]{{1,{MAX_REGION_BYTES}}}")
"""What the names of regions are made of, and what is safe as a label."""


class Transport(NamedTuple):
    """The ends of the rows of some messages, and the regions in them."""

    ends: list[str]
    regions: frozenset[str]


def transport_of(messages: Sequence[Message], region: str) -> Transport:
    """Return how the rows of each message end; `region` is that of messages that name none."""
    blocks = [message.block for message in messages]
    if _HEADER in b"".join(blocks):
        if not _say_the_same(blocks):
            return _each_by_itself(messages, region)
        named = region_named(blocks[0])
        region = region if named is None else named
    ends = [f"{message.seq}\x1f{message.sent}\x1f{region}" for message in messages]
    return Transport(ends, frozenset((region,)))


def _say_the_same(blocks: Sequence[bytes]) -> bool:
    """Tell whether each block has the header once, and with one value: most streams are of one region."""
    first = blocks[0]
    at = first.find(_HEADER)
    end = first.find(b"\r\n", at + len(_HEADER))
    if at < 0 or end < 0:
        return False
    line = first[at : end + 2]
    return sum([line in block for block in blocks]) == len(blocks) == b"".join(blocks).count(_HEADER)


def _each_by_itself(messages: Sequence[Message], region: str) -> Transport:
    named = [region_named(message.block) for message in messages]
    regions = [region if one is None else one for one in named]
    columns = zip(messages, regions, strict=True)
    return Transport([f"{message.seq}\x1f{message.sent}\x1f{one}" for message, one in columns], frozenset(regions))


def region_named(block: bytes) -> str | None:
    """Return the region that headers name, the last where there are several.

    None if they name none, NO_REGION if what they name is no region.
    """
    at = block.rfind(_HEADER)
    if at < 0:
        return None
    at += len(_HEADER)
    end = block.find(b"\r\n", at)
    value = block[at:] if end < 0 else block[at:end]
    return _decoded(value) if len(value) <= 2 * MAX_REGION_BYTES else NO_REGION


def with_attribute(end: str, region: msgspec.Raw) -> str:
    """Return the end of a row of an event whose own attribute `region` is this JSON; b"" for none."""
    named = _read(bytes(region)) if len(region) <= _QUOTED_BYTES else NO_REGION
    return end if named is None else end[: end.rindex(FIELD) + 1] + named


def is_region(text: str) -> bool:
    """Tell whether a text is a region."""
    return _REGION.fullmatch(text) is not None


def region_of(row: str) -> str:
    """Return the region of an event by its row."""
    return row[row.rindex(FIELD) + 1 :]


@lru_cache(maxsize=256)
def _decoded(value: bytes) -> str | None:
    return _checked(value.decode("latin-1").strip())


@lru_cache(maxsize=256)
def _read(attribute: bytes) -> str | None:
    if not attribute:
        return None
    try:
        value: object = msgspec.json.decode(attribute)
    except (msgspec.DecodeError, RecursionError):
        return NO_REGION
    if value is None:
        return None
    return _checked(value) if isinstance(value, str) else NO_REGION


def _checked(text: str) -> str | None:
    """Return a region; None for an empty text, NO_REGION for what is none."""
    if not text:
        return None
    return text if is_region(text) else NO_REGION
