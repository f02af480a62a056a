"""What is written into a folder, and what is left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.worker.artefacts.rules import EVENTS
from worker.artefacts.bundle import files_of
from worker.artefacts.folder import Difference, State, bring_up_to_date, differences

if TYPE_CHECKING:
    from pathlib import Path

FILES = files_of(EVENTS, prefix="events", title="T")
LOGIN = "events/login.schema.json"


def test_a_folder_is_brought_up_to_date_once(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert {one.state for one in differences(folder, FILES)} == {State.MISSING}
    assert not folder.exists()
    assert len(bring_up_to_date(folder, FILES)) == len(FILES)
    assert bring_up_to_date(folder, FILES) == differences(folder, FILES) == []
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == sorted(FILES)


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    bring_up_to_date(tmp_path, FILES)
    (tmp_path / LOGIN).write_text("{}")
    before = (tmp_path / "asyncapi.json").stat().st_mtime_ns
    assert bring_up_to_date(tmp_path, FILES) == [Difference(LOGIN, State.CHANGED)]
    assert (tmp_path / LOGIN).read_text() == FILES[LOGIN]
    assert (tmp_path / "asyncapi.json").stat().st_mtime_ns == before


def test_schemas_of_types_that_are_gone_are_deleted_and_no_others(tmp_path: Path) -> None:
    bring_up_to_date(tmp_path, FILES)
    mine = tmp_path / "events" / "mine.schema.json"
    mine.write_text("{}")
    (tmp_path / "README.md").write_text("mine")
    fewer = {path: text for path, text in FILES.items() if path != LOGIN}
    assert bring_up_to_date(tmp_path, fewer) == [Difference(LOGIN, State.LEFT_OVER)]
    assert not (tmp_path / LOGIN).exists()
    assert mine.exists()
    assert (tmp_path / "README.md").exists()


def test_bytes_that_are_no_text_are_out_of_date(tmp_path: Path) -> None:
    bring_up_to_date(tmp_path, FILES)
    (tmp_path / LOGIN).write_bytes(b"\xff")
    assert differences(tmp_path, FILES) == [Difference(LOGIN, State.CHANGED)]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        bring_up_to_date(tmp_path / "file" / "below", FILES)
