"""Frames of the broker's protocol that carry messages, as they come off the wire. Pure.

`HMSG <subject> <sid> [reply] <bytes of headers> <bytes of all>`, or `MSG <subject> <sid> [reply] <bytes>`, each
followed by what it announces and a line's end.
"""

from __future__ import annotations

from itertools import repeat
from typing import Final, NamedTuple

Frame = tuple[str, str, bytes, bytes]
"""Subject, reply subject, body, and block of headers as received."""

_END: Final = b"\r\n"
_REPLIED: Final = {"HMSG": 6, "MSG": 5}
"""Words of a control line that names a reply subject."""
_WORDS: Final = _REPLIED["MSG"]
_SHORT: Final = 2048
"""Bytes of the longest frame that is better taken with its neighbours: in what is longer it takes too long to look for
the ends of lines."""
_WINDOW: Final = 64 * 1024
"""Bytes of the wire that are taken apart at once."""
_FEW: Final = 8
"""Frames: where fewer could be taken at once, it is not tried again."""


class _Head(NamedTuple):
    """A control line, and where the body begins and the frame ends. What carries no message is that line alone."""

    words: list[str]
    block: int
    body: int
    end: int

    def is_for(self, sid: str) -> bool:
        """Tell whether it is a message of a subscription."""
        return self.words[0] in _REPLIED and self.words[2] == sid

    @property
    def is_plain(self) -> bool:
        """Tell whether its like are taken apart at once."""
        return self.words[0] == "MSG" and len(self.words) == _WORDS and self.end - self.body < _SHORT


def read_frames(wire: bytes, sid: str, start: int = 0) -> tuple[list[Frame], int, int]:
    """Return the whole frames of one subscription that stand at a place, and where they end.

    The third is where those of others end that follow; the same place where none does, or not yet as a whole.

    Raises:
        ValueError: a frame is not what its control line tells.
    """
    frames: list[Frame] = []
    at_once = True
    while (head := _head(wire, start)) is not None:
        if not head.is_for(sid):
            return frames, start, _end_of_others(wire, sid, head)
        if at_once and head.is_plain:
            some, start = _read_plain(wire, sid, start)
            at_once = len(some) >= _FEW
            frames += some
            if some:
                continue
        words = head.words
        reply = words[3] if len(words) == _REPLIED[words[0]] else ""
        frames.append((words[1], reply, wire[head.body : head.end - 2], wire[head.block : head.body]))
        start = head.end
    return frames, start, start


def size_of_first(wire: bytes, start: int) -> int:
    """Return how many bytes the frame at a place takes, of which more may be to come; 0 where nothing tells yet.

    Raises:
        ValueError: its control line tells no length.
    """
    end = wire.find(_END, start)
    words = wire[start : max(end, start)].split(b" ")
    return end + 2 - start + int(words[-1]) + 2 if words[0] in {b"MSG", b"HMSG"} else 0


def _head(wire: bytes, start: int) -> _Head | None:
    """Return the head of the frame at a place, None where that is not there as a whole."""
    end = wire.find(_END, start)
    if end < 0:
        return None
    words = wire[start:end].decode(errors="backslashreplace").split(" ")
    block = body = end = end + 2
    if words[0] == "MSG":
        end = body + int(words[-1]) + 2
    elif words[0] == "HMSG":
        body, end = block + int(words[-2]), block + int(words[-1]) + 2
    if len(wire) < end:
        return None
    if not wire.startswith(_END, end - 2):
        raise ValueError("a frame is not as long as it says")
    return _Head(words, block, body, end)


def _end_of_others(wire: bytes, sid: str, head: _Head) -> int:
    """Return where the frames of others end, of which one has this head."""
    end, other = head.end, _head(wire, head.end)
    while other is not None and not other.is_for(sid):
        end = other.end
        other = _head(wire, end)
    return end


def _read_plain(wire: bytes, sid: str, start: int) -> tuple[list[Frame], int]:
    """Return the plain frames at a place: one's own, without headers, and no line's end in a body; and where they end.

    They are taken apart at once, which costs half as much as frame by frame. As long as every second line is a control
    line of five words that tells the length of the next, no body passes for one: what stands in its place is that long
    and no longer.
    """
    window = wire[start : start + _WINDOW]
    lines = window.split(_END)
    number = (len(lines) - 1) // 2
    heads, bodies = lines[0 : 2 * number : 2], lines[1 : 2 * number : 2]
    words = _words_of(heads)
    if not _are_plain(words, bodies, sid):
        number = next(n for n, pair in enumerate(zip(heads, bodies, strict=True)) if not _is_plain(*pair, sid))
        bodies = bodies[:number]
        words = _words_of(heads[:number])
    frames = zip(words[1::_WORDS], words[3::_WORDS], bodies, repeat(b""), strict=False)
    return [*frames], start + len(window) - len(_END.join(lines[2 * number :]))


def _words_of(heads: list[bytes]) -> list[str]:
    """Return the words of control lines, one after the other."""
    return b" ".join(heads).decode(errors="backslashreplace").split(" ")


def _are_plain(words: list[str], bodies: list[bytes], sid: str) -> bool:
    number = len(bodies)
    return (
        len(words) == number * _WORDS
        and words[0::_WORDS].count("MSG") == number
        and words[2::_WORDS].count(sid) == number
        and words[4::_WORDS] == [*map(str, map(len, bodies))]
    )


def _is_plain(head: bytes, body: bytes, sid: str) -> bool:
    return _are_plain(_words_of([head]), [body], sid)
