"""The points at which a worker can die: every resumption of every task, and both sides of every statement and message.

A recording run lists the points that it passes; a crashing run kills itself with SIGKILL when it comes to one of them:
connections are aborted by the kernel, and nothing is flushed.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Coroutine, Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

import asyncpg
from nats.aio.client import Client

from worker.broker.private import FastClient
from worker.broker.streams import Broker
from worker.store import Session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

WORKER = os.sep + "worker" + os.sep


class Point(NamedTuple):
    """A place that a run passes; how often that kind of place was passed before."""

    kind: str
    number: int


class Points:
    """Counts the points that a run passes, and kills the process at one of them."""

    def __init__(self, crash: Point | None) -> None:
        self._crash = crash
        self._counts = Counter[str]()
        self.passed: list[Point] = []

    def at(self, kind: str) -> None:
        """Pass a point, or die there."""
        point = Point(kind, self._counts[kind])
        self._counts[kind] += 1
        self.passed.append(point)
        if point == self._crash:
            os.kill(os.getpid(), signal.SIGKILL)

    async def watch(self, work: Callable[..., Awaitable[None]], *args: object) -> None:
        """Do work in a task of its own, and watch that task and all that come of it."""
        loop = asyncio.get_running_loop()

        def factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:  # noqa: ANN401
            return asyncio.Task(_Watched(coro, self), loop=loop, **options)

        loop.set_task_factory(factory)
        try:
            await asyncio.ensure_future(_awaited(work, args))
        finally:
            loop.set_task_factory(None)


async def _awaited(work: Callable[..., Awaitable[None]], args: tuple[object, ...]) -> None:
    await work(*args)


class _Watched(Coroutine[Any, Any, Any]):
    """A coroutine that tells when it is resumed and where it waits. Whatever else it is asked, the inner one knows."""

    def __init__(self, inner: Any, points: Points) -> None:  # noqa: ANN401 - a coroutine of any kind
        self._inner = inner
        self._points = points
        self._where = f"start of {getattr(inner, '__qualname__', 'a task')}"

    def send(self, value: Any) -> Any:  # noqa: ANN401
        return self._step(self._inner.send, value)

    def throw(self, *error: Any) -> Any:  # noqa: ANN401
        return self._step(self._inner.throw, *error)

    def _step(self, move: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401
        self._points.at(f"resume {self._where}")
        try:
            waits_for = move(*args)
        except BaseException:
            self._points.at(f"end behind {self._where}")
            raise
        self._where = _where(self._inner)
        self._points.at(f"suspend {self._where}")
        return waits_for

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._inner, name)


def _where(coroutine: Any) -> str:  # noqa: ANN401
    """Return where a coroutine waits: functions of the worker with the last line, then the innermost function."""
    ours: list[str] = []
    innermost = ""
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is None:
            break
        code = frame.f_code
        innermost = f"{code.co_name}:{frame.f_lineno}"
        if WORKER in code.co_filename:
            ours.append(innermost)
            innermost = ""
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return " > ".join(part for part in (*ours[-3:], innermost) if part)


@contextmanager
def instrumented(points: Points) -> Generator[None]:
    """Make the worker's seams tell both sides of each statement and message, for the length of a block."""
    with ExitStack() as stack:
        for owner, names in _SEAMS.items():
            for name in names:
                stack.enter_context(patch.object(owner, name, _counted(points, owner, name)))
        stack.enter_context(patch.object(Session, "pages", _counted_pages(points)))
        for name in _OF_FILES:
            stack.enter_context(patch.object(os, name, _counted_call(points, name)))
        yield


_SEAMS: dict[type, tuple[str, ...]] = {
    Session: ("rows", "row", "value", "run", "script"),
    Broker: ("ensure", "subscribe", "next_batch", "ack", "terminate", "keep", "announce", "release", "backlog"),
    asyncpg.Connection: ("execute",),
    Client: ("publish", "flush", "subscribe", "connect"),
    FastClient: ("publish_each", "publish_all"),
}


_OF_FILES = ("replace", "fsync")


def _counted_call(points: Points, name: str) -> Callable[..., Any]:
    original: Callable[..., Any] = getattr(os, name)

    def counted(*args: Any, **options: Any) -> Any:  # noqa: ANN401
        points.at(f"before os.{name}")
        try:
            return original(*args, **options)
        finally:
            points.at(f"after os.{name}")

    return counted


def _counted(points: Points, owner: type, name: str) -> Callable[..., Any]:
    original: Callable[..., Awaitable[Any]] = getattr(owner, name)

    async def counted(this: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        what = f"{owner.__name__}.{name} {_subject(args)}".strip()
        points.at(f"before {what}")
        try:
            return await original(this, *args, **options)
        finally:
            # What failed has another side, too: a guarded statement that was overtaken, or what was cancelled.
            points.at(f"after {what}")

    return counted


def _counted_pages(points: Points) -> Callable[..., Any]:
    original = Session.pages

    async def counted(this: Session, shape: Any, name: str, **args: object) -> AsyncIterator[Any]:  # noqa: ANN401
        points.at(f"before Session.pages {name}")
        async for page in original(this, shape, name, **args):
            points.at(f"within Session.pages {name}")
            yield page
        points.at(f"after Session.pages {name}")

    return counted


def _subject(args: tuple[Any, ...]) -> str:
    """Return which statement or subject it is: a query's name, the words of SQL, the broker's own subjects."""
    words = next((arg for arg in args if isinstance(arg, str)), "")
    if words.startswith("$JS."):
        return ".".join(words.split(".")[:2])
    if words.startswith("_INBOX."):
        return "_INBOX"
    # A subject of an engine of its own; a query under its comments.
    return "" if "." in words or "\n" in words else words
