"""Rules that were in force before: by what states that they have folded are carried over to the rules in force. Pure.

The stamp of a state names the plan that folded it and the epoch from which that was in force. So the plans of all
epochs since then are compared (`dsl/carry.py`). They are compiled once they are needed, from the files on record.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from dsl.carry import Carriage, carry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dsl.compile import Plan, Program

FORMER: Final = 32
"""Epochs that are looked back. A state of an earlier one is void, and its subject is folded again."""
AGED: Final = 24
"""Epochs behind which a state is written anew though nothing has changed for it, lest it become void."""


def epoch_of(stamp: str) -> int:
    """Return the epoch that a stamp names; 0 where it names none."""
    _, _, number = stamp.rpartition("@")
    return int(number) if number.isdecimal() else 0


class Former:
    """What is known of the rules before those of an epoch."""

    def __init__(self, epoch: int, program: Program) -> None:
        self._epoch = epoch
        self._programs: dict[int, Program | None] = {epoch: program}
        """By epoch; None where this release refuses the files."""
        self._carriages: dict[tuple[str, str], Carriage | None] = {}

    def adopt(self, other: Former) -> None:
        """Take over programs that are compiled already."""
        known = {epoch: program for epoch, program in other._programs.items() if self._near(epoch)}
        self._programs = {**known, **self._programs}

    def needed(self, stamps: Iterable[str]) -> list[int]:
        """Return the epochs whose rules have to be added before states of some stamps can be carried."""
        epochs = [epoch for stamp in stamps if self._near(epoch := epoch_of(stamp))]
        if not epochs:
            return []
        return [epoch for epoch in range(min(epochs), self._epoch) if epoch not in self._programs]

    def add(self, epoch: int, program: Program | None) -> None:
        """Note the rules of an epoch; None where they cannot be compiled any more."""
        self._programs[epoch] = program

    def knows(self, scope: str, stamp: str) -> bool:
        """Tell whether it is known how states of a stamp are carried, or that they are void."""
        return (scope, stamp) in self._carriages

    def aged(self, stamp: str) -> bool:
        """Tell whether a stamp is so old that it will soon be void."""
        return epoch_of(stamp) <= self._epoch - AGED

    def carriage(self, scope: str, stamp: str) -> Carriage | None:
        """Return how states of a stamp are carried; None where they are void, or the rules since then are `needed`."""
        key = scope, stamp
        if key not in self._carriages:
            if self.needed([stamp]):
                return None
            self._carriages[key] = self._compare(scope, stamp)
        return self._carriages[key]

    def _near(self, epoch: int) -> bool:
        return self._epoch - FORMER <= epoch < self._epoch and epoch > 0

    def _compare(self, scope: str, stamp: str) -> Carriage | None:
        since = epoch_of(stamp)
        if not self._near(since) and since != self._epoch:
            return None
        plans: list[Plan] = []
        for epoch in range(since, self._epoch + 1):
            program = self._programs.get(epoch)
            plan = None if program is None else program.scopes.get(scope)
            if plan is None:
                return None
            plans.append(plan)
        if plans[0].fingerprint != stamp.rpartition("@")[0]:
            return None
        changes = [plans[0], *(after for before, after in pairwise(plans) if before.fingerprint != after.fingerprint)]
        carriage = carry([*changes[:-1], plans[-1]] if len(changes) > 1 else [plans[0], plans[-1]])
        return None if carriage.void else carriage
