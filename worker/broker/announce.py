"""Announcements: each of them once for ever.

Each announcement has a subject of its own, and asks the broker to refuse it if that subject holds a message already.
The broker remembers message ids for minutes; that comparison holds as long as the stream does.

Measured and tried: docs/decisions/0008-hot-path/announcing.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from worker.broker.api import REQUEST_SECONDS, ApiError, last_message
from worker.broker.errors import OUT_OF_REACH, BrokerAwayError, in_words
from worker.broker.window import EXPECTED_LAST, EXPECTED_STREAM, LOST, MESSAGE_ID, NEW, Fate
from worker.contract.message import parse_headers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from worker.broker.client import BrokerClient
    from worker.broker.window import Answer, Window

ANSWER_SECONDS: Final = REQUEST_SECONDS
"""After which an announcement without an answer counts as lost."""
SILENCE: Final = "the broker did not answer; it does not where publishing is not permitted"
TRIES: Final = 10
"""To announce behind something else, which comes again and again."""

log = structlog.get_logger()


class Announcement(NamedTuple):
    """One message, on the subject that is for it alone."""

    subject: str
    body: bytes
    id: str
    after: int = 0
    """Sequence of the message that may stand on the subject before it: something that is no announcement."""
    trace: str = ""
    """Lines of the block of headers that say which trace it belongs to."""


class Announced(NamedTuple):
    """What became of announcements, by id."""

    new: dict[str, bool]
    """Those that the broker has now: whether it did not have them before."""
    refused: dict[str, str]
    """Those that it does not have, and why."""
    taken: AbstractSet[str] = frozenset()
    """Those whose subject holds something: most likely themselves."""


def judge(announcements: Sequence[Announcement], answers: Sequence[Answer | None]) -> Announced:
    """Return what a round of answers says; None stands for no answer. Pure.

    What is wrong with the server is wrong with all; where others came through, it is wrong with these alone.

    Raises:
        BrokerAwayError: nothing came through, and it is not the messages' fault: try all of them again.
    """
    new: dict[str, bool] = {}
    refused: dict[str, str] = {}
    failed: dict[str, str] = {}
    taken: set[str] = set()
    for one, answer in zip(announcements, answers, strict=True):
        if answer is NEW:
            new[one.id] = True
        elif answer is None:
            failed[one.id] = SILENCE
        elif answer.fate is Fate.COPY:
            new[one.id] = False
        elif answer.fate is Fate.TAKEN:
            taken.add(one.id)
        else:
            (refused if answer.fate is Fate.REFUSED else failed)[one.id] = answer.said
    if failed and not (new or taken):
        silent = f"{sum(answer is None for answer in answers)} announcements were not answered"
        raise BrokerAwayError(next((said for said in failed.values() if said != SILENCE), silent))
    return Announced(new, refused | failed, taken)


class Announcer:
    """Announces in one stream."""

    def __init__(self, window: Window, stream: str) -> None:
        self._window = window
        self._stream = stream

    async def announce(self, client: BrokerClient, announcements: Sequence[Announcement]) -> Announced:
        """Publish announcements, all at once; return what became of each, with nothing in `taken`.

        Raises:
            BrokerAwayError: they may have arrived or not; try again.
        """
        new: dict[str, bool] = {}
        refused: dict[str, str] = {}
        try:
            for _ in range(TRIES if announcements else 0):
                said = await self._round(announcements)
                refused |= said.refused
                new |= said.new
                if not said.taken:
                    break
                new |= dict.fromkeys(said.taken, False)
                there = [one for one in announcements if one.id in said.taken]
                announcements = [behind for one in there if (behind := await self._behind(client, one)) is not None]
                if not announcements:
                    break
            else:
                if announcements:
                    raise BrokerAwayError(f"something else comes to {announcements[0].subject} again and again")
        except (ApiError, *OUT_OF_REACH) as error:
            raise BrokerAwayError(in_words(error)) from error
        return Announced(new, refused)

    async def _round(self, announcements: Sequence[Announcement]) -> Announced:
        begin = f"NATS/1.0\r\n{EXPECTED_STREAM}: {self._stream}\r\n{MESSAGE_ID}: "
        messages = [
            (subject, f"{begin}{name}\r\n{EXPECTED_LAST}: {after}\r\n{trace}\r\n".encode(), body)
            for subject, body, name, after, trace in announcements
        ]
        this = await self._window.answers(messages, ANSWER_SECONDS)
        if this.is_lost:
            raise BrokerAwayError(LOST)
        return judge(announcements, this.answers)

    async def _behind(self, client: BrokerClient, refused: Announcement) -> Announcement | None:
        """Return an announcement to be made behind what stands on its subject; None if that is the announcement.

        A producer can name the subject of an unlock as its reply subject. The broker writes its answer there and asks
        for no permission.
        """
        there = await last_message(client, self._stream, refused.subject)
        # An answer of the broker has no message id. A client that sets one has permission to publish there.
        if there is None or MESSAGE_ID in parse_headers(there.hdrs):
            return None
        log.warning("something else stood where an unlock is announced", subject=refused.subject, seq=there.seq)
        return refused._replace(after=there.seq)
