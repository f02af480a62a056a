"""Proofs about filters: compared with many tried values, and with manual results where it matters."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl.check import check
from dsl.event import Event
from dsl.filters import compile_test
from dsl.parse import parse
from dsl.progress import State
from dsl.prove import Patterns
from dsl.prove.clocks import steady
from dsl.source import Source
from dsl.syntax import Achievement, Compare, Count, Zone
from dsl.types import Unit

if TYPE_CHECKING:
    from dsl.filters import Getter
    from dsl.syntax import Predicate, Ref
    from dsl.types import Value

EVENTS: Final = "event a { n: int >= 0, m: int?, x: decimal?, s: string, f: bool?, t: timestamp }\n"


def read(filter_text: str) -> tuple[Patterns, Predicate]:
    file, problems = parse(
        Source("x.ach", f"{EVENTS}achievement y {{ when count(event=a where {filter_text}, >= 1) }}")
    )
    assert problems == []
    rules, _ = check([file])
    node = file.declarations[-1]
    assert isinstance(node, Achievement)
    assert isinstance(node.when, Count)
    predicate = node.when.event.alternatives[0].where
    assert predicate is not None
    return Patterns(rules.events, rules.traits), predicate


def passes(predicate: Predicate, values: dict[str, Value]) -> bool:
    def getter(ref: Ref) -> Getter:
        return lambda state, event: values.get(ref.name)

    return compile_test(predicate, getter)(State(), Event("", "", "a", "", 0, 0, {}))


@pytest.mark.parametrize(
    ("text", "possible"),
    [
        ("n < 0", False),
        ("n <= 0", True),
        ("n > 1 and n < 2", False),
        ("n > 1 and n < 3", True),
        ("m > 1.5 and m < 1.9", False),
        ("m > 1.5 and m < 2.1", True),
        ("x > 1 and x < 2", True),
        ("x >= 1 and x <= 1 and x != 1", False),
        ('s > "a" and s < "b"', True),
        ('s > "a" and s < "a\\u0001"', False),
        ('s > "a" and s < "a\\u0002"', True),
        ('s < ""', False),
        ('s in ["x", "y"] and s not in ["y", "x"]', False),
        ("f and not f", False),
        ("f = true or f = false", True),
        ("not f and not (f = false)", True),  # where it is absent
        ("m is not present and m = 1", False),
        ("not m = 1 and not m != 1", True),
        ("t > 2026-01-01T00:00:00Z and t < 2026-01-01T00:00:00.000001Z", False),
        ("at.hour > 22 and at.hour < 23", False),
        ('at.weekday < "fri" and at.weekday > "fri"', False),
        ('at.weekday > "tue"', True),
        ('at.date > "2026-04-13" and at.date < "2026-04-14"', False),
        ('at.date >= "2026-04-13" and at.date < "2026-04-14"', True),
        ("(n > 5 or m > 5) and n < 5 and m < 5", False),
        ("(n > 5 or m > 5) and n < 5", True),
    ],
)
def test_what_can_pass(text: str, *, possible: bool) -> None:
    patterns, predicate = read(text)
    found = patterns.find("a", (predicate,))
    assert found.found is possible
    if possible:
        values = {name: value for name, value in found.values.items() if value is not None}
        assert passes(predicate, values)


def test_too_much_is_left_undecided() -> None:
    patterns, predicate = read(" and ".join(f"(n != {k} or m != {k} or x != {k})" for k in range(40)))
    assert patterns.find("a", (predicate,)).found is None


VALUES: Final[dict[str, tuple[Value | None, ...]]] = {
    "n": (0, 1, 2, 3, 4),
    "m": (None, -1, 0, 1, 2, 3, 4),
    "x": (None, *(Decimal(n) / 4 for n in (-1, 0, 1, 4, 5, 6, 7, 8, 9, 12, 13))),
    "f": (None, True, False),
}
TESTS: Final = st.recursive(
    st.builds(
        "{} {} {}".format,
        st.sampled_from(("n", "m", "x")),
        st.sampled_from(("=", "!=", "<", "<=", ">", ">=")),
        st.sampled_from(("0", "1", "1.5", "2", "3")),
    )
    | st.sampled_from(("f", "m is present", "x is not present", "n in [1, 3]", "m not in [0, 2]")),
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(("and", "or")), inner)
        | st.builds("not ({})".format, inner)
    ),
    max_leaves=5,
)


@settings(max_examples=120, deadline=None)
@given(TESTS, TESTS)
def test_deciding_is_as_good_as_trying(one: str, two: str) -> None:
    patterns, first = read(one)
    _, second = read(two)
    assignments = [
        {name: value for name, value in zip(VALUES, values, strict=True) if value is not None}
        for values in ((n, m, x, f) for n in VALUES["n"] for m in VALUES["m"] for x in VALUES["x"] for f in VALUES["f"])
    ]
    # The values tried are one of each kind for these literals, and so tell all there is to tell.
    assert patterns.find("a", (first,)).found is any(passes(first, values) for values in assignments)
    follows = all(passes(second, values) for values in assignments if passes(first, values))
    assert patterns.follows("a", (first,), second) is follows


def test_the_ledger_may_hold_events_of_an_earlier_contract() -> None:
    patterns, predicate = read("n is not present")
    assert patterns.find("a", (predicate,)).found is False
    ledger = Patterns(patterns.events, {}, ledger=True)
    assert ledger.find("a", (predicate,)).found is True
    _, low = read("n < 0")
    assert isinstance(low, Compare)
    assert ledger.find("a", (low,)).found is False


@pytest.mark.parametrize(
    ("zone", "unsteady"),
    [
        ("UTC", ()),
        ("Europe/Berlin", (Unit.MINUTE,)),
        ("Australia/Lord_Howe", (Unit.MINUTE,)),
        ("Asia/Tokyo", ()),
        ("Pacific/Chatham", (Unit.MINUTE, Unit.HOUR)),
        ("Antarctica/Troll", (Unit.MINUTE, Unit.HOUR)),
        ("America/St_Johns", (Unit.MINUTE, Unit.HOUR, Unit.DAY, Unit.MONTH)),
    ],
)
def test_clocks_whose_labels_come_back(zone: str, unsteady: tuple[Unit, ...]) -> None:
    assert {unit for unit in Unit if not steady(Zone(kind="iana", name=zone), unit)} == set(unsteady)
