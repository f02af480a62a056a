"""What a session knows, and what it refuses because it cannot."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import ach
from ach import Event, EventError, LateEventError, OtherSubjectError, StateError, Status
from dsl.outcome import Subject
from dsl.progress import Grant
from worker.engine.reconcile import unlock_id

if TYPE_CHECKING:
    from ach import Session

TEXT = """
event lesson.completed { score: int, team: string? }
event profile.changed { name: string? }
event refund.made {}
achievement three {
  title { en: "Three lessons", de: "Drei Lektionen" }
  family learning
  when count(event=lesson.completed, >= 3)
  reward { xp: 10 }
}
achievement clean { title "Clean" when count(event=lesson.completed, >= 2, unless=refund.made) settle 1h }
achievement daily { title "Daily" when count(event=lesson.completed, >= 1) repeat every day }
achievement hidden { title "Hidden" when count(event=lesson.completed, >= 100) reveal secret }
achievement together { title "Together" scope team when count(event=lesson.completed, >= 2) }
"""
RULES = ach.load_text(TEXT)
BEGIN = datetime(2026, 1, 1, 10, tzinfo=UTC)
LATER = 1_790_000_000_000_000


def event(number: int, event_type: str = "lesson.completed", *, user: str = "ann", **fields: object) -> Event:
    payload = {"score": number, **fields} if event_type == "lesson.completed" else fields
    return Event(
        event_id=f"{event_type}-{number}-{user}",
        tenant_id="acme",
        user_id=user,
        event_type=event_type,
        occurred_at=BEGIN + timedelta(minutes=number),
        payload=payload,
    )


def fed(session: Session, *numbers: int) -> list[str]:
    return [grant.id for number in numbers for grant in session.feed(event(number))]


def test_a_grant_says_what_was_earned_in_words() -> None:
    me = RULES.user("acme", "ann")
    assert fed(me, 1, 2) == ["daily", "clean"]
    (three,) = me.feed(event(3))
    assert (three.achievement, three.family, three.reward, three.final) == ("three", "learning", {"xp": 10}, True)
    assert [three.title(), three.title("de-AT"), three.title("fr")] == [
        "Three lessons",
        "Drei Lektionen",
        "Three lessons",
    ]
    assert (three.earned_at, three.event_id) == ("2026-01-01T10:03:00.000000Z", "lesson.completed-3-ann")
    assert msgspec.json.decode(msgspec.json.encode(three))["unlock_id"] == three.unlock_id


def test_the_id_is_the_one_of_the_worker() -> None:
    me = RULES.user("acme", "ann")
    (three,) = [grant for number in (1, 2, 3) for grant in me.feed(event(number)) if grant.id == "three"]
    key = Grant("three", None, None, version=7, earned_at=0, event_id="any", settle=0)
    assert three.unlock_id == str(unlock_id(Subject("acme", "user", "ann"), key))


@pytest.mark.parametrize("form", ["typed", "mapping", "text", "bytes"])
def test_an_event_may_come_in_any_form(form: str) -> None:
    one = event(1)
    body = one.encode()
    forms: dict[str, Any] = {"typed": one, "mapping": msgspec.json.decode(body), "text": body.decode(), "bytes": body}
    assert [grant.id for grant in RULES.user("acme", "ann").feed(forms[form])] == ["daily"]


def test_numbers_are_exact() -> None:
    body = event(1, score=Decimal(3)).encode()
    assert b'"score":3' in body


@pytest.mark.parametrize(
    ("broken", "reason", "names"),
    [
        ({"payload": {"score": "many"}}, "contract", "payload.score"),
        ({"payload": {}}, "contract", "payload.score"),
        ({"user_id": ""}, "invalid_event", "user_id"),
        ({"occurred_at": datetime(2026, 1, 1)}, "invalid_event", "occurred_at"),  # noqa: DTZ001 - it is what is wrong
        ({"occurred_at": "2099-01-01T00:00:00Z"}, "from_the_future", "occurred_at"),
    ],
)
def test_what_is_no_event_is_refused_and_changes_nothing(broken: dict[str, Any], reason: str, names: str) -> None:
    me = RULES.user("acme", "ann")
    before = me.state()
    with pytest.raises(EventError, match=names) as refused:
        me.feed(msgspec.structs.replace(event(1), **broken))
    assert (refused.value.reason, me.state()) == (reason, before)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[1,2]", b"\xff", b"[" * 100_000, b"{}" * 2])
def test_no_bytes_raise_anything_else(body: bytes) -> None:
    with pytest.raises(EventError):
        RULES.user("acme", "ann").feed(body)


def test_another_tenant_or_user_is_refused() -> None:
    me = RULES.user("acme", "ann")
    with pytest.raises(OtherSubjectError, match="'bob'"):
        me.feed(event(1, user="bob"))
    with pytest.raises(OtherSubjectError, match="'rival'"):
        me.feed(msgspec.structs.replace(event(1), tenant_id="rival"))
    with pytest.raises(OtherSubjectError):  # of a type that no rule counts, too
        me.feed(event(1, "profile.changed", user="bob"))
    assert me.grants() == []


def test_a_type_that_no_rule_counts_earns_nothing() -> None:
    me = RULES.user("acme", "ann")
    before = me.state()
    assert me.feed(event(1, "profile.changed")) == []
    assert me.state() == before


def test_a_copy_earns_nothing_and_another_event_with_its_id_is_refused() -> None:
    me = RULES.user("acme", "ann")
    assert fed(me, 1, 1, 2, 1, 2) == ["daily", "clean"]
    with pytest.raises(EventError, match="another body"):
        me.feed(event(1, score=99))


def test_a_late_event_is_folded_in_its_place() -> None:
    me = RULES.user("acme", "ann")
    assert fed(me, 10, 20, 30) == ["daily", "clean", "three"]
    assert me.feed(event(5)) == []
    earned = {grant.id: grant.event_id for grant in me.grants()}
    assert earned["three"] == "lesson.completed-20-ann"
    assert me.feed(event(15, "refund.made")) == []
    assert "clean" in {grant.id for grant in me.grants()}
    assert [me.feed(event(number, "refund.made")) for number in (7, 25)] == [[], []]
    assert "clean" not in {grant.id for grant in me.grants()}


@pytest.mark.parametrize("remember", [0, 1, 2])
def test_what_lies_before_all_that_is_remembered_cannot_be_judged(remember: int) -> None:
    me = RULES.user("acme", "ann", remember=remember)
    fed(me, *range(10, 20))
    before = me.state()
    with pytest.raises(LateEventError, match="cannot tell"):
        me.feed(event(10))
    with pytest.raises(LateEventError):
        me.feed(event(1))
    assert me.state() == before
    assert me.feed(event(19)) == []


def test_a_state_goes_on_where_it_was_left() -> None:
    me = RULES.user("acme", "ann")
    fed(me, 1, 2)
    again = RULES.user("acme", "ann", state=me.state())
    assert again.state() == me.state()
    assert fed(again, 1, 2, 3) == ["three"]
    assert fed(me, 3) == ["three"]
    assert again.state() == me.state()
    assert again.progress(now=LATER) == me.progress(now=LATER)


def test_a_state_is_refused_under_other_rules() -> None:
    other = ach.load_text(TEXT.replace(">= 3", ">= 4"))
    state = RULES.user("acme", "ann").state()
    with pytest.raises(StateError, match="other rules"):
        other.user("acme", "ann", state=state)
    same = ach.load_text(TEXT.replace("Three lessons", "Three of them"))
    same.user("acme", "ann", state=state)


@pytest.mark.parametrize("whose", [("acme", "bob"), ("rival", "ann")])
def test_a_state_is_refused_for_another(whose: tuple[str, str]) -> None:
    with pytest.raises(StateError, match="'ann' of tenant 'acme'"):
        RULES.user(*whose, state=RULES.user("acme", "ann").state())
    with pytest.raises(StateError):
        RULES.subject("acme", "team", "ann", state=RULES.user("acme", "ann").state())


def test_no_bytes_are_taken_for_a_state() -> None:
    me = RULES.user("acme", "ann")
    fed(me, 1, 2, 3)
    state = me.state()
    for damaged in (b"", b"\x90", b"nothing", b"\x91" * 100_000, state[:-1], state[:40], b"\x91\x02", state + b"x"):
        with pytest.raises(StateError):
            RULES.user("acme", "ann", state=damaged)


def test_a_made_up_tail_is_refused() -> None:
    me, bob = RULES.user("acme", "ann"), RULES.user("acme", "bob")
    fed(me, 1)
    bob.feed(event(1, user="bob"))
    with pytest.raises(StateError, match="does not belong"):
        RULES.user("acme", "ann", state=bob.state().replace(b"user\xa3bob", b"user\xa3ann"))
    twice = msgspec.msgpack.decode(me.state())
    twice[-1] *= 2
    with pytest.raises(StateError, match="no session"):
        RULES.user("acme", "ann", state=msgspec.msgpack.encode(twice))


def test_progress_is_what_the_read_api_shows() -> None:
    me = RULES.user("acme", "ann")
    shown = {one.id: one for one in me.progress(now=LATER)}
    assert list(shown) == ["clean", "daily", "three"]
    assert (shown["three"].status, shown["three"].current, shown["three"].target) == (Status.LOCKED, "0", "3")
    fed(me, 1, 2)
    shown = {one.id: one for one in me.progress(["de"], now=LATER)}
    three = shown["three"]
    assert (three.status, three.current, three.percent, three.title) == (
        Status.IN_PROGRESS,
        "2",
        66,
        "Drei Lektionen",
    )
    fed(me, 3)
    three = {one.id: one for one in me.progress(now=LATER)}["three"]
    assert (three.status, three.percent, three.times, three.reward) == (Status.EARNED, 100, 1, {"xp": 10})
    assert "hidden" in {one.id for one in me.progress(as_user=False, now=LATER)}


def test_what_settles_is_not_granted_before_its_time() -> None:
    me = RULES.user("acme", "ann")
    fed(me, 1)
    (clean,) = me.feed(event(2))
    assert clean.settles_at == "2026-01-01T11:02:00.000000Z"
    assert not clean.final
    at = int(BEGIN.timestamp()) * 1_000_000
    status = [{one.id: one.status for one in me.progress(now=at + wait)}["clean"] for wait in (0, 4 * 3_600_000_000)]
    assert status == [Status.SETTLING, Status.EARNED]


def test_occurrences_are_counted_beyond_those_that_are_kept() -> None:
    me = RULES.user("acme", "ann", remember=1)
    sizes: list[int] = []
    for day in range(40):
        me.feed(msgspec.structs.replace(event(day), occurred_at=BEGIN + timedelta(days=day)))
        me = RULES.user("acme", "ann", state=me.state(), remember=1)
        sizes.append(len(me.state()))
    daily = {one.id: one for one in me.progress(now=int((BEGIN + timedelta(days=39)).timestamp()) * 1_000_000)}["daily"]
    assert (daily.times, daily.status, daily.occurrence) == (40, Status.EARNED, "2026-02-09")
    assert max(sizes[20:]) < max(sizes[:20]) + 200


def test_other_scopes_have_sessions_too() -> None:
    team = RULES.subject("acme", "team", "red")
    assert team.feed(event(1, team="red")) == []
    assert team.feed(event(2)) == []  # of no team
    with pytest.raises(OtherSubjectError, match="'blue'"):
        team.feed(event(3, team="blue"))
    assert [grant.id for grant in team.feed(event(4, user="bob", team="red"))] == ["together"]
    with pytest.raises(ach.ScopeError, match="team"):
        RULES.subject("acme", "squad", "red")


def test_rules_with_errors_say_where() -> None:
    with pytest.raises(ach.RulesError, match=r"mine\.ach:1:") as refused:
        ach.load_text("achievement x { when count(event=nothing, >= 1) }", name="mine.ach")
    assert refused.value.problems
    with pytest.raises(ach.RulesError, match="no such file"):
        ach.load("nowhere/rules")


def test_rules_are_shared_by_threads() -> None:
    found: dict[int, list[str]] = {}

    def work(number: int) -> None:
        me = RULES.user("acme", f"u{number}")
        found[number] = [grant.id for n in range(1, 60) for grant in me.feed(event(n, user=f"u{number}"))]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert {tuple(one) for one in found.values()} == {("daily", "clean", "three")}


def test_a_session_remembers_no_negative_number_of_events() -> None:
    with pytest.raises(ValueError, match="remember"):
        RULES.user("acme", "ann", remember=-1)
