"""What a check says. Pure.

A check is a pure function of facts that have been gathered, with a name. It judges one setting, and says in one
sentence what is there; where that is no good, a command mends it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F")


class Level(StrEnum):
    """How good what was found is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    NOT_CHECKED = "not checked"
    """Something that had to be known before is not."""


class Verdict(NamedTuple):
    """What one check says; `mend` is a command, "" where there is nothing to mend or no command does."""

    level: Level
    said: str
    mend: str = ""


class Check(NamedTuple, Generic[F]):
    """One check of facts of a kind."""

    name: str
    judge: Callable[[F], Verdict]
    refuses: bool = True
    """Whether a worker does not start where this check finds an error."""


class Finding(NamedTuple):
    """What one check says about one thing."""

    check: str
    level: Level
    said: str
    mend: str
    refuses: bool


class Unknown(NamedTuple):
    """Takes the place of facts that could not be gathered, and says why.

    If something before has failed, which has a line of its own, the level is NOT_CHECKED.
    """

    said: str
    level: Level = Level.NOT_CHECKED
    mend: str = ""
    refuses: bool = False


def ok(said: str) -> Verdict:
    """Return that all is well."""
    return Verdict(Level.OK, said)


def warning(said: str, mend: str = "") -> Verdict:
    """Return that something is unsafe, slow or old, while the guarantees hold."""
    return Verdict(Level.WARNING, said, mend)


def error(said: str, mend: str = "") -> Verdict:
    """Return that a guarantee does not hold, or that a worker cannot work."""
    return Verdict(Level.ERROR, said, mend)


def judged(area: str, checks: tuple[Check[F], ...], facts: F | Unknown) -> list[Finding]:
    """Return what checks say about facts; of facts that are unknown, why they are, in one line for all checks."""
    if isinstance(facts, Unknown):
        said = f"not checked: {facts.said}" if facts.level is Level.NOT_CHECKED else facts.said
        where = f"{area} {checks[0].name}" if len(checks) == 1 else area
        return [Finding(where, facts.level, said, facts.mend, facts.refuses)]
    return [Finding(f"{area} {one.name}", *one.judge(facts), refuses=one.refuses) for one in checks]
