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
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

ANSWER_SECONDS: Final = 5.0
"""Until an announcement without an answer counts as lost."""
SILENCE: Final = "the broker did not answer, as where publishing there is not permitted"
_WRONG_LAST_SEQUENCE: Final = 10071
_SERVER_AT_FAULT: Final = 500
"""As in HTTP: from here on an error speaks of the server, and not of what it was asked."""


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


class Told(NamedTuple):
    """What became of a round, by id: whether what is kept now was news, and why the rest is not."""

    news: dict[str, bool]
    refused: dict[str, str]
    forestalled: AbstractSet[str] = frozenset()
    """Something stands on the subject of these: most likely the announcement itself."""


class Unanswered(NamedTuple):
    """What went wrong with a round: some of it may have arrived, and all of it may be tried again."""

    said: str


class _Fault(msgspec.Struct):
    code: int = 0
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
        self.news: dict[str, bool] = {}
        self._forestalled: set[str] = set()
        self._refused: dict[str, str] = {}
        self._ailing: dict[str, str] = {}
        """What was not kept for a reason that may be the server's."""
        self._trouble: str | None = None
        self.done = anyio.Event()

    def answered(self, name: str, *, new: bool) -> None:
        self.news[name] = new
        self._answered()

    def forestalled(self, name: str) -> None:
        self._forestalled.add(name)
        self._answered()

    def refused(self, name: str, said: str) -> None:
        self._refused[name] = said
        self._answered()

    def ails(self, name: str, said: str) -> None:
        self._ailing[name] = said
        self._answered()

    def _answered(self) -> None:
        self.missing -= 1
        if not self.missing:
            self.done.set()

    def failed(self, said: str) -> None:
        self._trouble = said
        self.done.set()

    def told(self, names: Iterable[str]) -> Told | Unanswered:
        """Return what became of it. What ails the server ails all; where others came through, it is these alone."""
        if self._trouble is not None:
            return Unanswered(self._trouble)
        if not self.missing and not self._ailing:
            return Told(self.news, self._refused, self._forestalled)
        if not (self.news or self._forestalled):
            silent = f"{self.missing} announcements were not answered"
            return Unanswered(next(iter(self._ailing.values()), silent))
        known = {*self.news, *self._refused, *self._ailing, *self._forestalled}
        silent = dict.fromkeys((name for name in names if name not in known), SILENCE)
        return Told(self.news, self._refused | self._ailing | silent, self._forestalled)


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
        publish: Callable[[Sequence[Asked]], Awaitable[Mapping[str, str]]],
    ) -> Told | Unanswered:
        """Publish announcements, all at once; return what became of each.

        `publish` returns why some were not even sent, by the subject for their answers.
        """
        if not announcements:
            return Told({}, {})
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
            for reply, said in (await publish(asked)).items():
                _, name = self._waiting.pop(reply.rpartition(".")[2])
                this.refused(name, said)
            with anyio.move_on_after(ANSWER_SECONDS):
                await this.done.wait()
        finally:
            for key in keys:
                self._waiting.pop(key, None)
        return this.told(one.id for one in announcements)

    def answer(self, subject: str, body: bytes) -> None:
        """Take an answer; one that nobody waits for any more is let go."""
        waiting = self._waiting.pop(subject.rpartition(".")[2], None)
        if waiting is None:
            return
        this, name = waiting
        if not body:
            this.ails(name, "no stream keeps what is published there")
            return
        answer = _answer.decode(body)
        if answer.error is None:
            this.answered(name, new=not answer.duplicate)
        elif answer.error.err_code == _WRONG_LAST_SEQUENCE:
            this.forestalled(name)
        else:
            tell = this.ails if answer.error.code >= _SERVER_AT_FAULT else this.refused
            tell(name, f"{answer.error.err_code} {answer.error.description}")

    def lost(self) -> None:
        """After a reconnection: the answers to what was asked will not come any more."""
        for this, _ in self._waiting.values():
            this.failed("the connection was lost")
