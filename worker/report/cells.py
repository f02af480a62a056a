"""Texts of others in a line of the terminal, with a bound on the room that they take."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size

from worker.report.escape import visible


def cut(text: str, most: int) -> str:
    """Return a text that takes so many cells at most, as the terminal shows it; one that is cut ends in `…`."""
    shown = visible(text)
    head = shown if cell_len(shown) <= most else set_cell_size(shown, most - 1).rstrip()
    return head if head == shown else f"{head}…"


def cells(text: str) -> int:
    """Return how many cells a text takes; a wide character takes two."""
    return cell_len(text)
