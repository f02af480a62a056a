"""A stored state is read, or is none of this version: it never ends the worker."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.event import Position
from dsl.progress import ENCODING, State, Tally, decode, encode

STATE = State(Position(5, "e"), {0: Tally(3)}, suppressed=2)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def test_what_was_written_is_read() -> None:
    assert decode(encode(STATE)) == STATE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "{}",
        "[]",
        "[1,[null,{}]]",
        "[3,[]]",
        "[2,7]",
        "[2,{}]",
        '[2,["mark"]]',
        "[2,[null,{},{},{},{},1],3]",
        '[2,[[5,"e"],{"0":[99,3]}]]',
        '[2,[[5,"e"],{"x":[1,3]}]]',
        '[2,[null,{},{},{},{},"many"]]',
        "not json",
        "[2,",
    ],
)
def test_a_text_of_another_shape_is_no_state(text: str) -> None:
    assert decode(text.encode()) is None


@given(JSON)
def test_no_json_raises(value: object) -> None:
    for text in (json.dumps(value), json.dumps([ENCODING, value], separators=(",", ":"))):
        decoded = decode(text.encode())
        assert decoded is None or decode(encode(decoded)) == decoded


@given(st.integers(0, len(encode(STATE)) - 1))
def test_a_text_that_was_cut_is_no_state(end: int) -> None:
    assert decode(encode(STATE)[:end]) is None
