"""Publishing many announcements at a time, each of them once for ever, over one inbox for all answers.

Each announcement has a subject of its own, and asks the broker to refuse it where that subject holds a message already:
unlike its memory of message ids, which lasts for minutes, that comparison holds as long as the stream does. Waiting for
each answer by itself would cost several times as much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import msgspec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

ANSWER_SECONDS: Final = 5.0
"""Until an announcement without an answer counts as lost."""
_WRONG_LAST_SEQUENCE: Final = 10071


class Announcement(NamedTuple):
    """One message, on the subject that is for it alone."""

    subject: str
    body: bytes
    id: str
    after: int = 0
    """The place in the stream of what may stand on the subject before it: something that is no announcement."""


class Asked(NamedTuple):
    """An announcement on its way: with headers, and a subject for the answer."""

    subject: str
    reply: str
    headers: Mapping[str, str]
    body: bytes


class Unanswered(NamedTuple):
    """What went wrong with a round: some of it may have arrived, and all of it may be tried again."""

    said: str


class _Fault(msgspec.Struct):
    err_code: int = 0
    description: str = ""


class _Answer(msgspec.Struct):
    duplicate: bool = False
    error: _Fault | None = None


_answer = msgspec.json.Decoder(_Answer)


class _Round:
    """The announcements of one call, until the last of them is answered."""

    def __init__(self, size: int) -> None:
        self.missing = size
        self.news: dict[str, bool | None] = {}
        self.trouble: str | None = None
        self.done = anyio.Event()

    def answered(self, name: str, *, new: bool | None) -> None:
        self.news[name] = new
        self.missing -= 1
        if not self.missing:
            self.done.set()

    def failed(self, said: str) -> None:
        self.trouble = said
        self.done.set()


class Announcer:
    """Knows which answers are waited for. `inbox` is where `answer` is called for whatever comes below it."""

    def __init__(self, inbox: str, headers: Mapping[str, str], id_header: str, after_header: str) -> None:
        self._inbox = inbox
        self._headers = dict(headers)
        self._id_header = id_header
        self._after_header = after_header
        self._waiting: dict[str, tuple[_Round, str]] = {}
        self._number = 0

    async def announce(
        self,
        announcements: Sequence[Announcement],
        publish: Callable[[Sequence[Asked]], Awaitable[None]],
    ) -> dict[str, bool | None] | Unanswered:
        """Publish announcements, all at once; return per id whether it was news to the broker.

        None: something stands on its subject, and may be the announcement itself.
        """
        if not announcements:
            return {}
        this = _Round(len(announcements))
        keys: list[str] = []
        asked: list[Asked] = []
        try:
            for one in announcements:
                self._number += 1
                key = str(self._number)
                keys.append(key)
                self._waiting[key] = (this, one.id)
                headers = {**self._headers, self._id_header: one.id, self._after_header: str(one.after)}
                asked.append(Asked(one.subject, f"{self._inbox}.{key}", headers, one.body))
            await publish(asked)
            with anyio.move_on_after(ANSWER_SECONDS):
                await this.done.wait()
        finally:
            for key in keys:
                self._waiting.pop(key, None)
        if this.trouble is not None or this.missing:
            return Unanswered(this.trouble or f"{this.missing} announcements were not answered")
        return this.news

    def answer(self, subject: str, body: bytes) -> None:
        """Take an answer; one that nobody waits for any more is let go."""
        waiting = self._waiting.pop(subject.rpartition(".")[2], None)
        if waiting is None:
            return
        this, name = waiting
        if not body:
            this.failed("nobody keeps announcements: the stream is missing")
            return
        answer = _answer.decode(body)
        if answer.error is None:
            this.answered(name, new=not answer.duplicate)
        elif answer.error.err_code == _WRONG_LAST_SEQUENCE:
            this.answered(name, new=None)
        else:
            this.failed(f"{answer.error.err_code} {answer.error.description}")

    def lost(self) -> None:
        """After a reconnection: the answers to what was asked will not come any more."""
        for this, _ in self._waiting.values():
            this.failed("the connection was lost")
