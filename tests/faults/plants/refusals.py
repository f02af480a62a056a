"""Planted bugs: what the broker refuses, and which unlocks wait by themselves."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

GATE: Final = ("worker/pipeline/test_refused.py",)

BUGS: Final[tuple[Bug, ...]] = (
    Bug(
        "unlocks_blamed_for_a_lost_connection",
        "while the broker is away, no unlock waits by itself",
        at="Gate.announce",
        old="connected = patiently and self._outlet.connected",
        new="connected = patiently",
        tests=GATE,
    ),
    Bug(
        "fresh_grants_put_off_for_a_failed_round",
        "a fresh grant that could not be announced is left in the outbox",
        at="Gate.announce",
        old="connected = patiently and self._outlet.connected",
        new="connected = self._outlet.connected",
        tests=GATE,
    ),
    Bug(
        "failures_of_days_added_up",
        "only failures in a row are blamed on the unlocks",
        at="Gate.announce",
        old="self.refusals.round_came_through()",
        new="pass",
        tests=GATE,
    ),
    Bug(
        "success_of_fresh_grants_hides_what_fails",
        "what the claims cannot announce is put off, whatever else comes through",
        at="Gate.announce",
        old="if patiently:",
        new="if rows:",
        tests=GATE,
    ),
    Bug(
        "refused_and_not_put_off",
        "what is refused waits by itself",
        at="Gate.announce",
        old="self._put_off(rows, asked, said.refused)",
        new="",
        tests=GATE,
    ),
    Bug(
        "failed_round_put_off_and_not_counted",
        "each refusal counts",
        at="Gate._put_off",
        old="self._stats.refused += 1",
        new="",
        tests=GATE,
    ),
    Bug(
        "whole_round_put_off_for_one_refusal",
        "one refusal holds up no other unlock",
        at="Gate._put_off",
        old="if announced.id not in said:",
        new="if not said:",
        tests=GATE,
    ),
    Bug(
        "known_refusals_wait_for_the_broker",
        "unlocks that are refused already hold up no drain",
        at="Refusals.round_failed",
        old="or all(unlock_id in self for unlock_id in unlocks)",
        new="and all(unlock_id in self for unlock_id in unlocks)",
        tests=GATE,
    ),
    Bug(
        "every_refusal_waits_the_longest",
        "an unlock that is refused is tried again soon at first",
        at="Refusals.put_off",
        old="first=FIRST_SECONDS",
        new="first=LONGEST_SECONDS",
        tests=("worker/engine/test_refusals.py",),
    ),
    Bug(
        "refused_tried_at_the_same_pace_for_ever",
        "an unlock that is refused is tried less and less often",
        at="Refusals.put_off",
        old="if wait is None else wait.further",
        new="if wait is None or wait else wait.further",
        tests=("worker/engine/test_refusals.py",),
    ),
)
