"""Planted bugs: a connection that is lost, refused, or closed for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.faults.plants.bug import Bug

BUGS: Final[tuple[Bug, ...]] = ()
