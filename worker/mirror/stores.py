"""What may go wrong with a place that is no disk."""

from __future__ import annotations


class StoreError(Exception):
    """A store of objects does not take or give something. `away`: it may the next time; `hint` is what may help."""

    def __init__(self, said: str, *, away: bool = False, hint: str | None = None) -> None:
        super().__init__(said)
        self.away = away
        self.hint = hint


class GoneError(StoreError):
    """An object is not there (any more)."""
