"""A recording that is divided by users says what it says in one piece: results, counts and dead letters."""

from __future__ import annotations

import json
from array import array
from random import Random
from typing import Any, Final

import pytest

from dsl.ruleset import RuleSet, build
from tests.faults.nasty import RULES, good_event
from tests.worker.engine.test_replay import MARK, NOW, SKEW, mixed
from worker.commands.replay.large import large_replay, shards_for
from worker.contract.bulk_keys import keys_of
from worker.engine import shards
from worker.engine.replay import Result, replay
from worker.engine.shards import Ground

SHARDS: Final = 7


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return build([("rules.ach", RULES.encode())])


def in_one_piece(rules: RuleSet, messages: list[bytes]) -> tuple[Result, list[Any]]:
    assert rules.program is not None, rules.problems
    return replay(rules.rules, rules.program, messages, now=NOW, skew=SKEW, mark=MARK)


def divided(rules: RuleSet, messages: list[bytes], processes: int = 1, parts: int = 1) -> tuple[Result, list[Any]]:
    assert rules.program is not None, rules.problems
    ground = Ground(rules.rules, rules.program, SHARDS, now=NOW, skew=SKEW, mark=MARK, parts=parts)
    done = 0

    def moved(events: int) -> None:
        nonlocal done
        done += events

    with large_replay(ground, processes) as work:
        for at in range(0, len(messages), 500):
            work.take(messages[at : at + 500])
        found = work.result(moved)
    counts = found[0].counts
    assert done <= counts.events + counts.duplicates + counts.dead
    return found


def stolen(dice: Random, messages: list[bytes]) -> list[bytes]:
    """Return messages of other users with ids that are known: each is a conflict, wherever it is read."""
    made: list[bytes] = []
    for body in dice.sample(messages, 40):
        try:
            said = json.loads(body)
        except ValueError:
            continue
        if isinstance(said, dict) and isinstance(said.get("user_id"), str):
            made += [json.dumps({**said, "user_id": f"thief{n}"}).encode() for n in range(3)]
    return made


@pytest.mark.parametrize(("spoilt_share", "processes", "parts"), [(0.0, 1, 1), (0.002, 2, 3), (0.3, 1, 3)])
def test_divided_it_says_the_same(rules: RuleSet, spoilt_share: float, processes: int, parts: int) -> None:
    dice = Random(int(spoilt_share * 1000) + 7)  # noqa: S311 - no secret
    messages = mixed(dice, spoilt_share)
    messages += stolen(dice, messages)
    dice.shuffle(messages)
    whole, found = in_one_piece(rules, messages), divided(rules, messages, processes, parts)
    assert found == whole
    assert whole[0].counts.late
    assert {one.reason for one in whole[1]} >= {"id_conflict"}
    scopes = {one.scope for one in whole[0].unlocks}
    assert scopes == {"user", "team", "tenant"}


def test_an_array_is_divided_by_its_users(rules: RuleSet) -> None:
    dice = Random(5)  # noqa: S311 - no secret
    events = [good_event(dice, number) for number in range(600)]
    single = [json.dumps(one).encode() for one in events]
    arrays = [b"[%b]" % b" , ".join(single[at : at + 20]) for at in range(0, len(single), 20)]
    assert divided(rules, arrays) == in_one_piece(rules, arrays)
    assert divided(rules, arrays)[0] == in_one_piece(rules, single)[0]


def test_cloud_events_are_divided_too(rules: RuleSet) -> None:
    def cloud(user: str, team: str) -> bytes:
        said = {"specversion": "1.0", "id": "c1", "source": "/s", "type": "quiz", "time": "2026-01-01T00:00:00Z"}
        return json.dumps({**said, "subject": user, "tenantid": "t", "data": {"score": 1, "team": team}}).encode()

    messages = [cloud("ann", "red"), cloud("bob", "red"), cloud("eve", "x" * 600), cloud("ann", "red")]
    whole = in_one_piece(rules, messages)
    assert divided(rules, messages) == whole
    assert len(whole[1]) + whole[0].counts.events + whole[0].counts.duplicates == len(messages)


def test_blocks_wait_until_they_are_full(rules: RuleSet) -> None:
    assert rules.program is not None
    ground = Ground(rules.rules, rules.program, 1, now=NOW, skew=SKEW, mark=MARK)
    router = shards.Router(ground)
    dice = Random(6)  # noqa: S311 - no secret
    bodies = [json.dumps(good_event(dice, number)).encode() for number in range(shards.FULL + 1)]
    router.route(bodies[:-1][: shards.FULL - 1])
    assert [*router.blocks()] == []
    router.route(bodies[shards.FULL - 1 :])
    ((shard, block),) = router.blocks()
    assert shard == 0
    assert block == shards.packed(ground, shards.Waiting([n << 20 for n in range(len(bodies))], bodies))
    assert router.bytes == 0
    assert [*router.blocks(rest=True)] == []
    assert shards.block_of(shards.bytes_of(block)) == block


def test_bodies_that_complete_each_other_have_no_keys() -> None:
    one = b'{"tenant_id":"t","user_id":"u"}'
    assert [key.user_id for key in keys_of([one, one], MARK) or ()] == ["u", "u"]
    # As many elements as messages, and with a mark between any two of them but for one place.
    assert keys_of([one + b",7," + one, one[:-1] + b',"x":"', b'"}', one], MARK) is None


def test_no_hash_is_lost_between_parts() -> None:
    dice = Random(8)  # noqa: S311 - no secret
    hashes = array("q", sorted([-(2**63), -1, 0, 1, 2**63 - 1, *(dice.getrandbits(64) - 2**63 for _ in range(99))]))
    data = hashes.tobytes()
    parts = shards.parts_of(data, 5)
    assert b"".join(data[begin : begin + size] for begin, size in parts) == data
    again = array("q", [hashes[3], hashes[7]]).tobytes()
    assert shards.shared_ids([data, again]) == {hashes[3], hashes[7]}
    assert shards.shared_ids([data, b""]) == set()


def test_large_recordings_have_more_shards() -> None:
    assert shards_for(0) == shards_for(10**8) < shards_for(10**9) < shards_for(10**12) <= 1024


def test_histories_of_several_users_are_whole_in_shards() -> None:
    rules = build(
        [
            (
                "rules.ach",
                (
                    b"event like { author: user }\n"
                    b'achievement liked { title "L" when count(event=like as author, >= 3) }\n'
                    b'achievement liking { title "K" when count(event=like, >= 2) }\n'
                ),
            )
        ]
    )
    dice = Random(9)  # noqa: S311 - no secret

    def like(number: int, actor: str, author: str) -> bytes:
        said = {"event_id": f"e{number}", "event_type": "like", "user_id": actor, "tenant_id": "t"}
        when = f"2026-01-01T00:{number // 60 % 60:02}:{number % 60:02}Z"
        return json.dumps({**said, "occurred_at": when, "payload": {"author": author}}).encode()

    names = [f"u{n}" for n in range(12)] + ["~erased~x"]
    messages = [like(n, dice.choice(names), dice.choice(names)) for n in range(300)]
    messages += dice.sample(messages, 20)
    whole = in_one_piece(rules, messages)
    assert divided(rules, messages) == whole
    assert {one.achievement for one in whole[0].unlocks} == {"liked", "liking"}
    assert whole[1]  # of a user that is called like an erased one
