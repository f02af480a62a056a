"""Messages on their way, and which answer is for which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from nats.errors import ConnectionReconnectingError

from worker.broker import announce
from worker.broker.announce import Announced, Announcement, Announcer
from worker.broker.errors import BrokerAwayError
from worker.broker.protocol import Sent
from worker.broker.window import Answer, Fate, Outgoing, Window

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from worker.broker.client import Msg

pytestmark = pytest.mark.anyio

NEW = b'{"stream": "S", "seq": 1}'
COPY = b'{"stream": "S", "seq": 1, "duplicate": true}'
ONE, TWO = Outgoing("s.1", b"1", "one"), Outgoing("s.2", b"2")


class Link:
    """Answers each message with what the test says; None for no answer, a str for what is not even sent."""

    def __init__(self, *answers: bytes | str | None) -> None:
        self.window = Window(self)
        self.sent: list[Sent] = []
        self._answers = list(answers)

    def new_inbox(self) -> str:
        return "inbox"

    async def subscribe(self, subject: str, *, cb: Callable[[Msg], Awaitable[None]]) -> object:
        assert subject == "inbox.*"
        return cb

    async def publish_all(self, messages: Sequence[Sent]) -> dict[str, str]:
        self.sent.extend(messages)
        unsent: dict[str, str] = {}
        for message in messages:
            match self._answers.pop(0):
                case bytes(answer):
                    self.window.take(message.reply, answer)
                case str(said):
                    unsent[message.reply] = said
                case None:
                    pass
        return unsent


async def test_each_answer_finds_its_message() -> None:
    link = Link(NEW, COPY, "too large")
    this = await link.window.answers([ONE, TWO, TWO], 1)
    assert this.answers == [Answer(Fate.NEW), Answer(Fate.COPY), Answer(Fate.REFUSED, 0, "too large")]
    assert link.sent[:2] == [Sent("s.1", "inbox.0", {"Nats-Msg-Id": "one"}, b"1"), Sent("s.2", "inbox.1", {}, b"2")]


async def test_two_rounds_at_a_time() -> None:
    link = Link(None, None)
    one, other = await link.window.send([ONE]), await link.window.send([TWO])
    link.window.take("inbox.1", NEW)
    assert (one.answers, other.answers) == ([None], [Answer(Fate.NEW)])
    link.window.forget(one)
    link.window.take("inbox.0", NEW)  # too late
    link.window.take("inbox.1", NEW)  # twice
    assert (one.answers, one.missing, other.missing) == ([None], 1, 0)


async def test_silence_ends_the_waiting() -> None:
    this = await Link(None, NEW).window.answers([ONE, TWO], 0.01)
    assert (this.answers, this.is_lost) == ([None, Answer(Fate.NEW)], False)


async def test_a_lost_connection_ends_the_waiting() -> None:
    link = Link(None)
    this = await link.window.send([ONE])
    link.window.lose()
    await this.wait(60)
    assert this.is_lost


async def test_what_cannot_be_sent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    link = Link(NEW)

    async def away(_: object) -> Any:  # noqa: ANN401
        raise ConnectionReconnectingError

    with monkeypatch.context() as patched:
        patched.setattr(link, "publish_all", away)
        with pytest.raises(ConnectionReconnectingError):
            await link.window.send([ONE])
    assert (await link.window.answers([ONE], 1)).answers == [Answer(Fate.NEW)]
    assert link.sent[0].reply == "inbox.1"


async def test_an_announcement_asks_for_an_empty_subject(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announce, "ANSWER_SECONDS", 0.01)
    link = Link(NEW, NEW, None)
    announcer = Announcer(link.window, "UNLOCKS")
    asked: Any = None  # nothing is asked of the API
    one, two = Announcement("u.1", b"1", "one"), Announcement("u.2", b"2", "two", 7)
    assert await announcer.announce(asked, [one, two]) == Announced({"one": True, "two": True}, {})
    headers = {"Nats-Expected-Stream": "UNLOCKS", "Nats-Msg-Id": "one", "Nats-Expected-Last-Subject-Sequence": "0"}
    assert link.sent[0] == Sent("u.1", "inbox.0", headers, b"1")
    assert link.sent[1].headers["Nats-Expected-Last-Subject-Sequence"] == "7"
    assert await announcer.announce(asked, []) == Announced({}, {})
    with pytest.raises(BrokerAwayError, match="1 announcements were not answered"):
        await announcer.announce(asked, [one])
