from __future__ import annotations

from decimal import Context, Decimal

from hypothesis import given
from hypothesis import strategies as st

from dsl.event import Event
from tests.reference.draw_settings import thorough
from worker.contract.sameness import Written, same_body, stored_body

EVENT = Event("t", "e", "a", "u", 0, 0, {})
EXACT = Context(prec=200)


def same(one: str, other: str) -> bool:
    mine, theirs = (Written("", None, f'{{"n":{number}}}') for number in (one, other))
    return same_body(EVENT, mine, stored_body(EVENT, theirs))


def test_exponents_of_any_length_count() -> None:
    long = "1" + "0" * 19
    assert not same(f"1e{long}", f"1e{long[:-1]}")
    assert not same(f"1e-{long}", f"1e{long}")
    assert not same(f"1e{long}", f"1e{long[:-1]}1")
    assert same(f"1e{long}", f"1.0E+000{long}")
    assert same(f"10e{long}", f"1e{long[:-1]}1")
    assert same(f"1e{'9' * 5000}", f"0.1e1{'0' * 5000}")
    assert same("1e00000000000000000000000005", "100000")
    assert same(f"0e{long}", "-0.0")


@thorough(300)
@given(st.integers(-(10**9), 10**9), st.integers(0, 12), st.integers(-(10**22), 10**22), st.integers(0, 12))
def test_one_number_written_in_two_ways(digits: int, point: int, exponent: int, zeros: int) -> None:
    one = f"{digits}e{exponent}"
    moved = f"{digits * 10**zeros}e{exponent - zeros}"
    text = str(abs(digits)).rjust(point + 1, "0")
    cut = f"{text[: len(text) - point]}.{text[len(text) - point :]}0" if point else f"{text}.0"
    pointed = f"{'-' if digits < 0 else ''}{cut}E{exponent + point:+d}"
    assert same(one, moved)
    assert same(one, pointed)
    assert same(one, f"{digits}e{exponent + 1}") == (digits == 0)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6), st.integers(-30, 30))
def test_equal_numbers_are_one(number: Decimal, exponent: int) -> None:
    shifted = EXACT.scaleb(number, exponent)
    assert same(f"{number:f}e{exponent}", f"{shifted:f}")
