"""`ach docs`: the page of a rule set, written into a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.catalogue.view import catalogue
from worker.report import screen

if TYPE_CHECKING:
    from pathlib import Path

    from worker.rulefiles import RuleSet


def docs_command(rules: RuleSet, folder: Path, title: str) -> bool:
    """Write the page; tell whether that was possible."""
    try:
        from worker.catalogue.page import FILE, render  # noqa: PLC0415 - jinja2 is an extra
    except ImportError:
        screen.fail("`ach docs` needs jinja2, which is not installed", "pip install 'ach[docs]'")
        return False
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(render(catalogue(rules.rules, title)), encoding="utf-8")
    except OSError as error:
        screen.fail(f"{error.filename}: {error.strerror}")
        return False
    achievements = screen.plural(len(rules.rules.achievements), "achievement")
    screen.out().print(f"{path}: {achievements}")
    return True
