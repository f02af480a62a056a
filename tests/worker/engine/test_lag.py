from __future__ import annotations

from worker.engine.lag import MOST_PENDING, Lag, Position


def replica(
    received: int | None, replayed: int, since_commit: float | None = 900.0, *, following: bool = True
) -> Position:
    return Position(True, following, received, replayed, since_commit)


def test_a_primary_is_never_behind() -> None:
    lag = Lag()
    assert lag.seconds(5.0) == 0
    lag.see(Position(False, False, None, None, None), 10.0)
    assert lag.seconds(10.5) == 0.5


def test_an_idle_replica_is_up_to_date_although_the_last_commit_is_long_ago() -> None:
    lag = Lag()
    lag.see(replica(7, 7), 10.0)
    assert lag.seconds(10.0) == 0
    lag.see(replica(7, 7, 1000.0), 110.0)
    assert lag.seconds(111.0) == 1


def test_a_replica_that_stands_still_grows_older_from_when_it_knew_all() -> None:
    lag = Lag()
    lag.see(replica(7, 7), 10.0)
    lag.see(replica(9, 7), 11.0)
    lag.see(replica(12, 7), 12.0)
    assert lag.seconds(13.0) == 3
    # What it had received at 11 is replayed by now, and what at 12 is not.
    lag.see(replica(15, 9), 13.0)
    assert lag.seconds(13.0) == 2
    # A commit of half a second ago says more.
    lag.see(replica(15, 10, 0.5), 14.0)
    assert lag.seconds(14.0) == 0.5
    lag.see(replica(15, 15, 4.0), 15.0)
    assert lag.seconds(15.0) == 0


def test_a_replica_without_its_primary_is_as_old_as_its_last_commit() -> None:
    lag = Lag()
    lag.see(replica(7, 7, 40.0, following=False), 10.0)
    assert lag.seconds(12.0) == 42
    other = Lag()
    other.see(replica(7, 7), 10.0)
    other.see(replica(7, 7, following=False), 11.0)
    assert other.seconds(60.0) == 50
    # By nothing at all: since it was looked at.
    unknown = Lag()
    unknown.see(replica(None, 7, None, following=False), 10.0)
    assert unknown.seconds(15.0) == 5


def test_a_promoted_replica_is_a_primary_and_looks_are_bounded() -> None:
    lag = Lag()
    lag.see(replica(1, 1), 0.0)
    for at in range(1, 3 * MOST_PENDING):
        lag.see(replica(at + 1, 1, 900.0 + at), float(at))
    assert lag.seconds(3.0 * MOST_PENDING) == 3 * MOST_PENDING
    lag.see(Position(False, False, None, None, None), 3.0 * MOST_PENDING)
    assert lag.seconds(3.0 * MOST_PENDING) == 0
