"""Blocks of Python on a page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK: Final = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[str]:
    """Return the blocks of a page that are marked as Python, in order."""
    return _BLOCK.findall(page.read_text("utf-8"))
