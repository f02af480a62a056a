from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.payload import Fault, Instants, Reader, exact, instant, is_usual, read_instants
from dsl.schema import EventSchema, Field
from dsl.types import FieldType

QUOTES = '""'


def reader(kind: FieldType, *, optional: bool = False, low: int | None = None) -> Reader:
    return Reader(EventSchema("e", {"x": Field("x", kind, optional, low)}))


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (FieldType.INT, "5", 5),
        (FieldType.INT, "5.0", 5),
        (FieldType.INT, "5e2", 500),
        (FieldType.INT, "-0", 0),
        (FieldType.INT, "9" * 38, 10**38 - 1),
        (FieldType.INT, "9" * 39, None),
        (FieldType.INT, "5.5", None),
        (FieldType.INT, "1e400", None),
        (FieldType.INT, '"5"', None),
        (FieldType.INT, "true", None),
        (FieldType.DECIMAL, "0.1", Decimal("0.1")),
        (FieldType.DECIMAL, '"0.10"', Decimal("0.1")),
        (FieldType.DECIMAL, "1e3", Decimal(1000)),
        (FieldType.DECIMAL, "-0.0", Decimal(0)),
        (
            FieldType.DECIMAL,
            "12345678901234567890.123456789012345678",
            Decimal("12345678901234567890.123456789012345678"),
        ),
        (FieldType.DECIMAL, "1." + "0" * 60, Decimal(1)),
        (FieldType.DECIMAL, "1." + "1" * 38, None),
        (FieldType.DECIMAL, "1e38", None),
        (FieldType.DECIMAL, "1e-39", None),
        (FieldType.DECIMAL, "1e999999999999999999999", None),
        (FieldType.DECIMAL, '"NaN"', None),
        (FieldType.DECIMAL, '"1_0"', None),
        (FieldType.DECIMAL, '" 1"', None),
        (FieldType.DECIMAL, '"+1"', None),
        (FieldType.DECIMAL, '"\u0661"', None),
        (FieldType.DECIMAL, '""', None),
        (FieldType.DECIMAL, "true", None),
        (FieldType.DECIMAL, "[1]", None),
        (FieldType.BOOL, "true", True),
        (FieldType.BOOL, "1", None),
        (FieldType.STRING, '"é\\u00e9"', "éé"),
        (FieldType.STRING, "1", None),
        (FieldType.TIMESTAMP, '"1970-01-01T00:00:01.0000019Z"', 1_000_001),
        (FieldType.TIMESTAMP, '"1970-01-01T01:00:00+01:00"', 0),
        (FieldType.TIMESTAMP, '"1970-01-01T00:00:00"', None),
        (FieldType.TIMESTAMP, "0", None),
        (FieldType.USER, '"ada"', "ada"),
        (FieldType.USER, f'"{"é" * 256}"', "é" * 256),
        (FieldType.STRINGS, '["b", "a", "b"]', ("b", "a", "b")),
        (FieldType.STRINGS, "[]", ()),
        (FieldType.INTS, "[1, 2.0, -3e1]", (1, 2, -30)),
        (FieldType.INTS, f"[{'9' * 38}]", (10**38 - 1,)),
        (FieldType.DECIMALS, '[1.50, "2"]', (Decimal("1.5"), Decimal(2))),
        (FieldType.STRINGS, f"[{', '.join(['1'.join(QUOTES)] * 1000)}]", ("1",) * 1000),
        (FieldType.USERS, '["ada", "ada"]', ("ada", "ada")),
    ],
)
def test_values_are_exact(kind: FieldType, text: str, value: object) -> None:
    payload = f'{{"x": {text}}}'.encode()
    strict, lenient = reader(kind).strict(payload), reader(kind).lenient(payload)
    if value is None:
        assert isinstance(strict, Fault)
        expected = strict.expected.removesuffix(" of at most 38 digits")
        assert (strict.field, expected, lenient) == ("x", kind.value, {})
    else:
        assert strict == lenient == {"x": value}
        assert isinstance(strict, dict)
        assert type(strict["x"]) is type(value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (FieldType.USER, '""'),
        (FieldType.USER, f'"{"é" * 257}"'),
        (FieldType.USER, "1"),
        (FieldType.USER, '["ada"]'),
        (FieldType.STRINGS, '"a"'),
        (FieldType.STRINGS, '["a", 1]'),
        (FieldType.STRINGS, '["a", null]'),
        (FieldType.STRINGS, '[["a"]]'),
        (FieldType.STRINGS, '{"a": "b"}'),
        (FieldType.STRINGS, f"[{', '.join(['1'.join(QUOTES)] * 1001)}]"),
        (FieldType.INTS, "[1.5]"),
        (FieldType.INTS, '["1"]'),
        (FieldType.DECIMALS, '[1, "x"]'),
        (FieldType.DECIMALS, f"[{'1' * 39}]"),
        (FieldType.USERS, '["ada", ""]'),
        (FieldType.USERS, f'["ada", "{"é" * 257}"]'),
        (FieldType.USERS, f"[{', '.join(['1'.join(QUOTES)] * 101)}]"),
    ],
)
def test_lists_and_users_break_the_contract(kind: FieldType, text: str) -> None:
    payload = f'{{"x": {text}}}'.encode()
    fault = reader(kind).strict(payload)
    assert isinstance(fault, Fault)
    assert fault.expected.startswith(kind.value)
    assert reader(kind).lenient(payload) == {}


