from __future__ import annotations

import json

import msgspec
import pytest

from dsl.outcome import Subject
from worker.broker.follow import Followed
from worker.serve.config import Config
from worker.serve.hub import MOST_QUEUED, Hub
from worker.serve.problems import TooManyRequestsError

CONFIG = Config("c" * 43, live_streams=3, live_per_subject=2)
U1 = Subject("t1", "user", "u1")


def message(seq: int = 5, **changes: object) -> Followed:
    said = {
        "kind": "granted",
        "revision": 1,
        "unlock_id": "11111111-1111-1111-1111-111111111111",
        "tenant_id": "t1",
        "scope": "user",
        "subject": "u1",
        "achievement": "a",
        "tier": None,
        "occurrence": None,
        "status": "granted",
        "title": {"en": "A", "de": "Ä"},
        "reward": {"xp": 1.50},
        "actor": "root@ops",
        "reason": "between us",
        "event_id": "e1",
        **changes,
    }
    return Followed(seq, {"Nats-Msg-Id": "x"}, msgspec.json.encode(said))


def test_each_listener_gets_it_in_its_language() -> None:
    hub = Hub(CONFIG)
    german, other = hub.join(U1, ("de",)), hub.join(Subject("t2", "user", "u1"), ())
    team = hub.join(Subject("t1", "team", "u1"), ())
    hub.deliver(message())
    frame = german.take(0).decode()
    said = json.loads(frame.split("data: ")[1])
    assert (said["title"], said["language"], said["reward"]) == ("Ä", "de", {"xp": 1.5})
    assert frame.startswith("id: ")
    assert not [
        word for word in ("actor", "reason", "root@ops", "between us", "tenant_id", "event_id") if word in frame
    ]
    assert other.take(0) == team.take(0) == b""


@pytest.mark.parametrize(
    "foreign",
    [
        message()._replace(headers={}),
        message(kind="withheld"),
        Followed(5, {"Nats-Msg-Id": "x"}, b'{"stream": "EVENTS", "seq": 1}'),
        Followed(5, {"Nats-Msg-Id": "x"}, b"["),
    ],
)
def test_what_is_no_announcement_or_not_for_users_is_passed_over(foreign: Followed) -> None:
    hub = Hub(CONFIG)
    client = hub.join(U1, ())
    hub.deliver(foreign)
    assert client.take(0) == b""


def test_a_live_event_is_of_one_scope() -> None:
    hub = Hub(CONFIG)
    user, team = hub.join(U1, ()), hub.join(Subject("t1", "team", "u1"), ())
    hub.deliver(message(scope="team"))
    assert (user.take(0), team.take(0).count(b"event: unlock")) == (b"", 1)


def test_what_was_sent_already_is_left_out() -> None:
    hub = Hub(CONFIG)
    client = hub.join(U1, ())
    for seq in (4, 5, 6):
        hub.deliver(message(seq))
    hub.say_stale(U1)
    frames = client.take(5)
    assert (frames.count(b"event: unlock"), frames.count(b"event: stale")) == (1, 1)
    assert hub.place_of(U1, frames.split(b"\n")[0].removeprefix(b"id: ").decode()) == 6


def test_a_slow_client_is_cut_off_and_holds_no_more() -> None:
    hub = Hub(CONFIG)
    slow, quick = hub.join(U1, ()), hub.join(U1, ())
    for seq in range(1, MOST_QUEUED + 10):
        hub.deliver(message(seq))
        quick.take(0)
    assert (slow.slow, quick.slow) == (True, False)
    assert slow.take(0).count(b"event: unlock") == MOST_QUEUED


def test_places_are_bounded_and_given_back() -> None:
    hub = Hub(CONFIG)
    first, _ = hub.join(U1, ()), hub.join(U1, ())
    with pytest.raises(TooManyRequestsError, match="2 live streams"):
        hub.join(U1, ())
    hub.join(Subject("t1", "user", "u2"), ())
    with pytest.raises(TooManyRequestsError, match="no more"):
        hub.join(Subject("t1", "user", "u3"), ())
    hub.leave(first)
    hub.join(Subject("t1", "user", "u3"), ())
    assert hub.count == 3


def test_no_tenant_takes_the_places_of_others() -> None:
    hub = Hub(msgspec.structs.replace(CONFIG, live_streams=1000, live_per_tenant=3))
    joined = [hub.join(Subject("t1", "user", f"u{n}"), ()) for n in range(3)]
    with pytest.raises(TooManyRequestsError, match="this tenant has 3 live streams"):
        hub.join(Subject("t1", "user", "u4"), ())
    hub.join(Subject("t2", "user", "u1"), ())
    hub.leave(joined[1])
    hub.join(Subject("t1", "user", "u4"), ())
    assert hub.count == 4


def test_an_id_is_one_subject_s() -> None:
    hub, later = Hub(CONFIG), Hub(CONFIG)
    known = hub.id_of(U1, 7).decode()
    assert later.place_of(U1, known) == 7
    for other in (Subject("t1", "user", "u2"), Subject("t2", "user", "u1"), Subject("t1", "team", "u1")):
        assert hub.place_of(other, known) is None
    assert hub.place_of(U1, "7") is None
    assert Hub(Config("d" * 43)).place_of(U1, known) is None


def test_a_tenant_s_events_touch_those_of_its_subjects_that_are_listened_to() -> None:
    hub = Hub(Config("c" * 43))
    user, other, team, far = (
        Subject("t1", "user", "a.b"),
        Subject("t1", "user", "u2"),
        Subject("t1", "team", "red"),
        Subject("t2", "user", "a.b"),
    )
    clients = [hub.join(subject, ()) for subject in (user, other, team, far)]

    def touched(tenant: str) -> set[Subject]:
        hub.touch(tenant)
        return set(hub.take_touched(100))

    assert touched("t1") == {user, other, team}
    assert touched("t2") == {far}
    assert touched("t3") == set()
    hub.deliver(message(subject="u2"))
    assert hub.take_touched(100) == [other]
    hub.touch_all()
    assert len(hub.take_touched(3)) == 3
    assert len(hub.take_touched(3)) == 1
    for client in clients:
        hub.leave(client)
    assert touched("t1") == set()
