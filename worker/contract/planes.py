"""Columns of numbers as bytes, byte plane by byte plane, since the high ones are nearly always zero. Pure."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDE: Final = 8
"""Bytes of a number that is unpacked."""
_SEVEN_BITS: Final = 0x7F


def steps(column: Sequence[int]) -> list[int]:
    """Return the first number, and the difference of each other one to the one before."""
    return [column[0], *(after - before for before, after in pairwise(column))]


def plane(column: Sequence[int]) -> bytes:
    """Return numbers of any sign: the first by itself, as it is the only large one, the others plane by plane."""
    first, *rest = [one * 2 if one >= 0 else -one * 2 - 1 for one in column]
    width = (max(rest, default=0).bit_length() + 7) // 8
    raw = b"".join([one.to_bytes(width, "little") for one in rest])
    return number(first) + bytes((width,)) + b"".join([raw[at::width] for at in range(width)])


def read_plane(body: memoryview, place: int, count: int) -> tuple[list[int], int]:
    """Return so many numbers, and the place behind them."""
    first, place = read_number(body, place)
    width, rest = body[place], count - 1
    begin = place + 1
    if not width:
        made: Sequence[int] = [0] * rest
    else:
        raw = bytearray(WIDE * rest)
        for at in range(width):
            raw[at::WIDE] = body[begin + at * rest : begin + (at + 1) * rest]
        made = struct.unpack_from(f"<{rest}Q", raw)
    return [one >> 1 if not one & 1 else -(one + 1 >> 1) for one in (first, *made)], begin + width * rest


def number(value: int) -> bytes:
    """Return a number that is not negative, seven bits a byte."""
    found = bytearray()
    while value > _SEVEN_BITS:
        found.append(value & _SEVEN_BITS | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def read_number(body: memoryview, place: int) -> tuple[int, int]:
    """Return a number, and the place behind it."""
    value = shift = 0
    while body[place] & 0x80:
        value |= (body[place] & _SEVEN_BITS) << shift
        shift, place = shift + 7, place + 1
    return value | body[place] << shift, place + 1
