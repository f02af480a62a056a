"""The file of a plan: read as written, and refused where it is none or was edited."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
import pytest

from worker.admin.plan_file import (
    PlanFile,
    PlanFileError,
    is_plan_file,
    names_a_plan,
    plan_file,
    plan_of,
    plan_text,
    read_plan,
)
from worker.engine.rule_set import RuleFile

if TYPE_CHECKING:
    from pathlib import Path

FILES = (RuleFile("b.ach", "event b.done {}\n"), RuleFile("a.ach", "event a.done {}\n"))


def made() -> PlanFile:
    return plan_file(FILES, epoch=14, made_at="2026-05-01T00:00:00Z", made_by="ann", report=b'{"changes":1}')


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "friday.plan"
    path.write_bytes(plan_text(made()))
    assert is_plan_file(path)
    read = read_plan(path)
    assert msgspec.structs.replace(read, report=msgspec.Raw(b"")) == msgspec.structs.replace(
        made(), report=msgspec.Raw(b"")
    )
    assert msgspec.json.decode(read.report) == {"changes": 1}
    assert [file.name for file in read.files] == ["a.ach", "b.ach"]


def test_the_order_of_files_makes_no_difference() -> None:
    turned = plan_file(FILES[::-1], epoch=14, made_at="", made_by="")
    assert (turned.plan, turned.rules) == (made().plan, made().rules)
    assert plan_file(FILES, epoch=15, made_at="", made_by="").plan != made().plan


def test_rules_are_no_plan(tmp_path: Path) -> None:
    path = tmp_path / "rules.ach"
    path.write_text("event a.done {}\n")
    assert not is_plan_file(path)
    assert not is_plan_file(tmp_path)
    assert not is_plan_file(tmp_path / "missing")
    path.write_text("")
    assert not is_plan_file(path)


@pytest.mark.parametrize("name", ["plan.json", "friday.plan"])
@pytest.mark.parametrize("text", ["", "\n"])
def test_what_a_full_disk_has_left_of_a_plan_is_no_rules(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert is_plan_file(path)
    with pytest.raises(PlanFileError, match="is no plan"):
        read_plan(path)


def test_nothing_is_read_of_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with os.fdopen(os.open(path, os.O_RDWR), "r+b", buffering=0) as pipe:
        pipe.write(b"{")
        assert not is_plan_file(path)
        assert not names_a_plan(path)
        assert pipe.read(1) == b"{"


def test_a_plan_among_rules_is_seen(tmp_path: Path) -> None:
    (path := tmp_path / "plan").write_bytes(plan_text(made()))
    assert names_a_plan(path)
    path.write_text("{")
    assert not names_a_plan(path)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (("event a.done", "event c.done"), "was edited after it was made"),
        (('"epoch": 14', '"epoch": 15'), "was edited after it was made"),
        (('"ach_plan": 1', '"ach_plan": 9'), "has format 9, and this release reads 1"),
        (('"files"', '"pages"'), "is no plan"),
        (('"report"', "report"), "is no plan"),
    ],
)
def test_an_edited_plan_is_refused(edit: tuple[str, str], said: str) -> None:
    text = plan_text(made()).decode()
    assert edit[0] in text
    with pytest.raises(PlanFileError, match=said):
        plan_of(text.replace(*edit).encode(), "friday.plan")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanFileError, match=r"gone\.plan cannot be read: No such file"):
        read_plan(tmp_path / "gone.plan")
