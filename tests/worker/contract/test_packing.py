"""Columns of a statement as one text each: nothing is lost, whatever the values hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.contract.packing import Packed, pack, pack_ints, pack_rows, unused

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
columns = st.lists(st.tuples(texts, st.none() | texts), min_size=1, max_size=20)


def unpack(packed: Packed) -> list[list[str | None]]:
    """Do what `string_to_array` does, and leave out the last value."""
    parts = [text.split(packed.separator)[:-1] for text in packed.columns]
    return [[None if value == packed.null else value for value in column] for column in parts]


@given(columns)
def test_what_was_packed_comes_back(rows: list[tuple[str, str | None]]) -> None:
    first, second = [row[0] for row in rows], [row[1] for row in rows]
    assert unpack(pack(first, second)) == [first, second]


@pytest.mark.parametrize("value", ["\x1f", "\x1e", "\x1f\x1e\U00100000\U00100001", "", "a\x1fb"])
def test_values_that_hold_the_usual_marks(value: str) -> None:
    assert unpack(pack([value], [None])) == [[value], [None]]
    assert unpack(pack([value, "", value], [None, value, ""])) == [[value, "", value], [None, value, ""]]


def test_no_rows_are_packed_as_nothing() -> None:
    assert pack([], []).columns == ["", ""]


def test_integers_are_an_array() -> None:
    assert pack_ints([1, -2, 3]) == "{1,-2,3}"
    assert pack_ints([]) == "{}"


@given(st.lists(st.lists(texts, min_size=3, max_size=3), max_size=20))
def test_rows_come_back_or_are_not_packed(rows: list[list[str]]) -> None:
    joined = ["\x1f".join(row) for row in rows]
    packed = pack_rows(joined, 3)
    held = any(mark in value for row in rows for value in row for mark in "\x1f\x1e")
    assert (packed is None) == held
    if packed is None:
        field, record = unused(joined)
        packed = pack_rows([field.join(row) for row in rows], 3, field=field, record=record)
        assert packed is not None
    split = packed.text.split(packed.record) if rows else []
    assert [row.split(packed.field) for row in split] == rows


@pytest.mark.parametrize("rows", [["a\x1eb"], ["a", "b\x1f"]])
def test_marks_in_values_are_noticed(rows: list[str]) -> None:
    assert pack_rows(rows, 2) is None
