"""How far a build is, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.report import screen

if TYPE_CHECKING:
    from worker.engine.pace import Headway

_SHORT: Final = 90
"""Seconds, or minutes, that are shown as such."""


def remark_of(headway: Headway) -> str:
    """Return in a few words how far a build is."""
    parts = [f"{screen.plural(headway.subjects, 'subject')}, {screen.plural(headway.events, 'event')}"]
    if headway.seconds_left is not None:
        parts.append(f"about {span(headway.seconds_left)} left")
    if headway.waits_for:
        parts.append(f"waiting: {headway.waits_for}")
    return "; ".join(parts)


def span(seconds: float) -> str:
    """Return a span for people: `12 s`, `3 min`, `2 h`."""
    if seconds < _SHORT:
        return f"{seconds:.0f} s"
    if seconds < _SHORT * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
