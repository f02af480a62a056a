"""The broker's protocol, as far as it carries messages: bytes in, frames out, and the other way. Pure.

Received are `MSG <subject> <sid> [reply] <bytes>` and `HMSG <subject> <sid> [reply] <bytes of headers> <bytes of all>`;
sent are `PUB <subject> [reply] <bytes>` and `HPUB <subject> [reply] <bytes of headers> <bytes of all>`. The headers and
the body follow each control line, and a line end follows them.

Measured and tried: docs/decisions/0008-hot-path/frame-parser.md.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Frame = tuple[str, str, bytes, bytes]
"""Subject, reply subject, body, and block of headers as received."""

_END: Final = b"\r\n"
_REPLIED: Final = {"HMSG": 6, "MSG": 5}
"""Words of a control line with a reply subject."""
_WORDS: Final = _REPLIED["MSG"]
_SHORT: Final = 2048
"""Bytes of the longest frame that is read together with its neighbours: searching a longer one for line ends costs
more than it saves."""
_WINDOW: Final = 64 * 1024
"""Bytes of the wire that are split at once."""
_FEW: Final = 8
"""Frames. Where fewer could be read together, the next ones are read one by one."""


class Sent(NamedTuple):
    """A message to publish, with its block of headers, b"" for none. We make its subjects: they hold no line end."""

    subject: str
    reply: str
    block: bytes
    body: bytes


class _Head(NamedTuple):
    """A control line, and the places in the wire where headers and body begin and the frame ends.

    A frame that carries no message is its control line alone.
    """

    words: list[str]
    block: int
    body: int
    end: int

    def is_for(self, sid: str) -> bool:
        """Tell whether the frame is a message of a subscription."""
        return self.words[0] in _REPLIED and self.words[2] == sid

    @property
    def is_plain(self) -> bool:
        """Tell whether it can be read together with its neighbours."""
        return self.words[0] == "MSG" and len(self.words) == _WORDS and self.end - self.body < _SHORT


def read_frames(wire: bytes, sid: str, start: int = 0) -> tuple[list[Frame], int, int]:
    """Return the complete frames of one subscription from a place on, and two places: theirs, and the others' end.

    The first place is where the returned frames end. From there to the second one are complete frames of other
    subscriptions and of no subscription; both are the same where there are none.

    Raises:
        ValueError: a frame is not as long as its control line says.
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
    """Return the bytes of the frame that begins at a place, whether it is complete or not; 0 where that is unknown yet.

    Raises:
        ValueError: its control line has no length.
    """
    end = wire.find(_END, start)
    words = wire[start : max(end, start)].split(b" ")
    return end + 2 - start + int(words[-1]) + 2 if words[0] in {b"MSG", b"HMSG"} else 0


def _head(wire: bytes, start: int) -> _Head | None:
    """Return the head of the frame at a place, None where the frame is not complete."""
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
    """Return where the frames of others end; `head` is that of the first one."""
    end, other = head.end, _head(wire, head.end)
    while other is not None and not other.is_for(sid):
        end = other.end
        other = _head(wire, end)
    return end


def _read_plain(wire: bytes, sid: str, start: int) -> tuple[list[Frame], int]:
    """Return the plain frames at a place, and where they end. A plain frame is of this subscription, without headers.

    They are split together, at half the cost of one by one. No body can pass for a control line, as long as every
    second line is a control line of five words that has the exact length of the next line.
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


# -- what is sent ------------------------------------------------------------------------------------------------------


def header_block(headers: Mapping[str, str]) -> bytes:
    """Return a block of headers, b"" for none."""
    if not headers:
        return b""
    lines = "".join([name + ": " + value + "\r\n" for name, value in headers.items()])
    return f"NATS/1.0\r\n{lines}\r\n".encode()


def frames_of_one_body(subjects: Sequence[str], body: bytes) -> bytes:
    """Return the frames that publish one short body of ASCII on each of many subjects; at least one."""
    tail = f" {len(body)}\r\n{body.decode()}\r\n"
    lines = f"{tail}PUB ".join(subjects)
    return f"PUB {lines}{tail}".encode()


def frames_of(messages: Sequence[Sent], most: int) -> tuple[bytes, dict[str, str]]:
    """Return the frames that publish messages, and by reply subject why some are left out.

    A message is left out if its headers and body have more than `most` bytes: the broker would close the connection.
    """
    frames: list[bytes] = []
    unsent: dict[str, str] = {}
    for subject, reply, block, body in messages:
        size = len(block) + len(body)
        if size > most:
            unsent[reply] = too_large(size, most)
        elif block:
            frames += (f"HPUB {subject} {reply} {len(block)} {size}\r\n".encode(), block, body, _END)
        else:
            frames += (f"PUB {subject} {reply} {size}\r\n".encode(), body, _END)
    return b"".join(frames), unsent


def too_large(size: int, most: int) -> str:
    """Return in words that a message of so many bytes cannot be sent."""
    return f"{size} bytes are more than the broker takes ({most}, its max_payload)"
