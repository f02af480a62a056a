"""Where things stand on the page of a catalogue."""

from __future__ import annotations


def anchor_of(achievement: str) -> str:
    """Return the anchor of an achievement."""
    return f"achievement-{achievement}"


def event_anchor(event: str) -> str:
    """Return the anchor of an event."""
    return f"event-{event}"
