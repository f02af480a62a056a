from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from worker import announcing
from worker.announcing import Announcement, Announcer, Asked, Unanswered

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.anyio

ONE, TWO = Announcement("s.1", b"1", "one"), Announcement("s.2", b"2", "two")
REFUSED = b'{"error": {"code": 400, "err_code": 10071, "description": "wrong last sequence: 1"}}'


class Answering:
    """Answers each announcement as a broker would, with what the test says."""

    def __init__(self, *bodies: bytes | None) -> None:
        self.announcer = Announcer("inbox", {}, "Id", "Expected")
        self._bodies = list(bodies)
        self.asked: list[Asked] = []

    async def publish(self, asked: Sequence[Asked]) -> None:
        self.asked.extend(asked)
        for one in asked:
            body = self._bodies.pop(0)
            if body is not None:
                self.announcer.answer(one.reply, body)

    async def announce(self, *announcements: Announcement) -> dict[str, bool | None] | Unanswered:
        return await self.announcer.announce(announcements, self.publish)


async def test_news_and_copies() -> None:
    broker = Answering(b'{"stream": "S", "seq": 1}', b'{"stream": "S", "seq": 1, "duplicate": true}', REFUSED)
    assert await broker.announce(ONE, TWO, ONE._replace(id="three")) == {"one": True, "two": False, "three": None}
    assert broker.asked[1] == Asked("s.2", "inbox.2", {"Id": "two", "Expected": "0"}, b"2")


@pytest.mark.parametrize("body", [b"", b'{"error": {"code": 503, "err_code": 10023, "description": "no space"}}'])
async def test_trouble_ends_the_round(body: bytes) -> None:
    broker = Answering(b'{"stream": "S", "seq": 1}', body)
    assert isinstance(await broker.announce(ONE, TWO), Unanswered)


async def test_silence_ends_the_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcing, "ANSWER_SECONDS", 0.01)
    broker = Answering(None, b'{"stream": "S", "seq": 1}')
    assert await broker.announce(ONE, TWO) == Unanswered("1 announcements were not answered")
    # An answer that comes too late concerns nobody.
    broker.announcer.answer("inbox.1", b"{}")


async def test_a_lost_connection_ends_the_round() -> None:
    broker = Answering()

    async def lose(_: Sequence[Asked]) -> None:
        broker.announcer.lost()

    assert await broker.announcer.announce([ONE], lose) == Unanswered("the connection was lost")
