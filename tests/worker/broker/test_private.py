"""What comes off the wire: whole or in pieces, of the tapped subscription or of others, in one order."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.errors import ProtocolError

from worker.broker import private as reading
from worker.broker.private import READ_BYTES, FastClient, FastParser
from worker.broker.protocol import read_frames

TAPPED = 7

words = st.text("abc.*~%-", min_size=1, max_size=12)
WITHIN = b"x\r\nMSG a %d r 1\r\ny" % TAPPED
"""A body that holds a line's end, a control line, and what that announces."""
bodies = st.binary(max_size=40) | st.sampled_from([WITHIN, b"\r\n", b"MSG a 7 1\r\nx\r\n", b"PING\r\n", b""])
blocks = st.sampled_from([b"", b"NATS/1.0\r\n\r\n", b"NATS/1.0 100 Idle Heartbeat\r\nA: 1\r\n\r\n"])


class Frame:
    """One message on the wire."""

    def __init__(self, got: tuple[int, str, str, bytes, bytes]) -> None:
        self.got = got

    @property
    def wire(self) -> bytes:
        sid, subject, reply, body, block = self.got
        named = f"{subject} {sid} {reply} " if reply else f"{subject} {sid} "
        sizes = f"{len(block)} {len(block) + len(body)}" if block else f"{len(body)}"
        return f"{'HMSG' if block else 'MSG'} {named}{sizes}\r\n".encode() + block + body + b"\r\n"

    def __repr__(self) -> str:
        return repr(self.wire)


frames = st.builds(
    Frame, st.tuples(st.sampled_from([TAPPED, TAPPED, 1, 77]), words, words | st.just(""), bodies, blocks)
)


class Client:
    """What nats-py's parser gives its client."""

    def __init__(self) -> None:
        self.got: list[object] = []

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        self.got.append((sid, subject.decode(), reply.decode(), data, headers or b""))

    async def _process_ping(self) -> None:
        self.got.append("ping")


@given(
    st.lists(frames | st.just("ping"), max_size=12),
    st.lists(st.integers(1, 60), min_size=1, max_size=8),
    st.sampled_from([READ_BYTES, 5]),
)
def test_everything_arrives_once_and_in_order(sent: list[Any], cuts: list[int], large: int) -> None:
    with patch.object(reading, "READ_BYTES", large):
        expect_arrival(sent, cuts)


def expect_arrival(sent: list[Any], cuts: list[int]) -> None:
    client = Client()
    parser = FastParser(client)
    parser.tapped = str(TAPPED)
    parser.deliver = lambda some: client.got.extend((TAPPED, *frame) for frame in some)
    wire = b"".join(b"PING\r\n" if one == "ping" else one.wire for one in sent)

    async def feed() -> None:
        at, turn = 0, 0
        while at < len(wire):
            size = cuts[turn % len(cuts)]
            await parser.parse(wire[at : at + size])
            at, turn = at + size, turn + 1

    asyncio.run(feed())
    assert client.got == [one if one == "ping" else one.got for one in sent]
    assert not parser.buf


def test_a_large_message_is_not_looked_at_with_each_piece_of_it() -> None:
    client = Client()
    parser = FastParser(client)
    parser.tapped = str(TAPPED)
    parser.deliver = lambda some: client.got.extend((TAPPED, *frame) for frame in some)
    sent = Frame((TAPPED, "s", "r", b"x" * 20 * READ_BYTES, b""))
    looks = 0

    def counting(*args: Any) -> Any:  # noqa: ANN401
        nonlocal looks
        looks += 1
        return read_frames(*args)

    async def feed() -> None:
        for at in range(0, len(sent.wire), READ_BYTES // 4):
            await parser.parse(sent.wire[at : at + READ_BYTES // 4])

    with patch.object(reading, "read_frames", counting):
        asyncio.run(feed())
    assert client.got == [sent.got]
    assert looks < 10


@pytest.mark.parametrize("wire", [b"MSG s 7 r x\r\nabc\r\n", b"MSG s 7 r 2\r\nabc\r\n", b"MSG s 7 r 1\r\nabc\r\n"])
def test_a_frame_that_lies_about_its_length_is_no_message(wire: bytes) -> None:
    """What was cut off in the middle would swallow what follows, and pass for a message that was sent."""
    with pytest.raises(ValueError, match=r"as long as it says|invalid literal"):
        read_frames(wire + b"MSG s 7 r 1\r\na\r\n", str(TAPPED))

    async def feed() -> None:
        parser = FastParser(Client())
        parser.tapped, parser.deliver = str(TAPPED), list.clear
        await parser.parse(wire + b"MSG s 7 r 1\r\na\r\n")

    with pytest.raises(ProtocolError):  # nats-py gives up such a connection
        asyncio.run(feed())


def test_a_message_within_a_body_is_none() -> None:
    wire = Frame((TAPPED, "s", "r", WITHIN, b"")).wire
    assert read_frames(wire, str(TAPPED)) == ([("s", "r", WITHIN, b"")], len(wire), len(wire))


def test_frames_of_others_are_found_as_one_piece() -> None:
    """They stand between many of one's own, short and long."""
    mine = [Frame((TAPPED, f"s{n}", "r", b"x" * (n % 7 * 500), b"")) for n in range(400)]
    theirs = [Frame((1, "a", "r", b"{}", b"")), Frame((77, "b", "r", WITHIN, b"NATS/1.0\r\n\r\n"))]
    first, others, second = (b"".join(frame.wire for frame in some) for some in (mine[:300], theirs, mine[300:]))
    wire = first + others + b"PING\r\n" + others + second

    all_of_mine = [frame.got[1:] for frame in mine]
    behind = len(wire) - len(second)
    assert read_frames(wire, str(TAPPED)) == (all_of_mine[:300], len(first), behind)
    assert read_frames(wire[:-1], str(TAPPED), behind) == (all_of_mine[300:-1], *[len(wire) - len(mine[-1].wire)] * 2)
    assert read_frames(wire[: behind - 1], str(TAPPED), len(first)) == ([], len(first), behind - len(theirs[1].wire))


def test_an_answer_that_comes_too_late_ends_nothing() -> None:
    """The asking task has given up; nats-py would end its reading for that."""

    async def late() -> int:
        client = FastClient()
        pongs: list[Any] = vars(client)["_pongs"]
        pongs.append(asyncio.get_running_loop().create_future())
        pongs[0].cancel()
        await client._process_pong()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        return len(pongs)

    assert asyncio.run(late()) == 0
