"""What `ach replay` was asked for, and what may come of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

SKEW: Final = 300 * 1_000_000
"""How far ahead of the clock an event may be, in microseconds."""


class Request(msgspec.Struct, frozen=True):
    """What was asked for; `now` in microseconds."""

    streams: tuple[str, ...]
    now: int
    until: int | None = None
    as_json: bool = False
    expect: Path | None = None
    through_worker: bool = False
    quiet: bool = False
    jobs: int | None = None
    """Processes that fold a large recording; None: one a core."""


class ProcessDiedError(Exception):
    """A process that folded has ended without a word, which the system does where memory is short."""

    def __init__(self) -> None:
        super().__init__("a process of the replay was killed")


def new_mark() -> int:
    """Return a number that no event can name, of up to 62 bits."""
    return int.from_bytes(os.urandom(8)) >> 2
