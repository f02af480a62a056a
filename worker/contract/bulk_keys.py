"""Whose many recorded events are, without reading the rest of them. Pure, and total: no bytes raise anything.

A user's events go to one place, where the bulk reader reads them whole. So nothing is refused here: what is no plain
event, or no plain array of them, has no key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, NamedTuple, cast

import msgspec

from worker.contract.fields import MAX_MESSAGE_BYTES, is_array, no_utf8

if TYPE_CHECKING:
    from collections.abc import Sequence

_Text = Annotated[str, msgspec.Meta(min_length=1)]


class Key(msgspec.Struct, frozen=True, gc=False):
    """Whose an event is; all else that it says is passed over."""

    user_id: _Text


class Keyed(NamedTuple):
    """Bodies of one event each, and whose they are."""

    bodies: Sequence[bytes]
    keys: Sequence[Key]


_decode_marked: Final = msgspec.json.Decoder(list[Key | int]).decode
_decode_array: Final = msgspec.json.Decoder(list[Key]).decode
_split: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


def keys_of(bodies: Sequence[bytes], mark: int) -> Sequence[Key] | None:
    """Return whose some messages of one event each are; None if one needs a closer look.

    `mark` is the secret number that stands between them, as in `PlainReader`.
    """
    if max(map(len, bodies), default=0) > MAX_MESSAGE_BYTES:
        return None
    joined = b"[" + (b",%d," % mark).join(bodies) + b"]"
    if no_utf8(joined) is not None:
        return None
    try:
        found = _decode_marked(joined)
    except (msgspec.DecodeError, RecursionError):
        return None
    if len(found) != 2 * len(bodies) - 1 or found[1::2] != [mark] * (len(bodies) - 1):
        return None
    keys = cast("list[Key]", found[::2])
    return None if int in map(type, keys) else keys


def elements_keyed(body: bytes) -> Keyed | None:
    """Return the elements of an array; None for any other body, and if an element needs a closer look."""
    if not is_array(body) or len(body) > MAX_MESSAGE_BYTES or no_utf8(body) is not None:
        return None
    try:
        return Keyed([*map(bytes, _split(body))], _decode_array(body))
    except (msgspec.DecodeError, RecursionError):
        return None
