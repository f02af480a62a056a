"""Rules that a command is given: what no rules that are in force are refused for, and rules that are written are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dsl.ruleset import build
from worker.commands.checked_rules import usable_rules

if TYPE_CHECKING:
    from pathlib import Path

NAMED = "event unlocks { n: int >= 0 }\nachievement x { when sum(event=unlocks, of=n, >= 5) }\n"


def test_an_event_called_unlocks_is_refused_where_rules_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build([("in force", NAMED.encode())]).program is not None
    path = tmp_path / "rules.ach"
    path.write_text(NAMED)
    with pytest.raises(SystemExit):
        usable_rules([path])
    said = "".join(capsys.readouterr())
    assert "ACH433" in said
    assert "give the event another name" in said
    path.write_text(NAMED.replace("unlocks", "door.unlocked"))
    assert usable_rules([path]).program is not None
