from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.js import api

from dsl.check.rewards import MAX_REWARD_BYTES, check_rewards, reward_bytes
from dsl.ruleset import build
from tests.reference.draw_settings import thorough
from worker.contract.fields import MAX_ID_BYTES
from worker.engine.announcement import Claimed, announcement, words_of
from worker.engine.announcement_limits import HEADER_BYTES, Announceable, announcements

TEXT = """
event a.done {}
achievement one {
  title "One" when count(event=a.done, >= 1) repeat every hour
  reward { xp: 10, at: [1.50, "\u00e4", true] }
}
achievement two {
  title "Two" when count(event=a.done, >= 1) scope tenant
}
achievement ladder {
  title "Ladder" reward { x: 1 }
  tier low { title "Low" when count(event=a.done, >= 1) }
  tier high { title "High" when count(event=a.done, >= 2) reward { x: "%s" } }
}
"""


def sizes(text: str = TEXT % "y") -> dict[str, Announceable]:
    rules = build([("rules.ach", text.encode())])
    assert not rules.errors
    return {one.name: one for one in announcements(rules.rules, "UNLOCKS")}


IDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=MAX_ID_BYTES).filter(
    lambda text: len(text.encode()) <= MAX_ID_BYTES
)


@thorough(200)
@given(IDS, IDS, IDS)
def test_no_announcement_is_larger_than_is_said(tenant: str, user: str, event: str) -> None:
    claimed = Claimed(UUID(int=0), tenant, "user", user, "one", "", "2026-04-13T09", 1, 0, event, 0, REWARD)
    words = words_of(build([("rules.ach", (TEXT % "y").encode())]).rules.achievements["one"][0], None, final=True)
    body = len(announcement(claimed, str(claimed.unlock_id), words))
    said = sizes()["one"]
    assert said.least <= body + HEADER_BYTES + len("UNLOCKS") <= said.most


REWARD = '{"xp": 10, "at": [1.50, "\u00e4", true]}'
"""As the ledger writes it."""


def test_the_headers_have_room() -> None:
    headers = {
        api.Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: "0",
        api.Header.EXPECTED_STREAM.value: "UNLOCKS",
        api.Header.MSG_ID.value: str(UUID(int=0)),
    }
    block = "NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
    assert len(block) <= HEADER_BYTES + len("UNLOCKS")


def test_every_tier_has_its_own_reward() -> None:
    found = sizes(TEXT % ("y" * 1000))
    assert set(found) == {"one", "two", "ladder.low", "ladder.high"}
    assert found["ladder.high"].least > found["ladder.low"].least + 900
    assert found["two"].most > found["two"].least


@pytest.mark.parametrize(("more", "wrong"), [(0, False), (1, True)])
def test_a_reward_has_a_bound(more: int, *, wrong: bool) -> None:
    text = TEXT % ("y" * (MAX_REWARD_BYTES - len('{"x": ""}') + more))
    rules = build([("rules.ach", text.encode())])
    # What an earlier release has applied is still read.
    assert rules.program is not None
    found = check_rewards(rules.written_out)
    assert [problem.code for problem in found] == ["ACH423"] * wrong
    if wrong:
        assert "65,537 bytes" in found[0].message
        assert rules.sources[0].text[slice(*found[0].span)].startswith("reward {")


def test_numbers_are_measured_as_they_are_written() -> None:
    text = b'event a.done {}\nachievement one { title "One" when count(event=a.done, >= 1) reward { x: 1.25e9 } }'
    (version,) = build([("rules.ach", text)]).rules.achievements["one"]
    assert reward_bytes(version.reward) == len('{"x": 1250000000}')
