"""What goes out of a function: the answer to its caller, and announcements to a callback."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias, TypedDict


class Failure(TypedDict):
    """A record that is to come again."""

    itemIdentifier: str


class BatchResponse(TypedDict):
    """A partial batch response: what AWS Lambda takes with `ReportBatchItemFailures`."""

    batchItemFailures: list[Failure]


class Announcement(NamedTuple):
    """One message about an unlock: granted, or what became of it (docs/unlocks.md)."""

    id: str
    """The same at every attempt: a receiver that has seen it drops the copy."""
    subject: str
    """The subject that the worker would announce it on; it names tenant, subject and achievement."""
    body: bytes
    """JSON, as docs/unlock.schema.json describes it."""


Announce: TypeAlias = Callable[[Sequence[Announcement]], Awaitable[Iterable[str] | None]]
"""Delivers announcements, and returns the ids of those that were refused, if any; what it raises puts off all."""
