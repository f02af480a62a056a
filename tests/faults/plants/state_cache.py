"""Planted bugs: the state cache, and late events that it takes in place."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

LATE: Final = ("property/test_late.py",)
CACHE: Final = "worker/engine/test_state_cache.py"
MACHINE: Final = "worker/engine/test_state_cache_machine.py"
PROTOCOL: Final = "faults/test_protocol.py"

BUGS: Final[tuple[Bug, ...]] = (
    # -- the states that writers share --
    Bug(
        "memory_valid_while_another_attempt_is_under_way",
        "no other batch reads what an attempt may have changed before it ends",
        at="StateCache.locked",
        old="if known.left != generation or owner != self.owner:",
        new="if known.hold is None and (known.left != generation or owner != self.owner):",
        tests=(CACHE,),
    ),
    Bug(
        "expected_while_another_attempt_is_under_way",
        "no other batch reads what an attempt may have changed before it ends",
        at="StateCache.expected_state",
        old="state.era == partition.era and partition.left is not None",
        new="state.era == partition.era",
        tests=(CACHE,),
    ),
    Bug(
        "late_word_of_a_commit_taken_for_the_last",
        "an overtaken attempt changes nothing when it ends",
        at="StateCache._release",
        old="if partition.hold is hold]",
        new="if partition.hold is not None]",
        tests=(CACHE,),
    ),
    Bug(
        "cached_states_valid_at_any_generation",
        "a cached state is valid only at the generation that we left",
        at="StateCache.locked",
        old="known.left != generation or owner != self.owner",
        new="owner != self.owner",
        tests=(MACHINE,),
    ),
    Bug(
        "cached_states_of_an_earlier_era_expected",
        "a state that became void stays void",
        at="StateCache.expected_state",
        old="state.era == partition.era and partition.left is not None",
        new="partition.left is not None",
        tests=(MACHINE,),
    ),
    Bug(
        "cached_states_of_an_earlier_era_read_under_a_lock",
        "a state that became void stays void",
        at="StateCache.locked_state",
        old="state is None or state.era != hold.eras[state.partition]",
        new="state is None",
        tests=(MACHINE,),
    ),
    Bug(
        "generation_expected_while_an_attempt_has_the_partition",
        "no other batch reads what an attempt may have changed before it ends",
        at="_Partition.take",
        old="self.left, self.hold = None, hold",
        new="self.hold = hold",
        tests=(MACHINE,),
    ),
    Bug(
        "commit_expected_at_the_generation_that_was_found",
        "a commit raises the generation of its partitions",
        at="StateCache.committed",
        old="hold.generations[number] + 1",
        new="hold.generations[number]",
        tests=(MACHINE,),
    ),
    Bug(
        "failed_attempt_taken_for_committed",
        "an attempt of unknown outcome leaves nothing that is expected",
        at="StateCache.failed",
        old="self._release(hold)",
        new="self.committed(hold)",
        tests=(MACHINE,),
    ),
    Bug(
        "overtaken_attempt_adds_states",
        "an overtaken attempt adds no state",
        at="StateCache.add_locked",
        old="state.era = hold.eras[state.partition]",
        new="state.era = self._partitions[state.partition].era",
        tests=(MACHINE,),
    ),
    Bug(
        "reserved_partition_is_not_held",
        "a reserved partition belongs to one attempt",
        at="StateCache.reserve",
        old="partition.take(hold, state.partition, partition.left)",
        new="hold.generations[state.partition] = partition.left",
        tests=(MACHINE,),
    ),
    # -- late events in place --
    Bug(
        "checkpoints_kept_that_missed_what_was_absorbed",
        "a checkpoint that has not seen a late event is forgotten",
        at="saved_columns",
        old="position_columns(writes.absorbed)",
        new="position_columns({})",
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
