"""The table of what was measured: one row a kind of fault, and a long run is not replaced by a quick one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.faults import tally
from tests.faults.tally import BEGIN, END, Tally, filled, latest, read

PAGE = f"# Page\n\n{BEGIN}\n\n{tally.HEAD}\n\n{END}\n\nThe end.\n"


def one(what: str, said: str, form: str = "quick") -> Tally:
    return Tally(what, said, form, 12.3, "2026-11-23", "tests/faults/test_x.py::test_y[z]")


def rows(page: str) -> list[str]:
    return [line for line in page.splitlines() if re.match(r"\| (?!what)\w", line)]


def test_a_result_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv("ACH_FAULTS_LOG", str(log))
    tally.tell("kills", "30")
    monkeypatch.setenv("ACH_FAULTS", "long")
    tally.tell("kills", "1000")
    first, second = read(log.read_text("utf-8"))
    assert (first.what, first.said, first.form, second.form) == ("kills", "30", "quick", "long")
    assert first.test.endswith("test_a_result_is_kept")


def test_a_row_each() -> None:
    page = filled(PAGE, latest([one("kills", "30"), one("cuts", "300"), one("kills", "31")]))
    assert rows(page) == [
        "| cuts | 300 | quick, 12 s, 2026-11-23 | `test_x.py::test_y` |",
        "| kills | 31 | quick, 12 s, 2026-11-23 | `test_x.py::test_y` |",
    ]
    assert page.startswith("# Page")
    assert page.endswith("The end.\n")
    assert filled(page, {}) == page


def test_a_long_run_is_not_replaced_by_a_quick_one() -> None:
    page = filled(PAGE, latest([one("kills", "1000", "long"), one("kills", "30")]))
    page = filled(page, latest([one("kills", "31")]))
    assert "| kills | 1000 | long" in page
    assert "| kills | 1001 | long" in filled(page, latest([one("kills", "1001", "long")]))


def test_a_page_without_markers() -> None:
    with pytest.raises(ValueError, match="no markers"):
        filled("# Page", {})


def test_the_page_of_guarantees_can_be_filled() -> None:
    page = (Path(__file__).parents[2] / "docs" / "guarantees.md").read_text("utf-8")
    assert filled(page, {}) == page
