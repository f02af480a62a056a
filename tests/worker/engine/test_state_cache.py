from __future__ import annotations

from dsl.outcome import Subject
from worker.engine.state_cache import Hold, StateCache, SubjectState

WHO = Subject("t", "user", "u")


def admitted(memory: StateCache, partition: int, generation: int, owner: str) -> Hold:
    hold = Hold()
    memory.admit(hold, partition, generation, owner)
    return hold


def remembered() -> tuple[StateCache, SubjectState]:
    memory = StateCache("me", 10)
    hold = admitted(memory, 1, 7, "somebody")
    standing = SubjectState(partition=1)
    memory.keep(hold, WHO, standing)
    memory.committed(hold)
    return memory, standing


def test_valid_while_the_mark_is_our_own() -> None:
    memory, standing = remembered()
    assert memory.recall(admitted(memory, 1, 8, "me"), WHO) is standing


def test_void_when_somebody_else_was_there() -> None:
    memory, _ = remembered()
    assert memory.recall(admitted(memory, 1, 9, "somebody"), WHO) is None


def test_void_when_we_were_there_and_do_not_know_it() -> None:
    # A commit of unknown outcome that did take place.
    memory, _ = remembered()
    assert memory.recall(admitted(memory, 1, 9, "me"), WHO) is None


def test_void_after_a_failure_even_where_nothing_has_moved() -> None:
    # The state was changed in place by the batch that failed.
    memory, _ = remembered()
    memory.failed(admitted(memory, 1, 8, "me"))
    assert memory.recall(admitted(memory, 1, 8, "me"), WHO) is None


def test_void_while_another_attempt_of_ours_has_not_ended() -> None:
    # Its connection is gone, and its lock with it: it may have changed the state, and nothing tells what it left.
    memory, _ = remembered()
    lost = admitted(memory, 1, 8, "me")
    hold = admitted(memory, 1, 8, "me")
    assert memory.recall(hold, WHO) is None
    memory.keep(hold, WHO, anew := SubjectState(partition=1))
    memory.failed(lost)
    memory.committed(hold)
    assert memory.recall(admitted(memory, 1, 9, "me"), WHO) is anew


def test_who_hears_late_of_a_commit_does_not_speak_for_the_next_one() -> None:
    memory, _ = remembered()
    first = admitted(memory, 1, 8, "me")
    second = admitted(memory, 1, 9, "me")
    memory.keep(second, WHO, anew := SubjectState(partition=1))
    memory.keep(first, WHO, SubjectState(partition=1))
    memory.committed(second)
    memory.committed(first)
    assert memory.recall(admitted(memory, 1, 10, "me"), WHO) is anew


def test_nobody_is_expected_while_an_attempt_is_under_way() -> None:
    memory, standing = remembered()
    assert memory.expect(WHO) is standing
    hold = Hold()
    memory.presume(hold, WHO, standing)
    assert hold.generations == {1: 8}
    assert memory.expect(WHO) is None
    memory.committed(hold)
    assert memory.expect(WHO) is standing
    memory.failed(admitted(memory, 1, 9, "me"))
    assert memory.expect(WHO) is None


def test_who_was_found_without_a_lock_is_expected_where_nothing_has_moved_since() -> None:
    memory, _ = remembered()
    other, found = Subject("t", "user", "other"), SubjectState(partition=1)
    generation = memory.current(1)
    assert generation == 8
    memory.introduce(other, found, generation)
    assert memory.expect(other) is found


def test_who_was_found_without_a_lock_is_not_where_something_has_moved() -> None:
    """Our own other writer may have been there meanwhile, and have committed, or be under way, or have failed."""
    memory, _ = remembered()
    other = Subject("t", "user", "other")
    hold = admitted(memory, 1, 8, "me")
    assert memory.current(1) is None
    memory.introduce(other, SubjectState(partition=1), 8)
    assert memory.expect(other) is None
    memory.committed(hold)
    memory.introduce(other, SubjectState(partition=1), 8)
    assert memory.expect(other) is None
    memory.failed(admitted(memory, 1, 9, "me"))
    memory.introduce(other, SubjectState(partition=1), 9)
    assert memory.expect(other) is None


def test_other_partitions_are_not_touched() -> None:
    memory, standing = remembered()
    admitted(memory, 2, 5, "somebody")
    assert memory.recall(admitted(memory, 1, 8, "me"), WHO) is standing


def test_who_was_not_touched_for_longest_goes_first() -> None:
    memory = StateCache("me", 2)
    hold = admitted(memory, 1, 0, "")
    names = [Subject("t", "user", name) for name in "abc"]
    memory.keep(hold, names[0], SubjectState(partition=1))
    memory.keep(hold, names[1], SubjectState(partition=1))
    memory.recall(hold, names[0])
    memory.keep(hold, names[2], SubjectState(partition=1))
    assert [memory.recall(hold, name) is not None for name in names] == [True, False, True]
    assert len(memory) == 2
