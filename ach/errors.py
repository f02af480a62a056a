"""What can go wrong, each with a message for the person who has to mend it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class AchError(Exception):
    """The base of all errors that this package raises on purpose."""


class RulesError(AchError, ValueError):
    """Rule files are missing or have errors; `problems` holds each as one line, `file:line:column: ...`."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class ScopeError(AchError, LookupError):
    """No rule is of a scope."""


class EventError(AchError, ValueError):
    """What was given is no event: a worker would make a dead letter of it.

    `reason` is that of the dead letter, such as `contract`; `detail` names the field.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class OtherSubjectError(AchError, ValueError):
    """The event belongs to another subject than the session does."""


class LateEventError(AchError):
    """The event lies before everything that the session remembers one by one.

    It may be new, or a copy of one that was folded long ago: the session cannot tell. The session has not changed. The
    worker has all events and decides it.
    """


class StateError(AchError, ValueError):
    """Stored bytes are no state for this subject under these rules: begin again from the subject's events."""


class DatabaseError(AchError):
    """The database of a function cannot be used: an operator has to act, and the message says how."""
