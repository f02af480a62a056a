"""Seconds that parts of some work have taken together."""

from __future__ import annotations

from time import perf_counter


class Stopwatch:
    """Adds up how long blocks take: `with watch: ...`. A block that fails is not counted."""

    __slots__ = ("_began", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        """Of all blocks so far."""
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = perf_counter()

    def __exit__(self, failed: object, *_: object) -> None:
        if failed is None:
            self.seconds += perf_counter() - self._began
