"""Planted bugs: who may publish what, what reaches a terminal, and what a message may say of secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.faults.plants.bug import Bug

BUGS: Final[tuple[Bug, ...]] = ()
