"""Why a process is not ready, said within a second whatever its servers do.

A frozen server neither answers nor refuses, and to give up a statement takes seconds. So each server is asked by a task
of its own, one question at a time, and a probe waits for the answer no longer than `ANSWER_SECONDS`. While a question
has no answer, further probes say so at once.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    Ask = Callable[[], Awaitable[bool]]
    """Ask a server for a sign of life; return whether there was one."""

ANSWER_SECONDS: Final = 0.6
"""That a probe waits for all servers together; a probe of Kubernetes gives up after a second."""
QUESTION_SECONDS: Final = 5.0
"""After which a question without an answer is given up, and asked again over another connection."""

POSTGRESQL: Final = "postgresql"
NATS: Final = "nats"


class _Question:
    """A question to a server: when it was asked, and the answer."""

    def __init__(self) -> None:
        self.due = monotonic() + ANSWER_SECONDS
        self.answered = anyio.Event()
        self.is_there = False

    async def wait(self) -> bool:
        """Wait for the answer until it is due; return whether the server is there."""
        with anyio.move_on_after(self.due - monotonic()):
            await self.answered.wait()
        return self.is_there


class _Server:
    """One server, and the question that is under way."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._asked = anyio.Event()
        self._question: _Question | None = None

    def begin(self) -> _Question:
        """Ask, unless a question is under way; return that."""
        if self._question is None:
            self._question = _Question()
            self._asked.set()
        return self._question

    async def run(self) -> None:
        """Ask when a probe wants to know."""
        while True:
            await self._asked.wait()
            self._asked = anyio.Event()
            question = self.begin()
            with anyio.move_on_after(QUESTION_SECONDS):
                question.is_there = await self._ask()
            self._question = None
            question.answered.set()


class Readiness:
    """The reasons for which a process is not ready.

    `servers` are asked by name. `others` returns what else is amiss: names of what is waited for, and further reasons,
    each a sentence of its own ("unlocks are refused").
    """

    def __init__(
        self, servers: Mapping[str, Ask], others: Callable[[], tuple[Iterable[str], Iterable[str]]] = lambda: ((), ())
    ) -> None:
        self._servers = {name: _Server(ask) for name, ask in servers.items()}
        self._others = others

    async def run(self) -> None:
        """Ask servers, until cancelled."""
        async with anyio.create_task_group() as tasks:
            for server in self._servers.values():
                tasks.start_soon(server.run)

    async def reasons(self) -> str:
        """Return every reason, "" if there is none. It takes `ANSWER_SECONDS` at most."""
        silent = await self.silent()
        waiting, others = self._others()
        return listed([*waiting, *silent], others)

    async def silent(self) -> list[str]:
        """Return the servers that do not answer. It takes `ANSWER_SECONDS` at most."""
        questions = {name: server.begin() for name, server in self._servers.items()}
        return [name for name, question in questions.items() if not await question.wait()]


def listed(waiting: Iterable[str], others: Iterable[str] = ()) -> str:
    """Return reasons as `/readyz` shows them: "waiting for nats, postgresql; unlocks are refused"."""
    names = dict.fromkeys(waiting)
    return "; ".join([*([f"waiting for {', '.join(names)}"] if names else []), *others])
