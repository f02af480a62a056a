"""Achievements inside your own process: rules, a subject's progress, grants. No server is needed.

    import ach

    rules = ach.load("rules/")
    me = rules.user("acme", "ann", state=saved)
    for grant in me.feed(event):
        print(grant.title())
    saved = me.state()

`batch` is the worker as a function, for queues that call one. docs/library.md and docs/function.md show both.
"""

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
