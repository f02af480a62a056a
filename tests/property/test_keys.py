"""Keys: different values never share a key, for any input, and equal values always do.

The random values target the format of the keys: they contain prefixes, separators, the hashes of other values, and
the keys of keys. `ACH_EXAMPLES` sets the number of examples.
"""

from __future__ import annotations

from decimal import Decimal
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.event import Event
from dsl.outcome import Subject, run
from dsl.progress import Grant
from dsl.values import fingerprint, value_key, value_text
from tests.property.test_late import arrive, program_of
from tests.reference import evaluator
from tests.reference.draw_settings import thorough
from tests.reference.rule_text import read
from worker.broker.outgoing import message_id
from worker.contract.partition import event_subject, token
from worker.engine.reconcile import unlock_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from dsl.types import Value


def hashed(text: str) -> str:
    """Return the hash that stands for a long text in keys."""
    return blake2b(text.encode(), digest_size=16).hexdigest()


SPELLINGS: Final[tuple[Callable[[str], str], ...]] = (
    hashed,
    lambda text: "\x01" + hashed(text),
    lambda text: "\x01" + hashed(text).upper(),
    lambda text: "\x01" + hashed(text) + "\n",
    lambda text: "\x01" + hashed(text)[:-1],
    lambda text: "\x01" + text,
    lambda text: "\x01\x01" + hashed(text)[:31],
    lambda text: "~" + hashed(text),
    value_key,
    lambda text: fingerprint([text]),
    lambda text: fingerprint([text, None]),
    lambda text: token(text) or "x",
    lambda text: f'["{text}"]',
    lambda text: f"{text}:{text}",
    lambda text: text * 70,
    lambda text: text * 70 + "x",
    lambda text: (text * 64)[:64],
)
"""What a text may be made into to look like a key of it."""

ODD: Final = (
    "",
    "x",
    "x" * 64,
    "x" * 65,
    "true",
    "false",
    "null",
    "1",
    "1.0",
    "0",
    "-0",
    "\x01",
    "~",
    ",",
    '","',
    ":",
    "%3A",
)
texts = st.recursive(
    st.one_of(st.sampled_from(ODD), st.text(st.characters(exclude_categories=["Cs"]), max_size=5)),
    lambda inner: st.tuples(inner, st.sampled_from(SPELLINGS)).map(lambda made: made[1](made[0])),
    max_leaves=6,
).filter(lambda text: len(text) < 5_000)
"""Texts, and what has been made of them up to a few times over."""

pairs = st.one_of(
    st.tuples(texts, texts),
    texts.flatmap(lambda one: st.tuples(st.just(one), st.sampled_from([each(one) for each in SPELLINGS]))),
    st.tuples(texts, st.sampled_from((63, 64, 65, 66, 130))).map(lambda cut: (cut[0] * 140, (cut[0] * 140)[: cut[1]])),
)
"""Two texts; the second is often made from the first, or starts like it."""

digits = st.one_of(st.integers(-3, 3), st.integers(-(10**38) + 1, 10**38 - 1))
decimals = st.tuples(digits, st.integers(-38, 0)).map(lambda parts: Decimal(parts[0]).scaleb(parts[1]))
numbers = st.one_of(
    digits, st.sampled_from((Decimal("1.0"), Decimal("0.10"), Decimal("-0.0"), Decimal("1E+3"))), decimals
)


@thorough(300)
@given(pairs)
def test_two_texts_have_one_key_only_if_they_are_one(pair: tuple[str, str]) -> None:
    one, other = pair
    assert (value_key(one) == value_key(other)) == (one == other)


@given(texts)
def test_a_key_is_short_and_most_texts_are_their_own(text: str) -> None:
    key = value_key(text)
    assert len(key) <= 64
    # States hold them: but for texts that are spelt like one, keys stay as they have always been.
    posing = len(text) == 33 and text[0] == "\x01" and set(text[1:]) <= set("0123456789abcdef")
    assert key == (text if len(text) <= 64 and not posing else "\x01" + hashed(text))


@thorough(200)
@given(numbers, numbers)
def test_numbers_have_one_key_if_and_only_if_they_are_equal(one: int | Decimal, other: int | Decimal) -> None:
    """An `int` in one event of a list may be a `decimal` in another."""
    assert (value_key(one) == value_key(other)) == (one == other)
    assert (value_text(one) == value_text(other)) == (one == other)


def test_bools_have_a_key_each() -> None:
    assert value_key(value=True) != value_key(value=False)


values = st.one_of(st.none(), texts)


@thorough(300)
@given(st.data())
def test_fingerprints_are_equal_only_if_all_values_are(data: st.DataObject) -> None:
    one = data.draw(st.lists(values, max_size=3))
    other = data.draw(st.one_of(st.just(one), st.lists(values, max_size=3), _moved(one)))
    assert (fingerprint(one) == fingerprint(other)) == (one == other)


