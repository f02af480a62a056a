"""Which rows a run takes, by the ages of their transactions, also where numbers of transactions come round."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.mirror.window import Look, window

XIDS = 2**32


def taken(xid: int, look: Look, before: int, now: int) -> bool:
    """Tell what the query does with a row of a transaction."""
    age = (now - xid) % XIDS
    age -= XIDS if age >= XIDS // 2 else 0
    new = window(look, before)
    return (age > new.after and (age <= new.upto or new.whole)) or (age < 0 and new.whole)


@given(
    before=st.integers(3, 3 * XIDS),
    grown=st.integers(0, 2**20),
    under_way=st.integers(0, 2**20),
    offset=st.integers(-(2**20), 2**21),
)
def test_a_window_takes_what_lies_between_two_bounds(before: int, grown: int, under_way: int, offset: int) -> None:
    bound = before + grown
    now = bound + under_way
    look = Look(bound, now % XIDS, "", 0)
    xid = min(before + offset, now - 1)
    assert taken(xid, look, before, now) == (before <= xid < bound)


@given(bound=st.integers(3, 3 * XIDS), back=st.integers(1, 2**31))
def test_a_first_window_takes_all_that_has_ended(bound: int, back: int) -> None:
    assert taken(bound - back, Look(bound, (bound + 7) % XIDS, "", 0), 0, bound + 7)
    assert not taken(bound, Look(bound, (bound + 7) % XIDS, "", 0), 0, bound + 7)


def test_a_bound_that_went_back_takes_nothing() -> None:
    """As on a replica that is behind the one that was read before."""
    look = Look(100, 110, "", 0)
    assert not any(taken(xid, look, 105, 110) for xid in range(90, 110))
