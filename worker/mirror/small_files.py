"""Small files of a day become one: a run a minute leaves 1,440 a day, and readers open each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.mirror.layout import LAYERS

if TYPE_CHECKING:
    from worker.mirror.files import Files
    from worker.mirror.manifest import File

SMALL_ROWS: Final = 500_000
"""What has more is not written again."""
MOST_TODAY: Final = 24
MOST_BEFORE: Final = 4
"""Small files that a day of the past may have."""


def merge_small(files: Files, today: str) -> None:
    """Merge the small files of days that have many.

    Raises:
        DuckError, DiskError: see `Files`.
    """
    for layer in LAYERS:
        days: dict[str, list[File]] = {}
        for file in files.layers.get(layer.name, []):
            if file.rows < SMALL_ROWS:
                days.setdefault(file.dt, []).append(file)
        for day, small in sorted(days.items()):
            if len(small) > (MOST_TODAY if day >= today else MOST_BEFORE):
                files.merge(layer, small)
