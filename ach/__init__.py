"""Achievements inside your own process: rules, a subject's progress, grants. No server is needed.

    import ach

    rules = ach.load("rules/")
    me = rules.user("acme", "ann", state=saved)
    for grant in me.feed(event):
        print(grant.title())
    saved = me.state()

A name is imported when it is first asked for: the command `ach` is below this package, and needs none of them at its
start. `batch` is the worker as a function, for queues that call one. docs/library.md and docs/function.md show both.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ach.errors import (
        AchError,
        DatabaseError,
        EventError,
        LateEventError,
        OtherSubjectError,
        RulesError,
        ScopeError,
        StateError,
    )
    from ach.evaluation import Evaluation, Rejection, evaluate
    from ach.event import Event
    from ach.function import ANY_TENANT, Announcement, BatchResponse, batch, batch_sync
    from ach.grant import Grant, Progress
    from ach.rules import Rules, load, load_text
    from ach.session import Session
    from dsl.outcome import Unlock
    from worker.engine.standing import Status

__all__ = [
    "ANY_TENANT",
    "AchError",
    "Announcement",
    "BatchResponse",
    "DatabaseError",
    "Evaluation",
    "Event",
    "EventError",
    "Grant",
    "LateEventError",
    "OtherSubjectError",
    "Progress",
    "Rejection",
    "Rules",
    "RulesError",
    "ScopeError",
    "Session",
    "StateError",
    "Status",
    "Unlock",
    "batch",
    "batch_sync",
    "evaluate",
    "load",
    "load_text",
]

_EXPORTS: Final = {
    "errors": (
        "AchError",
        "DatabaseError",
        "EventError",
        "LateEventError",
        "OtherSubjectError",
        "RulesError",
        "ScopeError",
        "StateError",
    ),
    "evaluation": ("Evaluation", "Rejection", "Unlock", "evaluate"),
    "event": ("Event",),
    "function": ("ANY_TENANT", "Announcement", "BatchResponse", "batch", "batch_sync"),
    "grant": ("Grant", "Progress", "Status"),
    "rules": ("Rules", "load", "load_text"),
    "session": ("Session",),
}
_MODULES: Final = {name: module for module, names in _EXPORTS.items() for name in names}


def __dir__() -> list[str]:
    return [*globals(), *(name for name in __all__ if name not in globals())]


if not TYPE_CHECKING:  # a type checker would take every name for one that there is

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(f".{_MODULES[name]}", __name__), name)
        globals()[name] = found
        return found
