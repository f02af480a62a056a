"""Lints the source in the current folder once for each of several changes; run as a script, by test_rooms.py.

Reads a JSON array of [file, line] from standard input: each line is added to its file, and taken away after the linter
has run. Writes a JSON array of what the linter printed. In one process, for it takes longer to start than to lint.
"""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import cast

from importlinter.cli import lint_imports


def lint(file: Path, line: str) -> str:
    before = file.read_text() if file.exists() else None
    file.write_text(f"{before or ''}\n{line}\n")
    try:
        with redirect_stdout(StringIO()) as printed:
            lint_imports()
    finally:
        if before is None:
            file.unlink()
        else:
            file.write_text(before)
    return printed.getvalue()


if __name__ == "__main__":
    changes = cast("list[tuple[str, str]]", json.load(sys.stdin))
    json.dump([lint(Path(file), line) for file, line in changes], sys.stdout)
