"""The rules that a command is given: read, checked, and refused where a command cannot use rules with errors."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from dsl.check.names import achievements_begun, families
from dsl.check.unlocks import check_names
from worker.report import screen
from worker.rulefiles import NoRulesError, load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dsl.ruleset import RuleSet


def read_rules(paths: Sequence[Path]) -> RuleSet:
    """Read rule files; their problems are part of what is returned.

    Raises:
        click.UsageError: a file is missing or cannot be read.
    """
    try:
        return load(paths)
    except NoRulesError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.UsageError(f"{error.filename}: {error.strerror}") from error


def usable_rules(paths: Sequence[Path]) -> RuleSet:
    """Read rule files without errors; print the errors and end the command where there are any."""
    rules = read_rules(paths)
    if reserved := check_names(rules.files):
        rules = rules._replace(problems=(*rules.problems, *reserved))
    if rules.errors:
        print_problems(rules)
        screen.fail("the rules have errors; nothing was done")
        sys.exit(1)
    return rules


def print_problems(rules: RuleSet) -> None:
    """Print every problem, and how many there are."""
    for problem in rules.problems:
        screen.show_problem(problem)
    warnings = len(rules.problems) - rules.errors
    achievements = set[str]().union(*(achievements_begun(file) for file in rules.files))
    achievements = (achievements - families(rules.files)) | rules.rules.achievements.keys()
    named = f"{screen.plural(len(rules.files), 'file')}, {screen.plural(len(achievements), 'achievement')}"
    if not rules.problems:
        screen.out().print(f"{named}: no problems")
    else:
        found = f"{screen.plural(rules.errors, 'error')}, {screen.plural(warnings, 'warning')}"
        screen.out().print(f"{named}: {found}")
