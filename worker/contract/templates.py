"""Texts of few forms, taken apart: what many of them have in common once, and whole numbers column by column.

`{"amount": 12}` and `{"amount": 7}` are one template with 12 and 7. Deflated, a number takes less than a byte that way,
where it takes two in its text. Whatever is no whole number in its usual form stays in the template. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from worker.contract.planes import plane, read_plane

if TYPE_CHECKING:
    from collections.abc import Sequence

_PLACE: Final = "\1"
"""Where a number stood: JSON has no such character."""
_NUMBER: Final = re.compile(r"(?<![0-9])(0|[1-9][0-9]{0,17})(?![0-9])")
_EACH: Final = 2
"""Texts that a template stands for, in the mean, where it is worth it."""


class Apart(NamedTuple):
    """Texts that were taken apart."""

    templates: list[str]
    numbers: bytes
    """Which template each text has, and columns of numbers: of the first template one for each place, and so on."""


def apart(texts: Sequence[str]) -> Apart | None:
    """Return texts taken apart; None where too many of them differ."""
    which: list[int] = []
    columns: dict[str, list[list[int]]] = {}
    order: dict[str, int] = {}
    for text in texts:
        pieces = _NUMBER.split(text)
        template = _PLACE.join(pieces[::2])
        if template not in order:
            order[template] = len(order)
            columns[template] = [[] for _ in pieces[1::2]]
        if template.count(_PLACE) != len(pieces) // 2:
            return None
        which.append(order[template])
        for column, found in zip(columns[template], pieces[1::2], strict=True):
            column.append(int(found))
    if len(order) * _EACH > len(texts):
        return None
    numbers = [plane(which), *(plane(column) for one in columns.values() for column in one)]
    return Apart([*order], b"".join(numbers))


def together(templates: Sequence[str], numbers: memoryview, count: int) -> list[str]:
    """Return so many texts as they were."""
    which, place = read_plane(numbers, 0, count)
    texts = [""] * count
    for at, template in enumerate(templates):
        mine = [n for n, one in enumerate(which) if one == at]
        columns: list[list[int]] = []
        for _ in range(template.count(_PLACE)):
            column, place = read_plane(numbers, place, len(mine))
            columns.append(column)
        form = template.replace("%", "%%").replace(_PLACE, "%d")
        if not columns:
            for n in mine:
                texts[n] = template
        else:
            for n, found in zip(mine, zip(*columns, strict=True), strict=True):
                texts[n] = form % found
    return texts
