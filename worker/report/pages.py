"""The pages of docs/diagnostics, one for each code: what it means, why, and what to write instead."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from dsl.codes import CODES
from dsl.diagnostics import nearest

_WORKER: Final = Path(__file__).parents[1]
_FOLDERS: Final = (_WORKER / "diagnostics", _WORKER.parent / "docs" / "diagnostics")
"""An installed package has the pages in `worker`, the project has them among its documents."""


class NoPageError(ValueError):
    """There is no such code; the message says which may have been meant."""


@cache
def page(code: str) -> str | None:
    """Return the page of a code, or None where this installation has none."""
    for folder in _FOLDERS:
        path = folder / f"{code}.md"
        if path.is_file():
            return path.read_text(encoding="utf-8")
    return None


def explained(code: str) -> str:
    """Return the page of a code, in small letters or large; without a page, its title.

    Raises:
        NoPageError: there is no such code.
    """
    known = code.upper()
    if known not in CODES:
        guess = nearest(known, CODES)
        hint = f"did you mean {guess}?" if guess else "codes are ACH101 and up"
        raise NoPageError(f"there is no code {code}; {hint}")
    return page(known) or f"# {known}: {CODES[known]}\n"
