"""Recovery within an achievement: the parser blanks out the clause with the error and parses the rest again.

It finds clauses by their keywords at the start of a line, so it works for files with the usual layout. The
achievement is dropped all the same, but its other errors are reported in the same run.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.parse.messages import CLAUSES

if TYPE_CHECKING:
    from dsl.parse.reading import Reading

_CLAUSE: Final = rf"(?m)^[ \t]*({'|'.join(CLAUSES)}|\}})(?![a-z0-9_.])(?!\s*[=:,)\]}}])"
_NO_BRACKETS: Final = r'"(?:[^"\\\n]|\\.)*"?|#[^\n]*|[^{}]+'
_LONGEST: Final = 20_000
"""Characters of an achievement that is read again."""


class Faulty(NamedTuple):
    """A clause that cannot be read, and the start of the declaration that it belongs to."""

    declaration: int
    start: int
    end: int

    def blanked(self, text: str) -> str:
        """Return the text with the clause blanked out; everything else stays in its place."""
        return text[: self.start] + re.sub(r"\S", " ", text[self.start : self.end]) + text[self.end :]


def faulty_clause(reading: Reading, text: str, at: int, starts: list[int]) -> Faulty | None:
    """Return the clause in which the reader stumbled, or None where that is not clear."""
    if not reading.open or reading.open[0].value != "{":
        return None
    opening = reading.open[0].start_pos
    number = bisect_right(starts, opening) - 1
    if number < 0 or not text.startswith("achievement", starts[number]):
        return None
    stop = starts[number + 1] if number + 1 < len(starts) else len(text)
    if stop <= at or stop - starts[number] > _LONGEST:
        return None
    words = [found.start(1) for found in re.compile(_CLAUSE).finditer(text, opening + 1, stop)]
    alone = reading.open[-1].value == "{" and not text[text.rfind("\n", 0, at) + 1 : at].strip()
    before = [word for word in words if word < at]
    start = at if alone and at not in words else before[-1] if before else None
    end = next((word for word in words if word >= at and word != start), None)
    if start is None or end is None or not _balanced(text[start:end]):
        return None
    return Faulty(starts[number], start, end)


def _balanced(text: str) -> bool:
    """Return whether the braces of a piece of text close each other."""
    depth = 0
    for bracket in re.sub(_NO_BRACKETS, "", text):
        depth += 1 if bracket == "{" else -1
        if depth < 0:
            return False
    return depth == 0
