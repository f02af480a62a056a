from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from worker.rulefiles import NoRulesError, find, load, without_collector

if TYPE_CHECKING:
    from pathlib import Path


def test_the_garbage_collector_is_left_as_it_was() -> None:
    assert gc.isenabled()
    with without_collector():
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with without_collector():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_folder_stands_for_every_rule_file_below_it(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("b.ach", "deep/a.ach", "notes.txt"):
        (tmp_path / name).write_text("event a.b {}")
    assert find([tmp_path / "b.ach", tmp_path]) == [tmp_path / "b.ach", tmp_path / "deep" / "a.ach"]
    assert load([tmp_path / "b.ach"]).errors == 0


def test_the_data_of_a_sandbox_beside_rules_are_no_rules(tmp_path: Path) -> None:
    (tmp_path / ".ach" / "dev").mkdir(parents=True)
    (tmp_path / ".ach" / "dev" / "kept.ach").write_text("event a.b {}")
    (tmp_path / "a.ach").write_text("event a.b {}")
    (tmp_path / "gone.ach").symlink_to("nowhere")
    assert find([tmp_path]) == [tmp_path / "a.ach", tmp_path / "gone.ach"]


@pytest.mark.parametrize("name", ["", "missing.ach"])
def test_a_path_without_rules_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(NoRulesError, match="no "):
        find([tmp_path / name])
