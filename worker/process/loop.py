"""The event loop of a command: uvloop's where it is installed (the extra `fast`), else Python's own.

Measured and tried: docs/decisions/0008-hot-path/interpreter.md.
"""

from __future__ import annotations

import gc
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, TypeVar, cast

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


_YOUNG: Final = 50_000
"""Objects made before the collector looks at the young ones again."""


def spare_collector() -> None:
    """Make the garbage collector run seldom, for a process that keeps many states and makes few cycles.

    What exists by now stays for good, and is never looked at again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 50)


def run_async(work: Callable[[], Awaitable[T]]) -> T:
    """Run `work` to its end and return what it returns; an error comes out as itself, not as a group of one."""
    try:
        return anyio.run(work, backend_options={"use_uvloop": find_spec("uvloop") is not None})
    except BaseExceptionGroup as group:
        raise alone(group) from None


def alone(error: BaseException) -> BaseException:
    """Return the single error of a group; the group itself if it has several."""
    if isinstance(error, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", error).exceptions
        return alone(inner[0]) if len(inner) == 1 else cast("BaseException", error)
    return error
