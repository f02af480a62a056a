"""Frames of the broker's protocol that carry messages, as they come off the wire. Pure.

`HMSG <subject> <sid> [reply] <bytes of headers> <bytes of all>`, or `MSG <subject> <sid> [reply] <bytes>`, each
followed by what it announces and a line's end.
"""

from __future__ import annotations

from itertools import repeat
from typing import Final

Frame = tuple[str, str, bytes, bytes]
"""Subject, reply subject, body, and block of headers as received."""

_END: Final = b"\r\n"
_REPLIED: Final = {"HMSG": 6, "MSG": 5}
"""Words of a control line that names a reply subject."""
_WORDS: Final = _REPLIED["MSG"]
_LONG: Final = 2048
"""Bytes of a frame that is better read by itself."""


def read_frames(wire: bytes, sid: str) -> tuple[list[Frame], int, int]:
    """Return the whole frames of one subscription that begin the wire, and where they end.

    The third is the length of a frame of somebody else that follows them; 0 where none does, or not yet as a whole.
    """
    frames, start = _read_plain(wire, sid) if _is_short(wire) else ([], 0)
    while (end := wire.find(_END, start)) >= 0:
        words = wire[start:end].decode(errors="backslashreplace").split(" ")
        operation = words[0]
        head = end + 2
        if operation == "MSG":
            body, stop = head, head + int(words[-1])
        elif operation == "HMSG":
            body, stop = head + int(words[-2]), head + int(words[-1])
        else:
            return frames, start, head - start
        if len(wire) < stop + 2:
            break
        if words[2] != sid:
            return frames, start, stop + 2 - start
        reply = words[3] if len(words) == _REPLIED[operation] else ""
        frames.append((words[1], reply, wire[body:stop], wire[head:body]))
        start = stop + 2
    return frames, start, 0


def _is_short(wire: bytes) -> bool:
    """Tell whether the first frame is: looking for the line's ends within long ones takes longer than a frame does."""
    return len(wire) < _LONG or wire.find(_END, wire.find(_END) + 2, _LONG) >= 0


def _read_plain(wire: bytes, sid: str) -> tuple[list[Frame], int]:
    """Return what begins the wire if all of that is plain: one's own, without headers, and no line's end in a body.

    All of it is taken apart at once, which costs half as much as frame by frame. Then every second line is a control
    line of five words that tells the length of the next; where one is not, nothing is returned. No body passes for a
    control line, for what stands in its place is that long and no longer.
    """
    lines = wire.split(_END)
    number = (len(lines) - 1) // 2
    behind = 2 * number
    heads, bodies = b" ".join(lines[0:behind:2]), lines[1:behind:2]
    if not heads.isascii():
        return [], 0
    words = heads.decode().split(" ")
    if (
        len(words) != number * _WORDS
        or words[0::_WORDS].count("MSG") != number
        or words[2::_WORDS].count(sid) != number
        or words[4::_WORDS] != [*map(str, map(len, bodies))]
    ):
        return [], 0
    rest = _END.join(lines[behind:])
    frames = zip(words[1::_WORDS], words[3::_WORDS], bodies, repeat(b""), strict=False)
    return [*frames], len(wire) - len(rest)
