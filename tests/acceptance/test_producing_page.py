"""docs/producing.md shows the programs that are tested, and its table says what the encoder does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from worker.contract.partition import token

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "producing.md").read_text("utf-8")
FILES: Final = sorted((ROOT / "docs" / "examples" / "producing").iterdir())
TABLE: Final = PAGE.partition("| name | token |")[2].partition("\n\n")[0]
ROWS: Final = re.findall(r"^\| `([^`]+)`(?: (\d+) times)? \| `([^`]+)` \|", TABLE, re.MULTILINE)


@pytest.mark.parametrize("path", [path for path in FILES if path.is_file()], ids=lambda path: path.name)
def test_programs_are_shown_as_they_are(path: Path) -> None:
    assert f"\n{path.read_text('utf-8').rstrip()}\n```\n" in PAGE
    assert f"](examples/producing/{path.name})" in PAGE


def test_the_table_says_what_the_encoder_does() -> None:
    found = [(token(name * int(times or 1)), said) for name, times, said in ROWS]
    assert len(found) == 6
    for encoded, said in found:
        assert encoded == said