@pytest.mark.parametrize("text", ["1.50", "1.5", '"1.500"', "15e-1"])
def test_one_value_has_one_form(text: str) -> None:
    fields = reader(FieldType.DECIMAL).strict(f'{{"x": {text}}}'.encode())
    assert isinstance(fields, dict)
    assert str(fields["x"]) == "1.5"


def test_bounds() -> None:
    bounded = reader(FieldType.DECIMAL, low=0)
    assert bounded.strict(b'{"x": 0}') == {"x": Decimal(0)}
    assert bounded.strict(b'{"x": -0.01}') == Fault("x", "decimal >= 0", "-0.01")


def test_null_is_absent() -> None:
    assert reader(FieldType.INT, optional=True).strict(b'{"x": null}') == {}
    assert reader(FieldType.INT, optional=True).strict(b"{}") == {}
    assert reader(FieldType.INT).strict(b"{}") == Fault("x", "int", "nothing")
    assert reader(FieldType.INT).lenient(b"{}") == {}


def test_lenient_keeps_what_fits() -> None:
    fields = {"a": Field("a", FieldType.INT), "b": Field("b", FieldType.STRING)}
    assert Reader(EventSchema("e", fields)).lenient(b'{"a": "no", "b": "yes"}') == {"b": "yes"}
    assert Reader(EventSchema("e", fields)).lenient(b"[]") == {}
    assert Reader(EventSchema("e", fields)).lenient(b"nonsense") == {}


NASTY = st.sampled_from(["1", "-1", "1.0", "1e5", '"1"', '"x"', "true", "null", "[]", "{}", '"2026-01-01T00:00:00Z"'])


@given(
    st.dictionaries(st.sampled_from("abc"), NASTY | st.floats(allow_nan=False, allow_infinity=False).map(json.dumps)),
    st.dictionaries(st.sampled_from("abc"), st.tuples(st.sampled_from(FieldType), st.booleans()), min_size=1),
)
def test_the_quick_way_and_the_slow_way_agree(given_fields: dict[str, str], declared: dict[str, Any]) -> None:
    payload = ("{" + ",".join(f'"{name}": {text}' for name, text in given_fields.items()) + "}").encode()
    fields = {name: Field(name, kind, optional) for name, (kind, optional) in declared.items()}
    read = Reader(EventSchema("e", fields))
    strict, lenient = read.strict(payload), read.lenient(payload)
    if isinstance(strict, Fault):
        assert strict.field not in lenient
    else:
        assert strict == lenient
    slow = read._slow(payload)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    assert slow == strict


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**20), max_value=10**20))
def test_decimals_survive_their_text(number: Decimal) -> None:
    assert exact(f"{number:f}") == number


