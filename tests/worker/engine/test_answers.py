"""The small parts of an answer: languages, who is eligible, rarity, cursors, and how far the books are complete."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.event import Event
from dsl.filters import compile_test
from dsl.fold import fold
from dsl.judge import trait_getter
from dsl.outcome import Subject
from dsl.progress import State
from dsl.ruleset import build
from tests.property.test_subject_standing import deployed
from tests.reference import strategies
from tests.reference.draw_settings import thorough
from worker.engine.answer import Facts, Presence, Reader, answer_of
from worker.engine.cursor import CursorError, Cursors
from worker.engine.eligible import eligibility
from worker.engine.entries import Catalogue
from worker.engine.horizon import MOST_PENDING, Horizon, Look
from worker.engine.languages import spoken
from worker.engine.rarity import Rarities

if TYPE_CHECKING:
    from hypothesis.strategies import DataObject

    from dsl.syntax import Predicate
    from dsl.types import Value


# -- languages ---------------------------------------------------------------------------------------------------------

TEXTS = {"en": "E", "pt-BR": "B", "zh_Hant": "Z"}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ((), ("E", "en", False)),
        (("pt-br",), ("B", "pt-BR", False)),
        (("PT",), ("B", "pt-BR", False)),
        (("pt-PT",), ("E", "en", True)),
        (("de", "pt-BR"), ("B", "pt-BR", False)),
        (("en-GB",), ("E", "en", False)),
        (("en-GB-oed", "pt"), ("E", "en", False)),
        (("zh-hant-TW",), ("Z", "zh_Hant", False)),
        (("e",), ("E", "en", True)),
        (("fr", "*"), ("E", "en", False)),
        (("",), ("E", "en", True)),
        (("-",), ("E", "en", True)),
    ],
)
def test_a_reader_gets_the_best_language(asked: tuple[str, ...], expected: tuple[str, str, bool]) -> None:
    assert spoken(TEXTS, asked) == expected


def test_a_text_without_a_language_is_what_is_fallen_back_on() -> None:
    assert spoken({"de": "D", "und": "U"}, ("fr",)) == ("U", "und", True)
    assert spoken({"und": "U"}, ()) == ("U", "und", False)
    assert spoken({}, ("de",)) is None


# -- who is eligible ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "traits", "expected"),
    [
        ('plan = "pro"', {}, None),
        ('plan = "pro"', {"plan": "free"}, False),
        ('plan = "pro"', {"plan": "pro"}, True),
        ('not plan = "free"', {}, True),
        ('not plan = "free"', {"plan": "free"}, False),
        ('plan = "pro" and region = "eu"', {"plan": "free"}, False),
        ('plan = "pro" and region = "eu"', {"plan": "pro"}, None),
        ('plan = "pro" or region = "eu"', {"plan": "pro"}, True),
        ('plan = "pro" or region = "eu"', {"plan": "free"}, None),
        ('plan = "pro" or region = "eu"', {"plan": "free", "region": "us"}, False),
        ("plan is present", {}, False),
        ("plan is not present", {}, True),
        ('plan in ["a", "b"]', {"plan": "c"}, False),
        ("credit >= 1.5", {"credit": "1.50"}, True),
        ("credit >= 1.5", {"credit": "1.49"}, False),
        ("vip", {}, None),
        ("vip", {"vip": False}, False),
    ],
)
def test_for_says_who_is_eligible(who: str, traits: dict[str, str | bool | int], expected: bool | None) -> None:
    text = (
        "event e {}\ntraits from u { plan: string, region: string, credit: decimal, vip: bool }\n"
        f'achievement a {{ title "A" for {who} when count(event=e, >= 1) }}'
    )
    (entry,) = Catalogue(deployed(text)).in_effect("user", 0)
    assert entry.eligible(State(traits=traits)) is expected


@thorough(200)
@given(st.data())
def test_eligible_is_what_the_engine_admits(data: DataObject) -> None:
    where = data.draw(strategies.predicates(strategies.TRAITS, 0))
    text = f'{strategies.CONTRACT}achievement a {{ title "A" for {where} when count(event=a, >= 1) }}'
    made = build([("drawn.ach", text.encode())])
    if made.errors:
        return
    predicate: Predicate | None = made.rules.achievements["a"][0].where
    assert predicate is not None
    decimals = frozenset(name for name, kind in made.rules.traits.items() if kind == "decimal")
    traits: dict[str, Value] = data.draw(
        st.fixed_dictionaries({}, optional={"plan": st.sampled_from(("pro", "free")), "level": st.integers(0, 2)})
    )
    state = State(traits=dict(traits))  # pyright: ignore[reportArgumentType] - no decimals among them
    said = eligibility(predicate, decimals)(state)
    nothing: Event = None  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]
    assert (said is True) == compile_test(predicate, trait_getter(decimals))(state, nothing)


# -- what is seen ------------------------------------------------------------------------------------------------------


def seen(text: str, times: int) -> dict[str, str | None]:
    """Return what a user with some events sees, with the next tier of each."""
    rules = deployed(text)
    events = [Event(tenant="t", id=str(n), type="e", user="u", at=n, offset=0, fields={}) for n in range(times)]
    state, _ = fold(rules.program.scopes["user"], events)
    facts = Facts(Subject("t", "user", "u"), Presence.KNOWN, state, [], frozenset(), "", building=False, clock=0)
    standing = answer_of(Catalogue(rules), facts, Reader(as_user=True), times).standing
    return {item.id: item.next_tier for item in standing.items}


def test_a_hidden_tier_is_not_named() -> None:
    tiers = [("low", ""), ("mid", "reveal secret"), ("high", ""), ("top", "reveal at 50%")]
    clauses = "".join(
        f"tier {name} {{ when count(event=e, >= {n}) {reveal} }}\n" for n, (name, reveal) in enumerate(tiers, 5)
    )
    text = f'event e {{}}\nachievement a {{ title "A" {clauses} }}'
    assert seen(text, 1) == {"a.low": "high", "a.high": None}
    assert seen(text, 4) == {"a.low": "high", "a.high": "top", "a.top": None}


@pytest.mark.parametrize(("percent", "times"), [(0, 0), (1, 1), (50, 2), (51, 3), (75, 3), (76, 4), (100, 4)])
def test_what_only_traits_hold_back_is_revealed_at_a_hundred(percent: int, times: int) -> None:
    text = (
        "event e {}\ntraits from u { plan: string }\n"
        f'achievement a {{ title "A" reveal at {percent}% for plan = "pro" when count(event=e, >= 4) }}'
    )
    assert "a" in seen(text, times)
    assert times == 0 or "a" not in seen(text, times - 1)


# -- rarity ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("earned", "subjects", "percent"),
    [(0, 50, "0.0"), (1, 50, "2.0"), (50, 50, "100.0"), (1, 9999, "0.1"), (9998, 9999, "99.9"), (1, 300, "0.3")],
)
def test_rarity_never_rounds_to_none_or_all(earned: int, subjects: int, percent: str) -> None:
    found = Rarities(0, {"user": subjects}, {("user", "a", ""): earned}).of("user", "a", None)
    assert found is not None
    assert (found.earned, found.subjects, found.percent) == (earned, subjects, percent)
    assert Rarities(0, {"user": 49}, {("user", "a", ""): 49}).of("user", "a", None) is None


# -- cursors -----------------------------------------------------------------------------------------------------------


@given(st.text(), st.integers(0, 2**63))
def test_a_cursor_is_good_for_its_tenant_and_key(tenant: str, place: int) -> None:
    cursors = Cursors(b"key")
    text = cursors.write(tenant, place)
    assert cursors.read(tenant, text) == place
    assert len(text) <= 32
    for other, whose in ((Cursors(b"other"), tenant), (cursors, f"{tenant}x")):
        with pytest.raises(CursorError):
            other.read(whose, text)


@given(st.one_of(st.text(), st.text("abcXYZ019-_=", max_size=40)))
def test_no_text_is_taken_for_a_cursor(text: str) -> None:
    with pytest.raises(CursorError):
        Cursors(b"key").read("t", text)


def test_cursors_say_nothing_of_the_place() -> None:
    """Places that follow each other differ all over."""
    one, other = (Cursors(b"key").write("t", place) for place in (7, 8))
    assert sum(left == right for left, right in zip(one, other, strict=True)) < len(one) // 2


# -- how far the books are complete ------------------------------------------------------------------------------------


def test_a_quiet_database_is_complete_at_once() -> None:
    assert Horizon().see(Look(last=9, next_xid=100, xmin=100, xmax=100)) == 9


def test_a_transaction_that_began_after_all_that_have_ended_is_waited_for() -> None:
    """It is behind `xmax`, so the snapshot says nothing of it; only `next_xid` does."""
    horizon = Horizon()
    assert horizon.see(Look(last=9, next_xid=106, xmin=101, xmax=101)) == 0
    assert horizon.see(Look(last=12, next_xid=107, xmin=105, xmax=106)) == 0
    assert horizon.see(Look(last=14, next_xid=108, xmin=106, xmax=107)) == 9
    assert horizon.see(Look(last=14, next_xid=108, xmin=108, xmax=108)) == 14


def test_ids_of_transactions_wrap() -> None:
    horizon = Horizon()
    high = 3 * 2**32 - 1
    assert horizon.see(Look(last=9, next_xid=1, xmin=high, xmax=high)) == 0
    assert horizon.see(Look(last=9, next_xid=1, xmin=high + 2, xmax=high + 2)) == 9


def test_a_long_transaction_costs_no_memory_and_loses_nothing() -> None:
    horizon = Horizon()
    for number in range(1, 10 * MOST_PENDING):
        assert horizon.see(Look(last=number, next_xid=100 + number, xmin=50, xmax=100 + number)) == 0
    last = 10 * MOST_PENDING
    assert horizon.see(Look(last=last, next_xid=5000, xmin=4999, xmax=5000)) == MOST_PENDING
    assert horizon.see(Look(last=last, next_xid=5000, xmin=5000, xmax=5000)) == last


@given(st.data())
def test_nothing_comes_before_what_was_said_to_be_complete(data: DataObject) -> None:
    """Transactions begin, take numbers and end in any order; looks fall in between."""
    horizon, next_xid, number, done = Horizon(), 100, 0, 0
    running: dict[int, list[int]] = {}
    ended: dict[int, list[int]] = {}
    for _ in range(data.draw(st.integers(1, 40))):
        match data.draw(st.sampled_from(("begin", "take", "end", "look"))):
            case "begin":
                running[next_xid] = []
                next_xid += 1
            case "take" if running:
                number += 1
                running[data.draw(st.sampled_from(sorted(running)))].append(number)
            case "end" if running:
                xid = data.draw(st.sampled_from(sorted(running)))
                ended[xid] = running.pop(xid)
            case "look":
                xmax = max(ended, default=99) + 1
                xmin = min([xid for xid in running if xid < xmax], default=xmax)
                visible = [one for numbers in ended.values() for one in numbers]
                done = horizon.see(Look(max(visible, default=0), next_xid, xmin, xmax))
            case _:
                pass
        assert all(one > done for numbers in running.values() for one in numbers)
    assert number < 1 or done <= number
