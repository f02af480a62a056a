"""One subject's progress in this process.

A session folds events as the worker does, and remembers the latest of them one by one behind an older state, the
*base*. So a copy of a remembered event is recognised, and one that comes late is folded in its place. What lies before
the base may be new or a copy: that needs the ledger, which only the worker has.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from ach.errors import EventError, LateEventError, OtherSubjectError, StateError
from ach.grant import grant_of, held_of, progress_of
from ach.memory import Memory, packed, unpacked
from ach.ready import wall_clock
from dsl.calendar import format_instant
from dsl.compile import USER
from dsl.event import Position
from dsl.fold import walk
from worker.contract.sameness import same_body, stored_body
from worker.engine.answer import Facts, Presence, Reader, answer_of
from worker.engine.reconcile import unlock_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ach.event import AnyEvent
    from ach.grant import Grant, Progress
    from ach.ready import Ready
    from dsl.event import Event
    from dsl.outcome import Subject
    from dsl.progress import Grant as Earned
    from dsl.progress import State
    from worker.engine.replay import Taken

REMEMBERED: Final = 32
"""Events that a session keeps one by one, unless it is asked for more or fewer."""


class Session:
    """The progress of one subject; made by `Rules.user` and `Rules.subject`.

    It is not for several threads at once.
    """

    def __init__(self, ready: Ready, subject: Subject, *, state: bytes | None, remember: int) -> None:
        if remember < 0:
            raise ValueError(f"remember: expected 0 or more, got {remember}")
        self._ready = ready
        self._subject = subject
        self._plan = ready.deployed.program.scopes[subject.scope]
        self._remember = remember
        self._memory = Memory() if state is None else unpacked(state, subject, self._plan)
        self._tail = self._read(self._memory.tail)
        self._known = {one.event.id: one for one in self._tail}
        self._state, self._earned = self._folded(self._tail)

    @property
    def tenant_id(self) -> str:
        """The tenant."""
        return self._subject.tenant_id

    @property
    def scope(self) -> str:
        """`user`, `tenant`, or the name of a field."""
        return self._subject.scope

    @property
    def subject(self) -> str:
        """The user id, the tenant id, or the value of the field."""
        return self._subject.subject

    def feed(self, event: AnyEvent, *, now: int | None = None) -> list[Grant]:
        """Take one event; return what the subject has earned by it, and had not before.

        A copy of an event that is remembered earns nothing, and neither does one of a type that no rule of the scope
        counts. `now` in microseconds is what the future is measured by; the clock where it is not given.

        Raises:
            EventError: it is no event, or another event with the same id is remembered. Nothing has changed.
            OtherSubjectError: it belongs to another subject. Nothing has changed.
            LateEventError: it lies before all that is remembered. Nothing has changed.
        """
        taken = self._ready.read(event, now=now)
        if not self._is_mine(taken.event) or self._is_known(taken):
            return []
        before = {unlock_id(self._subject, one) for one in self._earned}
        self._take(taken)
        fresh = [one for one in self._earned if unlock_id(self._subject, one) not in before]
        grants = [grant_of(self._ready.catalogue, self._subject, one) for one in fresh]
        self._forget_some()
        return grants

    def grants(self) -> list[Grant]:
        """Return what the remembered events have earned, in their order.

        A late event may move a grant, or take one back that is not final: compare this with what was shown before.
        """
        return [grant_of(self._ready.catalogue, self._subject, one) for one in self._earned]

    def progress(
        self, languages: Sequence[str] = (), *, as_user: bool = True, now: int | None = None
    ) -> list[Progress]:
        """Return where the subject stands with every achievement and tier, as the read API shows it.

        `languages` are tags of BCP 47, the best first. With `as_user`, what `reveal` hides is left out. `now` in
        microseconds is the moment that the answer speaks of; the clock where it is not given.
        """
        at = wall_clock() if now is None else now
        catalogue = self._ready.catalogue
        earned = [*(grant for one in self._memory.kept for grant in one.latest), *self._earned]
        more = {(one.achievement, one.tier or None): one.more for one in self._memory.kept}
        facts = Facts(
            subject=self._subject,
            presence=Presence.UNKNOWN if self._state.mark is None else Presence.KNOWN,
            state=self._state,
            unlocks=held_of(catalogue, self._subject, earned, at),
            shown=frozenset(),
            mark="",
            building=False,
            clock=at,
        )
        answer = answer_of(catalogue, facts, Reader(tuple(languages), as_user=as_user), at)
        first = catalogue.rules.renames.first
        return [progress_of(one, more.get((first(one.achievement), one.tier), 0)) for one in answer.standing.items]

    def state(self) -> bytes:
        """Return all that the session remembers, for `Rules.user` and `Rules.subject` under the same rules.

        It is not signed: keep it where users cannot write.
        """
        return packed(self._memory, self._subject, self._plan, [one.body for one in self._tail])

    # -- what an event is to this session --

    def _is_mine(self, event: Event) -> bool:
        """Tell whether the plan of the subject's scope counts the event."""
        mine, program = self._subject, self._ready.deployed.program
        if mine.scope == USER and event.tenant == mine.tenant_id and mine.subject in program.roles.named(event):
            return self._plan.roles.seen_by(event, mine.subject).type in self._plan.types
        named = {scope: name for scope, name in program.subjects(event) if scope != USER or name == event.user}
        whose = event.user if mine.scope == USER else named.get(mine.scope, mine.subject)
        if (event.tenant, whose) != (mine.tenant_id, mine.subject):
            raise OtherSubjectError(
                f"event {event.id} is of {mine.scope} {whose!r} of tenant {event.tenant!r};"
                f" this session is of {mine.subject!r} of {mine.tenant_id!r}"
            )
        return mine.scope in named

    def _is_known(self, taken: Taken) -> bool:
        """Tell whether the event was taken before."""
        event = taken.event
        known = self._known.get(event.id)
        if known is not None:
            if same_body(event, taken.written, stored_body(known.event, known.written)):
                return True
            raise EventError("id_conflict", f"event_id: {event.id} is known with another body")
        mark, position = self._memory.mark, Position(event.at, event.id)
        if mark is None or position > mark:
            return False
        if position == mark:
            return True
        raise LateEventError(
            f"event {event.id} occurred at {format_instant(event.at)}, before {format_instant(mark.at)}: the session"
            " remembers no single event that old, and cannot tell whether it has this one already"
        )

    # -- what it does --

    def _read(self, bodies: Sequence[bytes]) -> list[Taken]:
        """Return the events that a stored state remembers."""
        try:
            tail = self._ready.read_again(bodies)
            mine = all(self._is_mine(one.event) for one in tail)
        except (EventError, OtherSubjectError) as error:
            raise StateError(f"the state remembers an event that does not belong to it: {error}") from None
        places = [*([] if self._memory.mark is None else [self._memory.mark]), *map(_place, tail)]
        if not mine or any(one >= other for one, other in pairwise(places)):
            raise StateError("the state remembers events that no session has left so")
        return tail

    def _take(self, taken: Taken) -> None:
        late = bool(self._tail) and _place(taken) < _place(self._tail[-1])
        at = bisect_left(self._tail, _place(taken), key=_place) if late else len(self._tail)
        try:
            if late:
                self._state, self._earned = self._folded([*self._tail[:at], taken, *self._tail[at:]])
            else:
                self._earned += walk(self._plan, self._state, (self._seen(taken),))
        except Exception as error:
            self._state, self._earned = self._folded(self._tail)
            raise EventError("defect", f"{taken.event.id}: {type(error).__name__}: {error}") from error
        self._tail.insert(at, taken)
        self._known[taken.event.id] = taken

    def _seen(self, taken: Taken) -> Event:
        """Return an event as it is in the history of the subject."""
        event, mine = taken.event, self._subject
        return self._plan.roles.seen_by(event, mine.subject) if mine.scope == USER else event

    def _folded(self, tail: Iterable[Taken]) -> tuple[State, list[Earned]]:
        """Return the base with events on top of it, and what they have earned."""
        state = self._memory.base()
        return state, walk(self._plan, state, [self._seen(one) for one in tail])

    def _forget_some(self) -> None:
        """Move the base behind the oldest of the remembered events, when there are twice as many as wanted."""
        surplus = len(self._tail) - self._remember
        if surplus <= self._remember and self._remember:
            return
        old, self._tail = self._tail[:surplus], self._tail[surplus:]
        for one in old:
            del self._known[one.event.id]
        base, earned = self._folded(old)
        self._memory = self._memory.moved(base, earned)
        # What is earned comes in the order of the events that earn it.
        self._earned = self._earned[len(earned) :]


def _place(taken: Taken) -> Position:
    return Position(taken.event.at, taken.event.id)
