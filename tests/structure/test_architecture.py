"""ARCHITECTURE.md names files that exist, every room, and stays short enough to be read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
SHOWN: Final = re.compile(r"`((?:[a-z_]+/)+[a-z_.]+\.(?:py|sql|lark))`")
MADE_UP: Final = frozenset({"worker/commands/NAME.py"})


def test_the_page_is_short() -> None:
    assert len(PAGE.splitlines()) < 250


def test_every_path_is_there() -> None:
    paths = set(SHOWN.findall(PAGE)) - MADE_UP
    assert len(paths) > 60
    missing = [path for path in sorted(paths) if not any((ROOT / top / path).exists() for top in ("", "worker"))]
    assert not missing


def test_every_room_is_described() -> None:
    rooms = {folder.name for folder in (ROOT / "worker").iterdir() if (folder / "__init__.py").exists()}
    assert {room for room in rooms if f"`worker/{room}/`" not in PAGE} == set()