@pytest.mark.parametrize(
    ("text", "at", "offset"),
    [
        ("1970-01-01T00:00:00Z", 0, 0),
        ("1970-01-01t00:00:00z", 0, 0),
        ("1969-12-31T19:00:00-05:00", 0, -18000),
        ("1970-01-01T05:30:00+05:30", 0, 19800),
        ("1970-01-01T00:00:00.123456789Z", 123_456, 0),
        ("1970-01-01T00:00:00.1Z", 100_000, 0),
        ("1970-01-01T00:00:00.123456Z", 123_456, 0),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000_000, 0),
        ("2016-12-31T23:59:60.000000Z", 1_483_228_800_000_000, 0),
    ],
)
def test_instants(text: str, at: int, offset: int) -> None:
    assert instant(text) == (at, offset)
    usual = "1970-01-01T00:00:00.000001Z"
    assert read_instants([text, text]) == Instants([at] * 2, [offset] * 2, [is_usual(text)] * 2)
    assert read_instants([usual, text]) == Instants([1, at], [0, offset], [True, is_usual(text)])


def test_of_no_texts_there_are_no_instants() -> None:
    assert read_instants([]) == Instants([], [], [])


@given(st.text(max_size=40))
def test_no_text_raises_anything(text: str) -> None:
    moment = instant(text)
    expected = None if moment is None else Instants([moment[0]], [moment[1]], [is_usual(text)])
    assert read_instants([text]) == expected
    exact(text)


usual_instants = st.datetimes().map(lambda at: at.isoformat(timespec="microseconds") + "Z")
nearly_usual = st.tuples(usual_instants, st.integers(0, 26), st.sampled_from("0246-:.TZtz é")).map(
    lambda drawn: drawn[0][: drawn[1]] + drawn[2] + drawn[0][drawn[1] + 1 :]
)


@given(st.lists(usual_instants | nearly_usual, max_size=4))
def test_instants_in_a_crowd_are_what_each_is_alone(texts: list[str]) -> None:
    moments = [instant(text) for text in texts]
    known = [moment for moment in moments if moment is not None]
    expected = Instants([at for at, _ in known], [offset for _, offset in known], [*map(is_usual, texts)])
    assert read_instants(texts) == (expected if len(known) == len(texts) else None)


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30T00:00:00.000000Z",
        "2026-01-01T24:00:00.000000Z",
        "2026-W01-1T00:00:00.000000Z",
        "9999-12-31T23:59:60Z",
        "9999-12-31T23:59:60+01:00",  # in the year 10000 by its own clock
    ],
)
def test_what_is_no_instant_is_none_in_a_crowd(text: str) -> None:
    assert instant(text) is None
    for other in ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z"):
        assert read_instants([other, text]) is None


@pytest.mark.parametrize("kind", [FieldType.INT, FieldType.DECIMAL])
def test_a_number_that_is_too_long_is_called_so(kind: FieldType) -> None:
    fault = reader(kind).strict(f'{{"x": {"9" * 39}}}')
    assert isinstance(fault, Fault)
    assert fault.expected == f"{kind} of at most 38 digits"
    other = reader(kind).strict('{"x": "nine"}')
    assert isinstance(other, Fault)
    assert other.expected == str(kind)


@pytest.mark.parametrize("kind", [FieldType.INT, FieldType.STRING, FieldType.DECIMAL])
def test_many_payloads_are_read_as_one_by_one(kind: FieldType) -> None:
    usual = ['{"x":1}', '{"x":"a"}', "{}", '{"x":2,"y":[1,{"z":null}]}']
    odd = [
        '{"x":"\U0001f600"}',
        "null",
        "[]",
        '{"x":1e400}',
        '{"x":null}',
        '{"x":1,"x":2}',
        '{"x":99999999999999999999}',
    ]
    many = reader(kind, low=0 if kind is FieldType.INT else None)
    long = f'{{"x":"{"a" * 300_000}"}}'
    for payloads in (usual[:1] * 1200, usual * 400, usual + odd, [long, long, long], []):
        assert many.lenient_of(payloads) == [*map(many.lenient, payloads)]
