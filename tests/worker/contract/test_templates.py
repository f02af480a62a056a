"""Texts taken apart come together as they were, and payloads of one form take little room."""

from __future__ import annotations

import json
from random import Random

from hypothesis import example, given
from hypothesis import strategies as st

from tests.worker.contract.test_pack import TEXTS
from worker.contract.pack import PackedEvent, pack_of, unpack, unpack_events
from worker.contract.templates import apart, together

ODD = ["", "=", "%d", "100%", "\1", "07", "-0", "1.050", "1e9", "9" * 18, "9" * 19, "x1y2", "1,2,3", "\u0661"]
MIXED = st.lists(st.one_of(st.integers(0, 10**20).map(str), st.sampled_from(ODD), TEXTS), max_size=6).map("".join)


@example(["1 of 100%", "%d and 2", "07, 1.050 and 1"], [0, 0, 1, 1, 2, 2])
@given(st.lists(MIXED, min_size=1, max_size=4), st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_what_is_taken_apart_comes_together(some: list[str], drawn: list[int]) -> None:
    texts = [some[one % len(some)] for one in drawn]
    found = apart(texts)
    if found is not None:
        assert together(found.templates, memoryview(found.numbers), len(texts)) == texts


def test_texts_that_differ_stay_whole() -> None:
    assert apart(["a", "b", "c"]) is None
    assert apart(["\1", "\1"]) is None
    assert apart(["a1", "a2"]) is not None


def packed(*payloads: str | None) -> tuple[bytes, list[PackedEvent]]:
    """Return events of these payloads as a pack."""
    events = [
        PackedEvent(f"e{n}", "a.done", n, 0, None, "app", payload, n, n, None, None)
        for n, payload in enumerate(payloads)
    ]
    return pack_of(events), events


def test_payloads_of_one_form_take_little_room() -> None:
    dice = Random(1)  # noqa: S311 - no secret
    some = [json.dumps({"lesson": f"l{dice.randint(1, 50)}", "amount": dice.randint(1, 100)}) for _ in range(400)]
    odd = [None, "{}", '{"amount": 1.50}', '{"amount": 007}', *some]
    body, events = packed(*odd)
    assert unpack(body) == events
    assert [row[6] for row in unpack_events(body, "t", "u")] == odd
    without, _ = packed(*([None] * len(odd)))
    # Two numbers below a hundred are less than two bytes.
    assert len(body) - len(without) < 2 * len(odd)
