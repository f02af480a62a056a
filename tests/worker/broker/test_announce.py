from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from worker.broker import announce
from worker.broker.announce import SILENCE, Announcement, Announcer, Asked, Told, Unanswered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

pytestmark = pytest.mark.anyio

ONE, TWO = Announcement("s.1", b"1", "one"), Announcement("s.2", b"2", "two")
KNOWN = b'{"error": {"code": 400, "err_code": 10071, "description": "wrong last sequence: 1"}}'
KEPT = b'{"stream": "S", "seq": 1}'
TOO_LARGE = b'{"error": {"code": 400, "err_code": 10054, "description": "message size exceeds maximum allowed"}}'
FULL = b'{"error": {"code": 503, "err_code": 10077, "description": "maximum bytes exceeded"}}'
HOMELESS = b""


class Answering:
    """Answers each announcement as a broker would, with what the test says."""

    def __init__(self, *bodies: bytes | None, unsent: Mapping[str, str] | None = None) -> None:
        self.announcer = Announcer("inbox", {}, "Id", "Expected")
        self._bodies = list(bodies)
        self._unsent = dict(unsent or {})
        self.asked: list[Asked] = []

    async def publish(self, asked: Sequence[Asked]) -> Mapping[str, str]:
        self.asked.extend(asked)
        for one in asked:
            body = self._bodies.pop(0)
            if body is not None:
                self.announcer.answer(one.reply, body)
        return self._unsent

    async def announce(self, *announcements: Announcement) -> Told | Unanswered:
        return await self.announcer.announce(announcements, self.publish)


async def test_news_and_copies() -> None:
    broker = Answering(KEPT, b'{"stream": "S", "seq": 1, "duplicate": true}', KNOWN)
    told = await broker.announce(ONE, TWO, ONE._replace(id="three"))
    assert told == Told({"one": True, "two": False}, {}, {"three"})
    assert broker.asked[1] == Asked("s.2", "inbox.2", {"Id": "two", "Expected": "0"}, b"2")


async def test_what_is_refused_is_refused_alone() -> None:
    broker = Answering(KEPT, TOO_LARGE)
    assert await broker.announce(ONE, TWO) == Told({"one": True}, {"two": "10054 message size exceeds maximum allowed"})
    # Whatever became of others: it is the message that is at fault.
    assert await Answering(TOO_LARGE).announce(ONE) == Told({}, {"one": "10054 message size exceeds maximum allowed"})


async def test_what_is_not_even_sent_is_refused_alone() -> None:
    broker = Answering(KEPT, None, unsent={"inbox.2": "too large"})
    assert await broker.announce(ONE, TWO) == Told({"one": True}, {"two": "too large"})
    broker = Answering(None, unsent={"inbox.1": "too large"})
    assert await broker.announce(ONE) == Told({}, {"one": "too large"})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (FULL, "10077 maximum bytes exceeded"),
        (HOMELESS, "no stream keeps what is published there"),
        (None, SILENCE),
    ],
)
async def test_what_ails_the_server_concerns_one_alone_where_others_came_through(
    body: bytes | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announce, "ANSWER_SECONDS", 0.01)
    assert await Answering(KEPT, body).announce(ONE, TWO) == Told({"one": True}, {"two": said})
    assert await Answering(body, KNOWN).announce(ONE, TWO) == Told({}, {"one": said}, {"two"})
    assert isinstance(await Answering(body, body).announce(ONE, TWO), Unanswered)
    # A refusal for the message's own sake says nothing of how the server is.
    assert isinstance(await Answering(body, TOO_LARGE).announce(ONE, TWO), Unanswered)


async def test_silence_ends_the_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announce, "ANSWER_SECONDS", 0.01)
    broker = Answering(None, None)
    assert await broker.announce(ONE, TWO) == Unanswered("2 announcements were not answered")
    # An answer that comes too late concerns nobody.
    broker.announcer.answer("inbox.1", b"{}")


async def test_a_lost_connection_ends_the_round() -> None:
    broker = Answering()

    async def lose(_: Sequence[Asked]) -> Mapping[str, str]:
        broker.announcer.lost()
        return {}

    assert await broker.announcer.announce([ONE], lose) == Unanswered("the connection was lost")
