"""What `ach explain` is asked, and how its answer is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from dsl.diagnostics import nearest
from dsl.explain import Asked, Explanation, MeantError, explain, tiers_of
from dsl.explain.text import render
from worker.report import screen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.event import Event
    from dsl.outcome import Subject
    from dsl.schema import Rules

LISTED: Final = 20
"""Names of achievements that are listed where the one asked for is unknown."""


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

    @property
    def name(self) -> str:
        """The achievement without its tier."""
        return self.achievement.partition(".")[0]

    @property
    def tier(self) -> str | None:
        """The tier, None where none is named."""
        return self.achievement.partition(".")[2] or None


class Contested(msgspec.Struct, frozen=True):
    """An unlock that was granted and is kept, although the events no longer support it; instants as RFC 3339."""

    achievement: str
    tier: str | None
    occurrence: str | None
    earned_at: str
    contested_at: str


class _Answer(msgspec.Struct, frozen=True):
    """What `--format json` prints: one explanation for each tier, and the contested unlocks among those they name."""

    explanations: list[Explanation]
    contested: list[Contested]


class CannotExplainError(Exception):
    """What is asked for is not there; the message says so, and `hint` what is."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def check_named(rules: Rules, request: Request) -> None:
    """Check that the achievement and tier exist.

    Raises:
        CannotExplainError: there is none of that name.
    """
    if request.name not in rules.achievements:
        guess = nearest(request.name, rules.achievements)
        first = sorted(rules.achievements)[:LISTED]
        more = ", ..." if len(rules.achievements) > LISTED else ""
        hint = f"there are: {', '.join(first) or 'none'}{more}" if guess is None else f"did you mean {guess}?"
        raise CannotExplainError(f"there is no achievement {request.name}", hint)
    tiers = tiers_of(rules, request.name)
    if request.tier is not None and request.tier not in tiers:
        named = ", ".join(tier for tier in tiers if tier is not None) or "none"
        raise CannotExplainError(f"{request.name} has no tier {request.tier}", f"its tiers: {named}")


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
        CannotExplainError: there is no such occurrence.
    """
    tiers = tiers_of(rules, request.name) if request.tier is None else [request.tier]
    asked = Asked(subject.tenant_id, subject.subject, request.name, None, request.occurrence, now)
    found, refused = list[Explanation](), list[MeantError]()
    for tier in tiers:
        try:
            found.append(explain(rules, asked._replace(tier=tier), events))
        except MeantError as error:  # another tier may have the occurrence
            refused.append(error)
    if not found:
        raise CannotExplainError(str(refused[0])) from refused[0]
    if request.form == "json":
        screen.say_json(_Answer(found, [*contested]), decimal_format="number")
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


def _kept(subject: str, unlock: Contested) -> str:
    name = unlock.achievement if unlock.tier is None else f"{unlock.achievement}.{unlock.tier}"
    which = name if unlock.occurrence is None else f"{name} [{unlock.occurrence}]"
    earned, since = (text.replace(".000000Z", "Z") for text in (unlock.earned_at, unlock.contested_at))
    return (
        f"contested: {subject} keeps {which}, granted as earned at {earned}; since {since} "
        "the events that have arrived late do not support it; `ach unlocks` lists it, `ach revoke` takes it back"
    )
