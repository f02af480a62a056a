"""`ach docs`: the page of a rule set, written into a folder."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from worker.catalogue.view import catalogue
from worker.commands.checked_rules import usable_rules
from worker.commands.options import PATHS, json_object_option, rules_argument
from worker.distribution import install
from worker.report import screen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dsl.ruleset import RuleSet


@click.command("docs")
@rules_argument
@click.option("--output", "-o", "folder", required=True, metavar="DIR", type=PATHS, help="Folder for index.html.")
@click.option("--title", default="Achievements", show_default=True, help="Heading of the page.")
@json_object_option
def command(paths: Sequence[Path], folder: Path, title: str, *, as_json: bool) -> None:
    """Write a page that shows a rule set to people: achievements in words, tiers, rewards, events.

    One HTML file without script or assets, for a screen in light or dark and for paper.
    """
    sys.exit(0 if _write(usable_rules(paths), folder, title, as_json=as_json) else 1)


def _write(rules: RuleSet, folder: Path, title: str, *, as_json: bool) -> bool:
    """Write the page; return whether that was possible."""
    try:
        from worker.catalogue.page import FILE, render
    except ImportError:
        screen.fail("`ach docs` needs jinja2, which is not installed", install("docs"))
        return False
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(render(catalogue(rules.rules, title)), encoding="utf-8")
    except OSError as error:
        screen.fail(f"{error.filename}: {error.strerror}")
        return False
    number = len(rules.rules.achievements)
    if as_json:
        screen.say_json({"file": str(path), "achievements": number})
    else:
        screen.out().print(f"{path}: {screen.plural(number, 'achievement')}")
    return True
