"""Messages on their way, and which answer is for which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from nats.errors import ConnectionReconnectingError

from worker.broker import announce
from worker.broker.announce import Announced, Announcement, Announcer
from worker.broker.client import Msg
from worker.broker.errors import BrokerAwayError
from worker.broker.protocol import Sent
from worker.broker.window import Answer, Fate, Outgoing, Window
from worker.contract.message import parse_headers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence


pytestmark = pytest.mark.anyio

NEW = b'{"stream": "S", "seq": 1}'
COPY = b'{"stream": "S", "seq": 1, "duplicate": true}'
ONE, TWO = Outgoing("s.1", b"1", "one").parts, Outgoing("s.2", b"2").parts


class Link:
    """Answers each message with what the test says; None for no answer, a str for what is not even sent."""

    def __init__(self, *answers: bytes | str | None) -> None:
        self.window = Window(self)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        self.sent: list[Sent] = []
        self._answers = list(answers)
        self._listeners: list[Callable[[Msg], Awaitable[None]]] = []

    def new_inbox(self) -> str:
        return "inbox"

    async def subscribe(self, subject: str, *, cb: Callable[[Msg], Awaitable[None]]) -> None:
        assert subject == "inbox.*"
        self._listeners.append(cb)

    async def answer(self, subject: str, body: bytes) -> None:
        await self._listeners[0](Msg(None, subject, data=body))  # pyright: ignore[reportArgumentType]

    async def publish_all(self, messages: Sequence[Sent]) -> dict[str, str]:
        self.sent.extend(messages)
        unsent: dict[str, str] = {}
        for message in messages:
            match self._answers.pop(0):
                case bytes(answer):
                    await self.answer(message.reply, answer)
                case str(said):
                    unsent[message.reply] = said
                case None:
                    pass
        return unsent


async def test_each_answer_finds_its_message() -> None:
    link = Link(NEW, COPY, "too large")
    this = await link.window.answers([ONE, TWO, TWO], 1)
    assert this.answers == [Answer(Fate.NEW), Answer(Fate.COPY), Answer(Fate.REFUSED, 0, "too large")]
    block = b"NATS/1.0\r\nNats-Msg-Id: one\r\n\r\n"
    assert link.sent[:2] == [Sent("s.1", "inbox.0", block, b"1"), Sent("s.2", "inbox.1", b"", b"2")]


async def test_two_rounds_at_a_time() -> None:
    link = Link(None, None)
    one, other = await link.window.send([ONE]), await link.window.send([TWO])
    await link.answer("inbox.1", NEW)
    assert (one.answers, other.answers) == ([None], [Answer(Fate.NEW)])
    link.window.forget(one)
    await link.answer("inbox.0", NEW)  # too late
    await link.answer("inbox.1", NEW)  # twice
    assert (one.answers, one.missing, other.missing) == ([None], 1, 0)


async def test_silence_ends_the_waiting() -> None:
    this = await Link(None, NEW).window.answers([ONE, TWO], 0.01)
    assert (this.answers, this.is_lost) == ([None, Answer(Fate.NEW)], False)


async def test_a_lost_connection_ends_the_waiting() -> None:
    link = Link(None)
    this = await link.window.send([ONE])
    link.window.lose()
    with anyio.fail_after(10):
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
    assert waited_for(link.window) == []
    assert (await link.window.answers([ONE], 1)).answers == [Answer(Fate.NEW)]
    assert link.sent[0].reply == "inbox.1"


async def test_a_round_that_is_over_leaves_nothing_in_memory() -> None:
    link = Link(NEW, None, "too large", None)
    await link.window.answers([ONE, TWO, TWO], 0.01)
    this = await link.window.send([ONE])
    assert waited_for(link.window) == ["3"]
    link.window.lose()
    link.window.forget(this)
    assert waited_for(link.window) == []


def waited_for(window: Window) -> list[str]:
    return [*vars(window)["_waiting"]]


async def test_an_announcement_asks_for_an_empty_subject(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announce, "ANSWER_SECONDS", 0.01)
    link = Link(NEW, NEW, None)
    announcer = Announcer(link.window, "UNLOCKS")
    asked: Any = None  # nothing is asked of the API
    one, two = Announcement("u.1", b"1", "one"), Announcement("u.2", b"2", "two", 7)
    assert await announcer.announce(asked, [one, two]) == Announced({"one": True, "two": True}, {})
    headers = {"Nats-Expected-Stream": "UNLOCKS", "Nats-Msg-Id": "one", "Nats-Expected-Last-Subject-Sequence": "0"}
    assert (link.sent[0].subject, parse_headers(link.sent[0].block), link.sent[0].body) == ("u.1", headers, b"1")
    assert parse_headers(link.sent[1].block)["Nats-Expected-Last-Subject-Sequence"] == "7"
    assert await announcer.announce(asked, []) == Announced({}, {})
    with pytest.raises(BrokerAwayError, match="1 announcements were not answered"):
        await announcer.announce(asked, [one])
