"""What a message says of its events beside their bodies, and that no event means anything else for it."""

from __future__ import annotations

import json
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.worker.contract.test_strict_reader import CONTRACT, NOW, event
from worker.broker.protocol import header_block
from worker.contract.message import Message
from worker.contract.row import WIDTH, end_of
from worker.contract.strict_reader import Accepted
from worker.contract.transport import (
    MAX_REGION_BYTES,
    NO_REGION,
    NOWHERE,
    REGION_HEADER,
    is_region,
    region_named,
    region_of,
    transport_of,
)
from worker.engine.decoding import decode
from worker.engine.rule_set import Deployed, RuleFile, read_rules
from worker.settings import SettingsError, read_settings

if TYPE_CHECKING:
    from worker.engine.batch import Batch

SENT = "1795456090983915045"
HEADERS: list[tuple[dict[str, str], str | None]] = [
    ({}, None),
    ({"Nats-Msg-Id": "t1:e1"}, None),
    ({REGION_HEADER: "eu-west-1"}, "eu-west-1"),
    ({"Nats-Msg-Id": "t1:e1", REGION_HEADER: "  eu "}, "eu"),
    ({"A": "Ach-Region: us", REGION_HEADER: "A_b.9-c"}, "A_b.9-c"),
    ({REGION_HEADER: ""}, None),
    ({"ach-region": "eu"}, None),
    ({REGION_HEADER: "r" * MAX_REGION_BYTES}, "r" * MAX_REGION_BYTES),
    ({REGION_HEADER: "r" * (MAX_REGION_BYTES + 1)}, NO_REGION),
    ({REGION_HEADER: "r" * 5000}, NO_REGION),
    ({REGION_HEADER: "e u"}, NO_REGION),
    ({REGION_HEADER: "*"}, NO_REGION),
    ({REGION_HEADER: "é"}, NO_REGION),
    ({REGION_HEADER: "eu\x1fus"}, NO_REGION),
    ({REGION_HEADER: '<b>"'}, NO_REGION),
]
ATTRIBUTES = [
    (b"", None),
    (b"null", None),
    (b'""', None),
    (b'"eu-west-1"', "eu-west-1"),
    (b'"\\u0065u"', "eu"),
    (b'"' + b"r" * 65 + b'"', NO_REGION),
    (b'"' + b"r" * 5000 + b'"', NO_REGION),
    (b'"*"', NO_REGION),
    (b"7", NO_REGION),
    (b'{"a":1}', NO_REGION),
    (b'["eu"]', NO_REGION),
]


@pytest.mark.parametrize(("headers", "region"), HEADERS)
def test_the_region_of_a_message(headers: dict[str, str], region: str | None) -> None:
    assert region_named(header_block(headers)) == region


def test_the_last_header_counts_as_for_all_headers() -> None:
    message = Message("s", b"", b"NATS/1.0\r\nAch-Region: us\r\nAch-Region: eu\r\n\r\n", 1, "")
    assert region_named(message.block) == message.headers[REGION_HEADER] == "eu"
    assert region_named(b"NATS/1.0\r\nAch-Region: eu") == "eu"


def block_of(*regions: str) -> bytes:
    return b"NATS/1.0\r\n" + b"".join(b"Ach-Region: %s\r\n" % one.encode() for one in regions) + b"\r\n"


BLOCKS = st.sampled_from(
    [
        *(b"", *map(block_of, ("eu", "us", "", "n o")), block_of("eu", "eu"), block_of("eu", "us")),
        *(block_of("eu")[:-4], b"NATS/1.0\r\nAch-Re", b"gion: us\r\n\r\n"),
    ]
)


