"""Streams of the fixture library, fed to sessions event by event."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest

from ach import EventError, load
from dsl.outcome import Subject, Unlock
from dsl.payload import instant
from tests.fixture_library import NOW
from worker.contract.fields import is_array
from worker.contract.sameness import same_body, stored_body
from worker.contract.strict_reader import Rejected, element_of
from worker.engine.replay import Taken

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from ach import Grant, Rules, Session

EVERYTHING = 1 << 40
"""Events to remember: all of them."""


class Sessions:
    """A session for each subject that hears anything, and all grants that feeding has returned."""

    def __init__(self, rules: Rules, *, remember: int, cut: bool = False) -> None:
        self.rules = rules
        self.remember = remember
        self.cut = cut
        self.of: dict[Subject, Session] = {}
        self.fed: list[Grant] = []

    def feed(self, taken: Taken) -> None:
        event = taken.event
        for scope, name in self.rules.ready.deployed.program.subjects(event):
            subject = Subject(event.tenant, scope, name)
            session = self.of.get(subject) or self.rules.subject(*subject, remember=self.remember)
            if self.cut:
                session = self.rules.subject(*subject, state=session.state(), remember=self.remember)
            self.of[subject] = session
            self.fed += session.feed(taken.body, now=NOW)
            assert not self.cut or session.feed(taken.body, now=NOW) == []

    def held(self) -> list[Grant]:
        return [grant for session in self.of.values() for grant in session.grants()]


def taken_of(rules: Rules, lines: Iterable[bytes]) -> Iterator[Taken]:
    """Yield the events of a stream as they arrive, copies too; see that what is no event is refused."""
    first: dict[tuple[str, str], Taken] = {}
    for line in lines:
        for place, one in enumerate(rules.ready.deployed.contract.read_trusted(line, now=NOW)):
            if isinstance(one, Rejected):
                if not is_array(line):
                    with pytest.raises(EventError) as refused:
                        rules.ready.read(line, now=NOW)
                    assert (refused.value.reason, refused.value.detail) == (one.reason.value, one.detail)
                continue
            taken = Taken(one.event, element_of(line, place), 0)
            known = first.setdefault((one.event.tenant, one.event.id), taken)
            if same_body(taken.event, taken.written, stored_body(known.event, known.written)):
                yield taken


def unlocks_of(grants: Iterable[Grant], clock: int) -> list[Unlock]:
    """Return grants in the form of `ach replay`, without those that still settle at a moment."""
    found = [
        Unlock(
            one.tenant_id,
            one.scope,
            one.subject,
            one.achievement,
            one.tier,
            one.occurrence,
            one.version,
            one.earned_at,
        )
        for one in grants
        if one.settles_at is None or _microseconds(one.settles_at) <= clock
    ]
    return sorted(found, key=lambda unlock: unlock.order)


def _microseconds(text: str) -> int:
    found = instant(text)
    assert found is not None
    return found[0]


@cache
def rules_of(path: Path) -> Rules:
    """Return the rules in a file."""
    return load(path)
