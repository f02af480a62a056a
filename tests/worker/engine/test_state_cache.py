from __future__ import annotations

import pytest

from dsl.outcome import Subject
from worker.engine.state_cache import Hold, StateCache, SubjectState

USER = Subject("t", "user", "u")
OTHER = Subject("t", "user", "other")


def lock(cache: StateCache, partition: int, generation: int, owner: str) -> Hold:
    hold = Hold()
    cache.locked(hold, partition, generation, owner)
    return hold


def cache_with_user() -> tuple[StateCache, SubjectState]:
    """Return a cache that left partition 1 with generation 8, and the state of a user there."""
    cache = StateCache("me", 10)
    hold = lock(cache, 1, 7, "another")
    state = SubjectState(partition=1)
    cache.add_locked(hold, USER, state)
    cache.committed(hold)
    return cache, state


def test_a_state_is_valid_while_generation_and_owner_are_ours() -> None:
    cache, state = cache_with_user()
    assert cache.locked_state(lock(cache, 1, 8, "me"), USER) is state


@pytest.mark.parametrize(("generation", "owner"), [(9, "another"), (8, "another")])
def test_a_state_is_void_after_another_owner_had_the_partition(generation: int, owner: str) -> None:
    cache, _ = cache_with_user()
    assert cache.locked_state(lock(cache, 1, generation, owner), USER) is None


def test_a_state_is_void_after_a_commit_of_ours_whose_outcome_we_did_not_learn() -> None:
    cache, _ = cache_with_user()
    assert cache.locked_state(lock(cache, 1, 9, "me"), USER) is None


def test_a_state_is_void_after_a_failure_though_the_generation_is_the_same() -> None:
    """The attempt that failed has changed the state in place."""
    cache, _ = cache_with_user()
    cache.failed(lock(cache, 1, 8, "me"))
    assert cache.locked_state(lock(cache, 1, 8, "me"), USER) is None


def test_a_state_is_void_after_an_attempt_that_lost_its_lock_and_has_not_ended() -> None:
    """It may have changed the state, and nothing says yet how it ended."""
    cache, _ = cache_with_user()
    lost = lock(cache, 1, 8, "me")
    hold = lock(cache, 1, 8, "me")
    assert cache.locked_state(hold, USER) is None
    cache.add_locked(hold, USER, fresh := SubjectState(partition=1))
    cache.failed(lost)
    cache.committed(hold)
    assert cache.locked_state(lock(cache, 1, 9, "me"), USER) is fresh


def test_an_overtaken_attempt_changes_nothing_when_it_ends() -> None:
    cache, _ = cache_with_user()
    first = lock(cache, 1, 8, "me")
    second = lock(cache, 1, 9, "me")
    cache.add_locked(second, USER, fresh := SubjectState(partition=1))
    cache.add_locked(first, USER, SubjectState(partition=1))
    cache.committed(second)
    cache.committed(first)
    assert cache.locked_state(lock(cache, 1, 10, "me"), USER) is fresh


def test_no_state_is_expected_while_an_attempt_has_the_partition() -> None:
    cache, state = cache_with_user()
    assert cache.expected_state(USER) is state
    hold = Hold()
    cache.reserve(hold, USER, state)
    assert hold.generations == {1: 8}
    assert cache.expected_state(USER) is None
    cache.committed(hold)
    assert cache.expected_state(USER) is state
    cache.failed(lock(cache, 1, 9, "me"))
    assert cache.expected_state(USER) is None


def test_only_a_partition_with_an_expected_generation_is_reserved() -> None:
    cache, state = cache_with_user()
    cache.reserve(Hold(), USER, state)
    with pytest.raises(ValueError, match="expected generation"):
        cache.reserve(Hold(), USER, state)


def test_a_state_read_without_a_lock_is_expected_at_the_same_generation() -> None:
    cache, _ = cache_with_user()
    found = SubjectState(partition=1)
    assert cache.expected_generation(1) == 8
    cache.add_unlocked(OTHER, found, 8)
    assert cache.expected_state(OTHER) is found


def test_a_state_read_without_a_lock_is_dropped_where_an_attempt_of_ours_began_since() -> None:
    """It may have the partition still, have committed, or have failed."""
    cache, _ = cache_with_user()
    hold = lock(cache, 1, 8, "me")
    assert cache.expected_generation(1) is None
    cache.add_unlocked(OTHER, SubjectState(partition=1), 8)
    assert cache.expected_state(OTHER) is None
    cache.committed(hold)
    cache.add_unlocked(OTHER, SubjectState(partition=1), 8)
    assert cache.expected_state(OTHER) is None
    cache.failed(lock(cache, 1, 9, "me"))
    cache.add_unlocked(OTHER, SubjectState(partition=1), 9)
    assert cache.expected_state(OTHER) is None


def test_other_partitions_are_not_touched() -> None:
    cache, state = cache_with_user()
    lock(cache, 2, 5, "another")
    assert cache.locked_state(lock(cache, 1, 8, "me"), USER) is state


def test_the_subject_used_least_recently_goes_first() -> None:
    cache = StateCache("me", 2)
    hold = lock(cache, 1, 0, "")
    names = [Subject("t", "user", name) for name in "abc"]
    cache.add_locked(hold, names[0], SubjectState(partition=1))
    cache.add_locked(hold, names[1], SubjectState(partition=1))
    cache.locked_state(hold, names[0])
    cache.add_locked(hold, names[2], SubjectState(partition=1))
    assert [cache.locked_state(hold, name) is not None for name in names] == [True, False, True]
    assert len(cache) == 2
