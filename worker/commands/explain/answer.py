"""What `ach explain` is asked, and how its answer is printed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dsl.explain.text import render
from dsl.outcome import full_name
from worker.engine.why import CannotExplainError, Question, Why, explained, tiers_asked_for
from worker.report import screen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.event import Event
    from dsl.explain import Explanation
    from dsl.outcome import Subject
    from dsl.schema import Rules
    from worker.engine.why import Contested


class Request(msgspec.Struct, frozen=True):
    """What is asked. `now` in microseconds, None for the latest instant there is; `clock` is the wall clock."""

    subject: str
    achievement: str
    clock: int
    tenant: str | None = None
    occurrence: str | None = None
    now: int | None = None
    form: str = "text"
    events: int = 20
    html: Path | None = None
    """The file for a page; None prints instead."""

    @property
    def name(self) -> str:
        """The achievement without its tier."""
        return self.achievement.partition(".")[0]

    @property
    def tier(self) -> str | None:
        """The tier, None where none is named."""
        return self.achievement.partition(".")[2] or None

    @property
    def question(self) -> Question:
        """What is asked of the subject."""
        return Question(self.name, self.tier, self.occurrence)


def print_answer(
    rules: Rules,
    subject: Subject,
    events: Sequence[Event],
    request: Request,
    now: int,
    contested: Sequence[Contested] = (),
) -> None:
    """Print an explanation of each tier asked for, and the contested unlocks among those that it names.

    Raises:
        CannotExplainError: there is no such occurrence, or the page cannot be written.
    """
    if not events:
        who = f"{subject.scope} {subject.subject!r} of tenant {subject.tenant_id!r}"
        screen.err().say(f"the rules have heard no event of {who}: this is how it begins")
    found = explained(rules, subject, request.question, tiers_asked_for(rules, request.question), events, now)
    if request.html is not None:
        _write(request.html, found, [_kept(subject.subject, one) for one in contested], as_json=request.form == "json")
        return
    if request.form == "json":
        screen.say_json(Why(found, [*contested]), decimal_format="number")
        return
    console = screen.out()
    for number, each in enumerate(found):
        if number:
            console.print()
        head, *rest = render(each, events=request.events)
        console.say(head, style="bold")
        for line in rest:
            console.say(line)
    for kept in contested:
        console.print()
        console.say(_kept(subject.subject, kept), style="yellow")


def _write(path: Path, found: Sequence[Explanation], kept: Sequence[str], *, as_json: bool) -> None:
    from worker.report.explain_page import page  # noqa: PLC0415 - rich measures its texts, and takes time to import

    try:
        path.write_text(page(found, kept), encoding="utf-8")
    except OSError as error:
        raise CannotExplainError(f"{path}: {error.strerror}", "name a file in a folder that is there") from error
    if as_json:
        screen.say_json({"file": str(path), "explanations": len(found)})
    else:
        screen.out().say(f"{path}: {screen.plural(len(found), 'explanation')}")


def _kept(subject: str, unlock: Contested) -> str:
    which = full_name(unlock.achievement, unlock.tier, unlock.occurrence)
    earned, since = (text.replace(".000000Z", "Z") for text in (unlock.earned_at, unlock.contested_at))
    return (
        f"contested: {subject} keeps {which}, granted as earned at {earned}; since {since} "
        "the events that have arrived late do not support it; `ach unlocks` lists it, `ach revoke` takes it back"
    )
