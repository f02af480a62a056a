"""Packs: whatever the ledger may hold comes out as it went in, and what is no pack is refused."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.contract.pack import VERSION, PackedEvent, UnreadablePackError, pack_of, unpack, unpack_events

INSTANTS = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
NAMES = TEXTS.filter(bool)


def uuid7(at: int, low: int) -> str:
    return str(UUID(int=(max(0, at) // 1000 % 2**48) << 80 | 7 << 76 | 2 << 62 | low))


@st.composite
def events(draw: st.DrawFn) -> list[PackedEvent]:
    """Draw events of one user, with ids of one kind or of several."""
    kind = draw(st.sampled_from(["text", "uuid", "timed", "mixed"]))
    found: list[PackedEvent] = []
    for _ in range(draw(st.integers(1, 6))):
        at = draw(INSTANTS)
        ids = {
            "text": NAMES,
            "uuid": st.uuids().map(str),
            "timed": st.integers(0, 2**62 - 1).map(lambda low, at=at: uuid7(at, low)),
        }
        made = draw(st.one_of(*ids.values()) if kind == "mixed" else ids[kind])
        received = draw(INSTANTS)
        published = draw(st.none() | INSTANTS | st.integers(received - 2, received + 2))
        found.append(
            PackedEvent(
                made,
                draw(NAMES),
                at,
                draw(st.integers(-86_400, 86_400)),
                draw(st.none() | NAMES),
                draw(st.none() | TEXTS),
                draw(st.none() | NAMES),
                received,
                draw(st.integers(0, 2**63 - 1)),
                published,
                draw(st.none() | NAMES),
            )
        )
    return found


@given(events())
def test_what_is_packed_comes_out(drawn: list[PackedEvent]) -> None:
    body = pack_of(drawn)
    assert unpack(body) == drawn
    assert unpack_events(body, "t", "u") == [
        (*("t", one.event_id, one.event_type, "u"), one.occurred_at, one.utc_offset, one.payload) for one in drawn
    ]


@given(events(), st.data())
def test_what_is_not_as_it_was_written_is_refused(drawn: list[PackedEvent], data: st.DataObject) -> None:
    body = bytearray(pack_of(drawn))
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    cut = bytes(body[: data.draw(st.integers(0, len(body)))])
    for spoilt in (bytes(body), cut):
        with pytest.raises(UnreadablePackError):
            unpack(spoilt)


def test_a_pack_of_a_later_release_is_refused_in_words() -> None:
    one = PackedEvent("e", "a.done", 1, 0, None, None, None, 2, 3, None, None)
    body = bytes([VERSION + 1]) + pack_of([one])[1:]
    with pytest.raises(UnreadablePackError, match=f"form {VERSION + 1}; this release reads form {VERSION}"):
        unpack(body)
