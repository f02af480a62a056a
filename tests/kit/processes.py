"""Programs that tests start from packages: what they write."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anyio.abc import Process


async def logged(process: Process, words: str) -> str:
    """Return what a process logs until it logs these words, or ends."""
    said = ""
    assert process.stderr is not None
    async for chunk in process.stderr:
        said += chunk.decode()
        if words in said:
            break
    return said
