"""Planted bugs: the state cache, and late events that it takes in place."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

LATE: Final = ("property/test_late.py",)
PROTOCOL: Final = "faults/test_protocol.py"

BUGS: Final[tuple[Bug, ...]] = (
    # -- the state that writers share --
    Bug(
        "memory_valid_while_another_attempt_is_under_way",
        "no other batch reads what an attempt may have changed before it ends",
        at="StateCache.admit",
        old="""
            known = owner == self.owner and self._written.pop(partition, None) == generation
            if not known or partition in self._holds:
            """,
        new="""
            known = owner == self.owner and self._written.get(partition) == generation
            if not known:
            """,
        tests=("worker/engine/test_state_cache.py",),
    ),
    Bug(
        "expected_while_another_attempt_is_under_way",
        "no other batch reads what an attempt may have changed before it ends",
        at="StateCache.expect",
        old="current = standing.since == self._lives[partition] and partition in self._written",
        new="current = standing.since == self._lives[partition]",
        tests=("worker/engine/test_state_cache.py",),
    ),
    Bug(
        "late_word_of_a_commit_taken_for_the_last",
        "who hears late of a commit does not speak for the next one",
        at="StateCache._ended",
        old="mine = [partition for partition in hold.generations if self._holds.get(partition) is hold]",
        new="mine = [partition for partition in hold.generations if partition in self._holds]",
        tests=("worker/engine/test_state_cache.py",),
    ),
    # -- late events in place --
    Bug(
        "checkpoints_kept_that_missed_what_was_absorbed",
        "a checkpoint that has not seen a late event is forgotten",
        at="move_in_place",
        old="""
            if late:
                attempt.absorbed[subject] = first
            """,
        new="",
        tests=(f"{PROTOCOL}::test_checkpoints_that_have_not_seen_what_was_absorbed",),
    ),
    Bug(
        "absorbed_without_asking_the_judges",
        "what is absorbed moves no grant",
        at="_absorb",
        old="return all(stays(state, position) for stays in entry.late.judges)",
        new="return True",
        tests=LATE,
    ),
    Bug(
        "absorbed_though_it_repeats",
        "what is absorbed moves no occurrence",
        at="Judge.late",
        old="""
            if self.version.repeat is not None:
                return None
            """,
        new="",
        tests=LATE,
    ),
    Bug(
        "half_absorbed",
        "what cannot be absorbed leaves no trace",
        at="_taken_back",
        old="""
            for undo in reversed(taken):
                undo(state)
            """,
        new="",
        tests=LATE,
    ),
    Bug(
        "sequence_absorbs_whatever_it_lifts",
        "what is absorbed lifts no sequence",
        at="Sequences.late",
        old="return None if done is None or done < highest else nothing",
        new="return None if done is None else nothing",
        tests=(f"{LATE[0]}::test_what_lifts_the_start_of_a_sequence_is_not_absorbed",),
    ),
)
