"""Planted bugs: rules that change: apply, the meaning of a version, the backfill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.faults.plants.bug import Bug

BUGS: Final[tuple[Bug, ...]] = ()
