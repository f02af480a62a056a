"""Rules, ready for use: loaded once, shared by all sessions of a process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ach.errors import RulesError, ScopeError
from ach.ready import Ready
from ach.session import REMEMBERED, Session
from dsl.compile import USER
from dsl.diagnostics import Severity, render
from dsl.outcome import Subject
from dsl.ruleset import build
from worker.rulefiles import NoRulesError
from worker.rulefiles import load as load_files

if TYPE_CHECKING:
    from os import PathLike

    from dsl.ruleset import RuleSet


class Rules:
    """Rule files that have no errors, made by `load` or `load_text`. Several threads may share it."""

    def __init__(self, ready: Ready) -> None:
        self.ready = ready
        """The rules as the engine has them; not a part of the stable interface."""

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that achievements are of: `user`, `tenant`, or the name of a field."""
        return tuple(self.ready.catalogue.scopes)

    @property
    def achievements(self) -> tuple[str, ...]:
        """The names of all achievements, in the order of the files."""
        return tuple(self.ready.ruleset.rules.achievements)

    def user(self, tenant: str, user: str, *, state: bytes | None = None, remember: int = REMEMBERED) -> Session:
        """Return a session of one user, new or from the `state` of an earlier one.

        `remember` is how many of the latest events are kept one by one.

        Raises:
            StateError: `state` is of other rules, of another user, or damaged.
        """
        return self.subject(tenant, USER, user, state=state, remember=remember)

    def subject(
        self, tenant: str, scope: str, subject: str, *, state: bytes | None = None, remember: int = REMEMBERED
    ) -> Session:
        """Return the same for a subject of any scope, such as a team or a whole tenant.

        Raises:
            ScopeError: no rule is of that scope.
            StateError: as in `user`.
        """
        if scope != USER and scope not in self.scopes:
            raise ScopeError(f"no rule is of the scope {scope!r}; there are {', '.join(self.scopes) or 'none'}")
        return Session(self.ready, Subject(tenant, scope, subject), state=state, remember=remember)


def load(*paths: str | PathLike[str]) -> Rules:
    """Return the rules in files, and in folders with everything below them.

    Raises:
        RulesError: a path does not exist or has no rule file, or the files have errors together.
        OSError: a file cannot be read.
    """
    try:
        return _checked(load_files([Path(path) for path in paths]))
    except NoRulesError as error:
        raise RulesError([str(error)]) from None


def load_text(text: str, *, name: str = "rules.ach") -> Rules:
    """Return the rules in a text; `name` stands for the file in messages.

    Raises:
        RulesError: the text has errors.
    """
    return _checked(build([(name, text.encode())]))


def _checked(ruleset: RuleSet) -> Rules:
    if ruleset.program is None:
        raise RulesError([render(one) for one in ruleset.problems if one.severity is Severity.ERROR])
    return Rules(Ready(ruleset))