def _moved(parts: list[str | None]) -> st.SearchStrategy[list[str | None]]:
    """Draw the same values grouped in another way, some of them made into what they look like in a key."""
    glued = ",".join("null" if each is None else each for each in parts)
    spelt: list[str | None] = ["null" if each is None else each for each in parts]
    return st.sampled_from(
        [
            [glued],
            [*parts, None],
            [*parts, ""],
            [fingerprint(parts)],
            spelt,
            parts[::-1],
            ['","'.join(each or "" for each in spelt)],
        ]
    )


# -- what else is a key: unlock ids, message ids, subjects ------------------------------------------------------------


@thorough(200)
@given(st.data())
def test_unlock_ids_are_equal_only_if_all_that_they_name_is(data: st.DataObject) -> None:
    parts = st.lists(texts, min_size=6, max_size=6)
    one = data.draw(parts)
    other = data.draw(
        st.one_of(
            parts,
            st.permutations(one),
            st.tuples(st.integers(0, 4), st.integers(0, 3)).map(lambda cut: _recut(one, *cut)),
        )
    )
    assert (_unlock_id(one) == _unlock_id(other)) == (one == other)


def _unlock_id(parts: list[str]) -> object:
    tenant, scope, subject, achievement, tier, occurrence = parts
    return unlock_id(Subject(tenant, scope, subject), Grant(achievement, tier, occurrence, 1, 0, "e", 0))


def _recut(parts: list[str], at: int, by: int) -> list[str]:
    """Move the end of one part to the start of the next."""
    one, two = parts[at], parts[at + 1]
    return [*parts[:at], one[: len(one) - by], one[len(one) - by :] + two, *parts[at + 2 :]]


@thorough(200)
@given(pairs, pairs)
def test_message_ids_and_subjects_are_those_of_one_tenant(one: tuple[str, str], other: tuple[str, str]) -> None:
    """The broker drops the second message of one id, whichever tenant it is of."""
    for (tenant, event), (another, second) in ((one, other), (one, (f"{one[0]}:{one[1]}", other[1])), (one, one[::-1])):
        mine, theirs = message_id(tenant, event), message_id(another, second)
        assert mine is None or (mine == theirs) == ((tenant, event) == (another, second))
        subjects = event_subject("e", tenant, event, "t"), event_subject("e", another, second, "t")
        assert (subjects[0] == subjects[1]) == ((tenant, event) == (another, second))


@pytest.mark.parametrize(("tenant", "other"), [(("a", "b:c"), ("a:b", "c")), (("a", ":"), ("a:", ""))])
def test_a_colon_does_not_move_an_event_to_another_tenant(tenant: tuple[str, str], other: tuple[str, str]) -> None:
    assert message_id(*tenant) != message_id(*other)
    assert message_id("acme", "e1") == "acme:e1"


# -- in the fold ------------------------------------------------------------------------------------------------------

RULES: Final = """
event a { s: string?, x: decimal? }
event b { s: string?, x: int? once per s, x within 1h }
achievement different { title "T" when count(event=a, distinct=s, >= 3) }
achievement numbers   { title "T" when count(event=[a, b], distinct=x, >= 3) }
achievement pairs     { title "T" when count(event=[a, b], distinct=[s, x], >= 3) }
achievement together  { title "T" when count(event=a, distinct=s, >= 2, within=1h) }
achievement in_a_day  { title "T" when count(event=a, distinct=s, >= 2) repeat every day }
achievement anew      { title "T" when count(event=a, distinct=s, >= 2, unless=b) repeat each }
achievement steps     { title "T" when sequence([a, b, a], by=s) }
achievement copies    { title "T" when count(event=b, >= 3) }
achievement of_team   { title "T" when count(event=[a, b], >= 2) scope s }
"""


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    """Draw events whose texts are made of each other."""
    text = draw(texts)
    pool = [text, "x" * 65, "\x01" + hashed("x" * 65), *(each(text) for each in SPELLINGS)]
    events: list[Event] = []
    for number in range(draw(st.integers(2, 9))):
        kind = draw(st.sampled_from("aab"))
        fields: dict[str, Value] = {}
        if draw(st.integers(0, 9)):
            fields["s"] = draw(st.sampled_from(pool))
        if draw(st.booleans()):
            fields["x"] = draw(
                st.sampled_from((1, 2, 10) if kind == "b" else (Decimal("1.0"), Decimal("1.5"), Decimal(10)))
            )
        events.append(Event("t", f"e{number}", kind, "u", draw(st.integers(0, 12)) * 600_000_000, 0, fields))
    return events


@thorough(300)
@given(streams())
def test_the_fold_tells_values_apart_as_the_reference_does(events: list[Event]) -> None:
    program = program_of(RULES)
    ours = sorted((u.scope, u.subject, u.achievement, u.occurrence or "") for u in run(program, events).unlocks)
    theirs = evaluator.supported_unlocks(read(RULES), events)
    assert ours == sorted((u.subject.scope, u.subject.name, u.achievement, u.occurrence or "") for u in theirs)
    arrive(program, events)
