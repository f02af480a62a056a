from __future__ import annotations

from dsl.outcome import Subject
from worker.standing import Memory, Standing

WHO = Subject("t", "user", "u")


def remembered() -> tuple[Memory, Standing]:
    memory = Memory("me", 10)
    memory.admit(1, 7, "somebody")
    standing = Standing(partition=1)
    memory.keep(WHO, standing)
    memory.committed({1: 7})
    return memory, standing


def test_valid_while_the_mark_is_our_own() -> None:
    memory, standing = remembered()
    memory.admit(1, 8, "me")
    assert memory.recall(WHO) is standing


def test_void_when_somebody_else_was_there() -> None:
    memory, _ = remembered()
    memory.admit(1, 9, "somebody")
    assert memory.recall(WHO) is None


def test_void_when_we_were_there_and_do_not_know_it() -> None:
    # A commit of unknown outcome that did take place.
    memory, _ = remembered()
    memory.admit(1, 9, "me")
    assert memory.recall(WHO) is None


def test_void_after_a_failure_even_where_nothing_has_moved() -> None:
    # The state was changed in place by the batch that failed.
    memory, _ = remembered()
    memory.admit(1, 8, "me")
    memory.failed([1])
    memory.admit(1, 8, "me")
    assert memory.recall(WHO) is None


def test_other_partitions_are_not_touched() -> None:
    memory, standing = remembered()
    memory.admit(2, 5, "somebody")
    memory.admit(1, 8, "me")
    assert memory.recall(WHO) is standing


def test_who_was_not_touched_for_longest_goes_first() -> None:
    memory = Memory("me", 2)
    memory.admit(1, 0, "")
    names = [Subject("t", "user", name) for name in "abc"]
    memory.keep(names[0], Standing(partition=1))
    memory.keep(names[1], Standing(partition=1))
    memory.recall(names[0])
    memory.keep(names[2], Standing(partition=1))
    assert [memory.recall(name) is not None for name in names] == [True, False, True]
    assert len(memory) == 2