@given(st.lists(BLOCKS, min_size=1, max_size=5))
@example([block_of("eu", "eu"), b""])
@example([block_of("eu"), block_of("eu", "us")])
@example([block_of("eu"), block_of("eu")])
def test_no_message_names_the_region_of_another(blocks: list[bytes]) -> None:
    messages = [Message("s", b"", block, seq, "", SENT) for seq, block in enumerate(blocks, 1)]
    ends, regions = transport_of(messages, "home")
    alone = [transport_of([message], "home") for message in messages]
    assert ends == [end for (end,), _ in alone]
    assert regions == frozenset[str]().union(*(one.regions for one in alone))
    for (end,), block in zip([one.ends for one in alone], blocks, strict=True):
        named = region_named(block)
        assert end.endswith("\x1f" + ("home" if named is None else named))


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_the_closest_to_the_event_decides(attribute: tuple[bytes, str | None]) -> None:
    for header, setting in product(HEADERS, ("", "fallback")):
        expected = next(one for one in (attribute[1], header[1], setting) if one is not None)
        said = json.dumps(event(payload={"lesson_id": "l"})).encode()[:-1]
        body = said + (b', "region": ' + attribute[0] if attribute[0] else b"") + b"}"
        message = Message("events.raw", body, header_block(header[0]), 9, "", SENT)
        (end,), regions = transport_of([message], setting)
        found = [
            *CONTRACT.read("events.raw", body, now=NOW, end=end),
            *CONTRACT.look_closely("events.raw", b"[" + body + b"]", now=NOW, end=end),
            *CONTRACT.read("events.raw", b"[" + body + b", " + body + b"]", now=NOW, end=end),
        ]
        ends = [one.row.rsplit("\x1f", 3)[1:] for one in found if isinstance(one, Accepted)]
        assert ends == [["9", SENT, expected]] * 4
        assert regions == {header[1] if header[1] is not None else setting}


@given(st.text(max_size=70) | st.from_regex(r"[A-Za-z0-9._-]{0,66}\n?", fullmatch=True))
def test_settings_and_messages_agree_on_what_a_region_is(text: str) -> None:
    try:
        taken = read_settings({"ACH_REGION": text}).region
    except SettingsError:
        assert not is_region(text)
    else:
        assert taken == text if text else taken is None
        assert is_region(text) == (text != "")


RULES = Deployed(
    1,
    read_rules([RuleFile("r.ach", "event e {}\n")]),
    since={},
    prefix="events",
    skew=0,
    mark=4_611_686_018_427_387_847,
    region="home",
)
REGIONS: st.SearchStrategy[Any] = st.sampled_from(["eu", "us", None, "", "n o", 7, ["eu"], {"a": {}}, ...])
NAMES = st.sampled_from([None, "eu", "", "n o"])


@given(st.lists(st.tuples(REGIONS, NAMES, st.sampled_from(["", SENT]), st.booleans()), min_size=1, max_size=6))
def test_region_and_time_are_no_part_of_an_event(said: list[tuple[Any, str | None, str, bool]]) -> None:
    """Whatever they are, what is judged is the same, and so is what tells copies apart."""
    plain = batch_of([(..., None, "", array) for _, _, _, array in said])
    found = batch_of(said)
    assert [item.event for item in found.items] == [item.event for item in plain.items]
    assert [item.written for item in found.items] == [item.written for item in plain.items]
    assert [item.audience.members for item in found.items] == [item.audience.members for item in plain.items]
    assert [item.row.split("\x1f")[: WIDTH - 3] for item in found.items] == [
        item.row.split("\x1f")[: WIDTH - 3] for item in plain.items
    ]
    assert plain.regions == {"home"}
    assert {region_of(item.row) for item in found.items} <= found.regions
    assert found.letters == ()


def batch_of(said: list[tuple[Any, str | None, str, bool]]) -> Batch:
    messages: list[Message] = []
    for number, (attribute, header, sent, array) in enumerate(said, 1):
        own = {} if attribute is ... else {"region": attribute}
        one = {
            "event_id": f"e{number}",
            "event_type": "e",
            "user_id": "u",
            "tenant_id": "t",
            "occurred_at": "2026-04-13T09:00:00Z",
            **own,
        }
        block = header_block({} if header is None else {REGION_HEADER: header})
        messages.append(Message("events.raw", json.dumps([one] if array else one).encode(), block, number, "", sent))
    return decode(messages, RULES, now=NOW)


def test_ends_of_rows() -> None:
    assert region_of(NOWHERE) == NO_REGION
    (one,) = CONTRACT.read("events.raw", json.dumps(event(user_id="u\x1f1")).encode(), now=NOW, end="7\x1f8\x1feu")
    assert isinstance(one, Accepted)
    assert end_of(one.row) == "7\x1f8\x1feu"
