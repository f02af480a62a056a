"""Rows of hashes: each entry is in the row of its hash, rows stay small, and what was there stays."""

from __future__ import annotations

from bisect import bisect_right

from hypothesis import given
from hypothesis import strategies as st

from worker.admin.packed_ids import MOST, Entry, Row, added, row_of, without

ENTRIES = st.lists(st.tuples(st.integers(0, 2**40 - 1) | st.integers(0, 3), st.integers(0, 2**31 - 1)), max_size=40)


def put(rows: dict[int, Row], entries: list[Entry]) -> None:
    """Write as `add_entries` does."""
    rows.update({row.first: row for row in added([rows[first] for first in sorted(rows)], entries)})


def found(rows: dict[int, Row], one: int) -> set[int]:
    """Look up as the database does."""
    firsts = sorted(rows)
    row = rows[firsts[bisect_right(firsts, one) - 1]]
    return {number for held, number in row.entries() if held == one}


@given(st.lists(ENTRIES, max_size=4), ENTRIES)
def test_entries_are_found_until_they_are_taken_out(batches: list[list[Entry]], gone: list[Entry]) -> None:
    rows = {0: row_of(0, [])}
    known: set[Entry] = set()
    for batch in batches:
        # Many of one hash stay in one row.
        more = [*batch, *((one, n) for one, _ in batch[:2] for n in range(MOST))]
        put(rows, more)
        known |= {*more}
    for one, number in known:
        assert number in found(rows, one)
    assert {entry for row in rows.values() for entry in row.entries()} == known
    rows.update({row.first: row for row in without(rows.values(), gone)})
    assert {entry for row in rows.values() for entry in row.entries()} == known - {*gone}


def test_rows_are_split_and_stay_small() -> None:
    rows = {0: row_of(0, [])}
    for begin in range(0, 5000, 500):
        put(rows, [(n * 7919 % 2**40, n) for n in range(begin, begin + 500)])
    assert max(len(row.entries()) for row in rows.values()) <= MOST
    assert len(rows) < 5000 / MOST * 3
    assert {len(row.users) * 5 // max(1, len(row.hashes)) for row in rows.values()} == {3}
    assert added([rows[first] for first in sorted(rows)], [(7919, 1)]) == []
