"""The express way: taken where everything is as expected, and without a trace where anything is otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dsl.outcome import Subject
from dsl.progress import Grant, encode
from tests.integration.engine import RULES, Engine, event
from tests.integration.pipelines import commit, decoded, meanwhile, pipeline_on, send
from worker.admin.results import read_results
from worker.contract.partition import partition_of
from worker.contract.reasons import Reason
from worker.engine.reconcile import Kind, unlock_id
from worker.engine.stats import Stats
from worker.pipeline.rules_in_force import load_deployed
from worker.settings import Clock
from worker.store import Session, UnavailableError, open_store

if TYPE_CHECKING:
    from worker.pipeline.pipeline import Committed

pytestmark = pytest.mark.anyio

TEAM = 'achievement team { title "Team" scope team when count(event=a.done, >= 3) }\n'
HEARD = """event unknown {}
achievement heard { title "Heard" when count(event=unknown, >= 5) }
"""
EIGHT = 'event a.done {}\nachievement eight { title "Eight" when count(event=a.done, >= 8) }\n'
TWO = 'achievement two { title "Two" when count(event=a.done, >= 2) }\n'


async def ledger(engine: Engine) -> list[str]:
    return [row["event_id"] for row in await engine.rows("SELECT event_id FROM event ORDER BY occurred_at, event_id")]


async def test_known_users_need_one_statement(engine: Engine, statements: list[str]) -> None:
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, *(event(0, user=user) for user in ("u1", "u2")))
        statements.clear()
        await send(pipeline, event(1), event(2), event(1, user="u2"))
        await send(pipeline, event(3), event(2, user="u2"))
    assert statements == ["commit_fast", "commit_fast"]
    found = await engine.unlocks()
    assert found == {(user, name): "granted" for user in ("u1", "u2") for name in ("three", "clean")}
    decided = await engine.rows("SELECT subject, achievement, decision, final FROM evaluation ORDER BY 1, 2")
    assert [(row["achievement"], row["decision"], row["final"]) for row in decided] == [
        ("clean", "granted", False),
        ("three", "granted", True),
    ] * 2


async def test_events_that_no_rule_hears_are_recorded(engine: Engine, statements: list[str]) -> None:
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(0))
        statements.clear()
        await send(pipeline, event(1, "unknown"), event(2, "unknown"))
        await send(pipeline, event(3), event(2))
    assert statements[:1] == ["commit_fast"]
    assert len(await ledger(engine)) == 5
    assert await engine.unlocks() == {("u1", "three"): "granted", ("u1", "clean"): "granted"}


async def test_users_without_heard_events_take_the_fast_path(engine: Engine, statements: list[str]) -> None:
    """Until there is something to hear: then what is in the ledger may matter."""
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(0, "unknown"), event(1, "unknown"))
        statements.clear()
        await send(pipeline, event(2, "unknown"))
        await send(pipeline, event(3, "unknown"))
        assert statements == ["commit_fast", "commit_fast"]
        assert await engine.rows("SELECT FROM progress") == []
        await engine.apply(RULES.partition("achievement")[0] + HEARD)
        await send(pipeline, event(4, "other"))
        await send(pipeline, event(5, "unknown"))
    assert await engine.unlocks() == {("u1", "heard"): "granted"}


async def test_who_is_new_or_late_goes_the_long_way_beside_it(engine: Engine, statements: list[str]) -> None:
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, *(event(0, user=f"u{n}") for n in range(6)), event(5, user="u5"))
        statements.clear()
        copy, late, new = event(0, user="u0"), event(3, user="u5"), event(1, user="u9")
        letters = await send(pipeline, copy, late, new, *(event(1, user=f"u{n}") for n in range(1, 5)))
    assert letters == []
    assert statements.count("commit_fast") == 1
    assert "save_progress" in statements
    assert len(await ledger(engine)) == 7 + 6


async def test_copies_of_known_users_are_no_news(engine: Engine) -> None:
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline:
        await send(pipeline, event(0))
        await send(pipeline, event(1), event(2))
        await send(pipeline, event(1), event(2))
        await send(pipeline, event(3), event(3))
        await send(pipeline, event(5), event(4), event(4))
    assert (stats.events, stats.duplicates, stats.overtaken) == (6, 4, 0)


@pytest.mark.parametrize("owner", ["other", "me"])
async def test_a_partition_that_another_worker_has_written(engine: Engine, owner: str) -> None:
    """Or we ourselves, without knowing of it."""
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline, pipeline_on(engine, owner=owner) as other:
        await send(pipeline, event(0))
        await send(other, event(1, "b.done"))
        await send(pipeline, event(2))
        assert (stats.overtaken, stats.long_ways["partition_moved"]) == (1, 1)
        # Two of a kind, but one before what starts afresh.
        assert await engine.unlocks() == {}
        await send(pipeline, event(3))
    assert await engine.unlocks() == {("u1", "three"): "granted", ("u1", "clean"): "granted"}
    assert len(await ledger(engine)) == 4


async def test_a_generation_that_is_ours_by_chance(engine: Engine) -> None:
    """As after a database was restored and another worker came first."""
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline, pipeline_on(engine, owner="other") as other:
        await send(pipeline, event(0))
        await send(other, event(1, "b.done"))
        await engine.rows("UPDATE partition SET generation = generation - 1 WHERE owner = 'other'")
        await send(pipeline, event(2))
    assert stats.overtaken == 1
    assert await engine.unlocks() == {}


async def test_the_latest_event_again(engine: Engine) -> None:
    """It is known without asking, and not worth a transaction that would do nothing."""
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline:
        await send(pipeline, event(0))
        await send(pipeline, event(1))
        await send(pipeline, event(1))
    assert (stats.events, stats.duplicates, stats.overtaken) == (2, 1, 0)


async def test_a_tie_with_the_latest_event(engine: Engine, statements: list[str]) -> None:
    """What has the same instant and a lower id is late."""
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline:
        await send(pipeline, event(0, id="m"))
        statements.clear()
        await send(pipeline, event(0, id="z"))
        assert statements == ["commit_fast"]
        await send(pipeline, event(0, "b.done", id="a"))
        assert statements == ["commit_fast", "commit_fast"]
    assert (stats.events, stats.late, stats.refolded) == (3, 1, 1)
    assert await engine.unlocks() == {("u1", "clean"): "granted"}


async def test_what_is_late_and_moves_nothing_goes_the_express_way(engine: Engine, statements: list[str]) -> None:
    await engine.apply(EIGHT)
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline:
        await send(pipeline, event(10), event(10, user="u2"))
        statements.clear()
        await send(pipeline, event(3), event(1), event(20), event(2, user="u2"), event(4, user="u2"))
        await send(pipeline, *(event(n) for n in (2, 30, 25)), event(5, user="u2"))
        assert statements == ["commit_fast", "commit_fast"]
        assert (stats.late, stats.refolded, stats.overtaken) == (7, 0, 0)
        # The eighth is the last one, whichever way its count has come about.
        await send(pipeline, event(40))
        # And this makes it come sooner.
        await send(pipeline, event(39))
    assert (stats.late, stats.refolded) == (8, 1)
    (row,) = await engine.rows("SELECT subject, event_id FROM unlock")
    assert (row["subject"], row["event_id"]) == ("u1", "a.done-39-u1")
    # What was late and nothing else is saved as well.
    async with pipeline_on(engine, owner="next") as pipeline:
        await send(pipeline, *(event(n, user="u2") for n in range(50, 54)))
    rows = await engine.rows("SELECT event_id FROM unlock WHERE subject = 'u2'")
    assert [row["event_id"] for row in rows] == ["a.done-53-u2"]


async def test_what_moves_a_grant_is_folded_anew_as_if_nothing_had_been_tried(
    engine: Engine, statements: list[str]
) -> None:
    """The first of the late ones can be taken in place, and is taken back when the second cannot."""
    await engine.apply(EIGHT)
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline:
        await send(pipeline, *(event(n, user=user) for n in range(10, 16) for user in ("u1", "u2")))
        statements.clear()
        await send(pipeline, event(1), event(2), event(20, user="u2"))
        await send(pipeline, event(21, user="u2"), event(3))
        assert statements == ["commit_fast", "commit_fast"]
    assert (stats.overtaken, stats.refolded) == (0, 2)
    rows = await engine.rows("SELECT subject, event_id FROM unlock ORDER BY 1")
    assert [(row["subject"], row["event_id"]) for row in rows] == [("u1", "a.done-14-u1"), ("u2", "a.done-21-u2")]
    decided = await engine.rows("SELECT decision, event_id FROM evaluation WHERE subject = 'u1' ORDER BY evaluation_id")
    assert [tuple(row.values()) for row in decided] == [("granted", "a.done-15-u1"), ("amended", "a.done-14-u1")]


async def test_users_that_are_folded_again_are_reported(engine: Engine) -> None:
    """With an event in time beside the late one, which earns something by itself."""
    committed: list[Committed] = []
    async with pipeline_on(engine, on_committed=committed.append) as pipeline:
        await send(pipeline, event(10), event(20))
        await send(pipeline, event(5), event(30, "c.done"))
        await send(pipeline, event(40, "c.done"), event(1))
    kinds = [sorted((decision.grant.achievement, decision.kind) for decision in one.decisions) for one in committed]
    assert kinds == [
        [("clean", Kind.GRANTED)],
        [("clean", Kind.AMENDED), ("settled", Kind.GRANTED), ("three", Kind.GRANTED)],
        [("clean", Kind.AMENDED), ("three", Kind.AMENDED)],
    ]
    rows = await engine.rows("SELECT achievement, event_id FROM unlock ORDER BY 1")
    assert [tuple(row.values()) for row in rows] == [
        ("clean", "a.done-5-u1"),
        ("settled", "c.done-30-u1"),
        ("three", "a.done-10-u1"),
    ]


async def test_what_takes_a_grant_away_goes_the_long_way(engine: Engine) -> None:
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline:
        await send(pipeline, event(10), event(20))
        await send(pipeline, event(15, "b.done"))
        assert (stats.overtaken, stats.decisions["contested"], stats.long_ways["revokes"]) == (1, 1, 1)
    assert await engine.unlocks() == {("u1", "clean"): "contested"}


async def test_a_copy_among_what_is_folded_anew(engine: Engine) -> None:
    """The ledger has it, which is found out when it is recorded."""
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline:
        await send(pipeline, event(5), event(20), event(30))
        await send(pipeline, event(5), event(1, "b.done"))
    assert (stats.events, stats.duplicates, stats.overtaken, stats.long_ways["event_known"]) == (4, 1, 1, 1)
    assert await engine.unlocks() == {("u1", "three"): "granted", ("u1", "clean"): "granted"}


async def test_more_has_happened_since_than_is_read_ahead(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from worker.pipeline import lookup  # noqa: PLC0415

    monkeypatch.setattr(lookup, "MOST_AHEAD", 3)
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline:
        await send(pipeline, event(10), event(20), event(30))
        await send(pipeline, event(5))
    assert (stats.overtaken, stats.refolded, stats.long_ways["long_history"]) == (1, 1, 1)
    (three,) = await engine.rows("SELECT event_id FROM unlock WHERE achievement = 'three'")
    assert three["event_id"] == "a.done-20-u1"


async def test_more_are_folded_anew_than_is_worth_it(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from worker.engine import fast_users  # noqa: PLC0415

    monkeypatch.setattr(fast_users, "MOST_REFOLDS", 1)
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline:
        await send(pipeline, *(event(n, user=user) for n in (10, 20, 30) for user in ("u1", "u2")))
        await send(pipeline, event(5), event(5, user="u2"))
    assert (stats.overtaken, stats.refolded, stats.long_ways["too_many_refolds"]) == (0, 2, 1)
    rows = await engine.rows("SELECT event_id FROM unlock WHERE achievement = 'three' ORDER BY subject")
    assert [row["event_id"] for row in rows] == ["a.done-20-u1", "a.done-20-u2"]


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a checkpoint after every second event."""
    from worker.engine import folding  # noqa: PLC0415

    monkeypatch.setattr(folding, "CHECKPOINT_EVERY", 2)
    monkeypatch.setattr(folding, "CHECKPOINT_BYTES", 1000)


@pytest.mark.parametrize(
    ("left", "overtaken"),
    [
        pytest.param("UPDATE checkpoint SET mark_id = mark_id", 0, id="as_it_is"),
        pytest.param(
            "UPDATE checkpoint SET stamp = 'other', state = (SELECT state FROM checkpoint ORDER BY mark_at LIMIT 1)",
            0,
            id="of_another_plan",
        ),
        pytest.param("UPDATE checkpoint SET state = '[1,0]'", 1, id="unreadable"),
        pytest.param("DELETE FROM checkpoint", 0, id="gone"),
    ],
)
@pytest.mark.usefixtures("often")
async def test_from_the_last_checkpoint_before_a_late_event(engine: Engine, left: str, overtaken: int) -> None:
    await engine.apply(EIGHT)
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline:
        await send(pipeline, event(10))
        await send(pipeline, *(event(n) for n in range(20, 90, 10)))
        await engine.rows(left)
        await send(pipeline, event(55))
    assert (stats.overtaken, stats.refolded, stats.decisions["amended"]) == (overtaken, 1, 1)
    assert stats.long_ways["unreadable_checkpoint"] == overtaken
    (row,) = await engine.rows("SELECT event_id FROM unlock")
    assert row["event_id"] == "a.done-70-u1"


async def test_another_worker_writes_between_reading_and_committing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline, pipeline_on(engine, owner="other") as other:
        await send(pipeline, event(10), event(20), event(30))
        meanwhile(monkeypatch, "pasts_of_users", lambda: send(other, event(3), event(4)))
        await send(pipeline, event(5))
    assert (stats.overtaken, stats.events) == (1, 4)
    rows = await engine.rows("SELECT achievement, event_id FROM unlock ORDER BY 1")
    assert [tuple(row.values()) for row in rows] == [("clean", "a.done-4-u1"), ("three", "a.done-5-u1")]


async def test_an_operator_revokes_between_reading_and_committing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline:
        await send(pipeline, event(10), event(20), event(30))
        revoke = "UPDATE unlock SET revoked_at = now() WHERE achievement = 'three'"
        meanwhile(monkeypatch, "pasts_of_users", lambda: engine.rows(revoke))
        await send(pipeline, event(5))
    assert (stats.overtaken, stats.decisions["amended"], stats.long_ways["unlock_moved"]) == (1, 1, 1)
    rows = await engine.rows("SELECT achievement, event_id FROM unlock ORDER BY 1")
    assert [tuple(row.values()) for row in rows] == [("clean", "a.done-10-u1"), ("three", "a.done-30-u1")]


# -- progress that is not written with each batch ----------------------------------------------------------------------


async def marks(engine: Engine) -> list[str]:
    return [row["mark_id"] for row in await engine.rows("SELECT mark_id FROM progress ORDER BY subject")]


async def states(engine: Engine) -> dict[Subject, str]:
    """Return the states of all subjects, as a digest does."""
    async with open_store(engine.settings.database_url) as store:
        found = await read_results(store, await load_deployed(store, engine.settings))
    return {subject: encode(state).decode() for subject, state in found.states.items()}


async def test_progress_is_written_now_and_then(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from worker.pipeline import fast_path  # noqa: PLC0415

    monkeypatch.setattr(fast_path, "SAVE_EVERY", 4)
    found: list[list[str]] = []
    async with pipeline_on(engine) as pipeline:
        for batch in ([0], [1], [2, 3], [4], [5, 6, 7, 8, 9, 10], [11], [12, 13], [14]):
            await send(pipeline, *(event(n) for n in batch))
            found.append(await marks(engine))
    assert found == [[f"a.done-{n}-u1"] for n in (0, 0, 0, 4, 10, 10, 10, 14)]


async def test_what_another_one_has_not_written_counts(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from worker.pipeline import fast_path  # noqa: PLC0415

    monkeypatch.setattr(fast_path, "SAVE_EVERY", 4)
    async with pipeline_on(engine, owner="before") as before:
        for n in range(3):
            await send(before, event(n, user=NEIGHBOUR))
    found: list[str] = []
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(0))
        for n in range(3, 6):
            await send(pipeline, event(n, user=NEIGHBOUR))
            found.extend(mark for mark in await marks(engine) if mark.endswith(NEIGHBOUR))
    assert found == [f"a.done-{n}-{NEIGHBOUR}" for n in (0, 4, 4)]


async def test_who_is_new_to_the_express_way_is_written_at_once(engine: Engine) -> None:
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(0))
        await send(pipeline, event(1, user=NEIGHBOUR), event(1))
    assert await marks(engine) == sorted(["a.done-0-u1", f"a.done-1-{NEIGHBOUR}"], key=lambda mark: mark[-2:] == "u1")


@pytest.mark.parametrize(
    "late", [[], [event(41)], [event(15)], [event(5)], [event(5), event(45)], [event(42, "b.done")]]
)
async def test_the_next_one_folds_what_was_not_written(engine: Engine, late: list[dict[str, object]]) -> None:
    """Whatever came late meanwhile, before the mark in the books or behind it."""
    await engine.apply(EIGHT + "event b.done {}\n")
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(10), event(20))
        for n in (30, 40, 50):
            await send(pipeline, event(n))
        assert await marks(engine) == ["a.done-20-u1"]
        if late:
            await send(pipeline, *late)
    heard = 5 + sum(one["event_type"] == "a.done" for one in late)
    whole = await states(engine)
    async with pipeline_on(engine, owner="next") as pipeline:
        await send(pipeline, *(event(n) for n in range(60, 67 - heard)))
        assert await engine.rows("SELECT FROM unlock") == []
        await send(pipeline, event(90))
    (row,) = await engine.rows("SELECT event_id FROM unlock")
    assert row["event_id"] == "a.done-90-u1"
    assert f"[1,{heard}]" in whole[Subject("t1", "user", "u1")]


async def test_what_was_not_written_has_earned_already(engine: Engine) -> None:
    """And is announced once: the worker that folds it on top announces nothing."""
    committed: list[Committed] = []
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(0))
        await send(pipeline, event(1))
        await send(pipeline, event(2))
    async with pipeline_on(engine, owner="next", on_committed=committed.append) as pipeline:
        await send(pipeline, event(3))
        await send(pipeline, event(4))
    assert [decision for one in committed for decision in one.decisions] == []
    assert await engine.unlocks() == {("u1", "three"): "granted", ("u1", "clean"): "granted"}


async def test_other_rules_fold_from_the_ledger_and_nothing_on_top(engine: Engine) -> None:
    await engine.apply(EIGHT)
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(10))
        for n in (20, 30):
            await send(pipeline, event(n))
        await engine.apply(EIGHT.partition("achievement")[0] + TWO)
        await send(pipeline, event(40))
        await send(pipeline, event(50))
    rows = await engine.rows("SELECT achievement, event_id FROM unlock")
    assert [tuple(row.values()) for row in rows] == [("two", "a.done-20-u1")]


async def test_a_checkpoint_is_written_with_the_progress(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it is known how far the next one is away."""
    from worker.engine import folding  # noqa: PLC0415

    monkeypatch.setattr(folding, "CHECKPOINT_EVERY", 4)
    monkeypatch.setattr(folding, "CHECKPOINT_BYTES", 1000)
    found: list[tuple[str, int]] = []
    async with pipeline_on(engine) as pipeline:
        for n in range(7):
            await send(pipeline, event(n))
            (row,) = await engine.rows("SELECT mark_id, folded FROM progress")
            found.append(tuple(row.values()))
    assert found == [("a.done-0-u1", 1)] * 3 + [("a.done-3-u1", 0)] * 4
    async with pipeline_on(engine, owner="next") as pipeline:
        await send(pipeline, event(7))
    rows = await engine.rows("SELECT mark_id FROM checkpoint ORDER BY mark_at")
    assert [row["mark_id"] for row in rows] == ["a.done-3-u1", "a.done-7-u1"]


# -- users without a cached state --------------------------------------------------------------------------------------

NEIGHBOUR = next(
    name for name in map(str, range(1000)) if partition_of("t1", "user", name) == partition_of("t1", "user", "u1")
)
"""A user in the partition of u1."""


async def test_who_is_new_goes_the_express_way_where_the_partition_is_ours(
    engine: Engine, statements: list[str]
) -> None:
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline:
        await send(pipeline, event(0))
        statements.clear()
        await send(pipeline, event(2, user=NEIGHBOUR), event(1, user=NEIGHBOUR), event(1))
        await send(pipeline, event(0, user=NEIGHBOUR))
        assert statements == ["commit_fast", "commit_fast"]
    assert (stats.events, stats.late, stats.overtaken) == (5, 2, 0)
    rows = await engine.rows("SELECT achievement, event_id FROM unlock WHERE subject = $1 ORDER BY 1", NEIGHBOUR)
    assert [tuple(row.values()) for row in rows] == [
        ("clean", f"a.done-1-{NEIGHBOUR}"),
        ("three", f"a.done-2-{NEIGHBOUR}"),
    ]


async def test_who_has_a_past_that_we_forgot(engine: Engine, statements: list[str]) -> None:
    async with pipeline_on(engine, owner="before") as before:
        await send(before, event(0, user=NEIGHBOUR), event(1, "c.done", user=NEIGHBOUR))
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(0))
        statements.clear()
        await send(pipeline, event(2, user=NEIGHBOUR), event(1))
        assert statements == ["commit_fast"]
        await send(pipeline, event(3, user=NEIGHBOUR))
    found = await engine.unlocks()
    assert {name for user, name in found if user == NEIGHBOUR} == {"clean", "three", "settled"}


async def test_a_new_user_without_heard_events_has_a_past_afterwards(engine: Engine) -> None:
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(0))
        await send(pipeline, *(event(n, "unknown", user=NEIGHBOUR) for n in range(3)))
        await engine.apply(RULES.partition("achievement")[0] + HEARD)
        await send(pipeline, event(1))
        await send(pipeline, event(4, "unknown", user=NEIGHBOUR), event(5, "unknown", user=NEIGHBOUR))
    assert await engine.unlocks() == {(NEIGHBOUR, "heard"): "granted"}


async def test_an_erased_user_stays_erased(engine: Engine) -> None:
    await engine.rows("INSERT INTO erasure VALUES ('t1', $1, now(), 'me')", NEIGHBOUR)
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline:
        await send(pipeline, event(0))
        await send(pipeline, event(1), event(1, user=NEIGHBOUR))
    assert (stats.events, stats.erased) == (2, 1)


async def test_a_stranger_is_moved_while_we_look(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """By another worker, which the statement notices."""
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline, pipeline_on(engine, owner="other") as other:
        await send(pipeline, event(0))
        meanwhile(monkeypatch, "standing_of_users", lambda: send(other, event(5, user=NEIGHBOUR)))
        await send(pipeline, event(1), event(1, user=NEIGHBOUR))
        assert stats.overtaken == 1
    (row,) = await engine.rows("SELECT event_id FROM unlock WHERE subject = $1", NEIGHBOUR)
    assert row["event_id"] == f"a.done-5-{NEIGHBOUR}"


async def test_what_cannot_be_looked_up_is_no_trouble(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail() -> None:
        raise UnavailableError("planted")

    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline:
        await send(pipeline, event(0))
        meanwhile(monkeypatch, "standing_of_users", fail)
        await send(pipeline, event(1), event(1, user=NEIGHBOUR))
    assert (stats.events, stats.retries) == (3, 0)


async def test_what_is_late_and_no_news_costs_trust(engine: Engine, statements: list[str]) -> None:
    await engine.apply(EIGHT)
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline:
        for n in (10, 11, 12):
            await send(pipeline, event(n))
        for copy in (10, 11, 10):
            await send(pipeline, event(copy))
        # It was tried once; until the trust is there again, what is late goes the long way at once.
        assert (stats.overtaken, stats.duplicates) == (1, 3)
        statements.clear()
        await send(pipeline, event(1))
        await send(pipeline, event(13))
        assert statements.count("commit_fast") == 2
        assert (stats.overtaken, stats.events) == (1, 5)
        await send(pipeline, *(event(n) for n in (14, 15, 16)))
    (row,) = await engine.rows("SELECT event_id FROM unlock")
    assert row["event_id"] == "a.done-16-u1"


async def test_dead_letters_beside_the_express_way(engine: Engine, statements: list[str]) -> None:
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(0))
        statements.clear()
        letters = await send(pipeline, event(1), b"poison", event(2))
    assert "commit_fast" in statements
    assert [letter.reason for letter in letters] == [Reason.MALFORMED_JSON]
    assert len(await engine.rows("SELECT FROM dead_letter")) == 1
    assert len(await ledger(engine)) == 3


async def test_what_settles_is_not_taken_for_granted(engine: Engine, statements: list[str]) -> None:
    committed: list[Committed] = []
    streaming = engine.with_settings(clock=Clock.STREAM)
    async with pipeline_on(streaming, on_committed=committed.append) as pipeline:
        await send(pipeline, event(0))
        statements.clear()
        await send(pipeline, event(1, "c.done"))
    assert statements == ["commit_fast"]
    assert [[decision.kind for decision in one.decisions] for one in committed] == [[Kind.SETTLING]]
    assert await engine.unlocks() == {("u1", "settled"): "settling"}


async def test_an_id_that_stands_for_something_else(engine: Engine) -> None:
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline:
        await send(pipeline, event(0), event(0, user="u2"))
        letters = await send(pipeline, event(1, id="a.done-0-u2"), event(2), event(1, user="u2"))
    assert [letter.reason for letter in letters] == [Reason.ID_CONFLICT]
    assert (stats.overtaken, stats.events) == (1, 4)
    assert await ledger(engine) == ["a.done-0-u1", "a.done-0-u2", "a.done-1-u2", "a.done-2-u1"]


async def test_an_unlock_that_was_there_before(engine: Engine) -> None:
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline:
        await send(pipeline, event(0), event(1))
        # As after rules that were taken back, and came again.
        was = unlock_id(Subject("t1", "user", "u1"), Grant("three", None, None, 1, 0, "other", 0))
        await engine.rows(
            "UPDATE unlock SET achievement = 'three', unlock_id = $1, event_id = 'other' WHERE achievement = 'clean'",
            was,
        )
        await send(pipeline, event(2))
    assert (stats.overtaken, stats.decisions["amended"], stats.long_ways["unlock_known"]) == (1, 1, 1)
    (three,) = await engine.rows("SELECT event_id FROM unlock WHERE achievement = 'three'")
    assert three["event_id"] == "a.done-2-u1"


async def test_rules_that_moved_meanwhile(engine: Engine) -> None:
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(0))
        batch = await decoded(pipeline, [event(1)])
        await engine.apply(RULES + TWO)
        await commit(pipeline, batch)
    assert ("u1", "two") in await engine.unlocks()


async def test_rules_that_another_batch_has_met_already(engine: Engine) -> None:
    """Users stand as they did and everything is as we left it: the rules alone tell that a team is concerned."""
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline:
        await send(pipeline, event(0, team="red"))
        batch = await decoded(pipeline, [event(2, team="red")])
        await engine.apply(RULES + TEAM)
        await send(pipeline, event(1, team="red"))
        assert stats.overtaken == 1
        await commit(pipeline, batch)
    assert stats.overtaken == 2
    members = await engine.rows("SELECT event_id FROM event_subject WHERE subject = 'red' ORDER BY occurred_at")
    assert [row["event_id"] for row in members][-2:] == ["a.done-1-u1", "a.done-2-u1"]


async def test_a_state_that_another_plan_has_left(engine: Engine) -> None:
    """Who hears nothing under new rules stands where the old ones left off."""
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(0))
        await engine.apply(RULES.partition("achievement")[0] + TWO)
        await send(pipeline, event(1, "c.done"))
        await send(pipeline, event(2))
    assert await engine.unlocks() == {("u1", "two"): "granted"}


async def test_teams_go_the_long_way(engine: Engine, statements: list[str]) -> None:
    await engine.apply(RULES + TEAM)
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(0, team="red"), event(0, user="u2"))
        statements.clear()
        await send(pipeline, event(1, team="red"), event(2, team="red"))
        assert "commit_fast" not in statements
        await send(pipeline, event(1, user="u2"), event(2, user="u2"))
        assert "commit_fast" in statements
    assert {("red", "team"), ("u1", "three"), ("u2", "three")} <= (await engine.unlocks()).keys()


async def test_a_commit_of_unknown_outcome(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It had taken place: what it decided is not decided again, so that the outbox has to be looked at."""
    committed: list[Committed] = []
    run, stats = Session.run, Stats()

    async def cut_off(session: Session, name: str, **args: object) -> int:
        touched = await run(session, name, **args)
        if name == "commit_fast":
            raise UnavailableError("planted")
        return touched

    monkeypatch.setattr(Session, "run", cut_off)
    async with pipeline_on(engine, stats=stats, on_committed=committed.append) as pipeline:
        await send(pipeline, event(0))
        await send(pipeline, event(1), event(2))
    assert stats.long_ways["unavailable"] == 1
    assert [(one.certain, [decision.kind for decision in one.decisions]) for one in committed] == [(False, [])]
    assert await engine.unlocks() == {("u1", "three"): "granted", ("u1", "clean"): "granted"}
    assert len(await engine.rows("SELECT FROM evaluation")) == 2


async def test_decisions_are_reported(engine: Engine) -> None:
    committed: list[Committed] = []
    async with pipeline_on(engine, on_committed=committed.append) as pipeline:
        await send(pipeline, event(0))
        await send(pipeline, event(1), event(2), event(3, "c.done"))
    (done,) = committed
    assert done.certain
    kinds = {decision.grant.achievement: decision.kind for decision in done.decisions}
    assert kinds == {"three": Kind.GRANTED, "clean": Kind.GRANTED, "settled": Kind.GRANTED}
    grants = [decision.grant for decision in done.decisions]
    rewards = {grant.achievement: done.rules.terms(grant).reward for grant in grants}
    assert rewards["three"] == '{"xp":10}'


@pytest.mark.usefixtures("often")
async def test_checkpoints_are_kept_and_pruned(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from worker.engine import folding  # noqa: PLC0415

    monkeypatch.setattr(folding, "CHECKPOINTS_KEPT", 3)
    async with pipeline_on(engine) as pipeline:
        for n in range(0, 20, 2):
            await send(pipeline, event(n), event(n + 1))
    rows = await engine.rows("SELECT mark_id FROM checkpoint ORDER BY mark_at")
    assert [row["mark_id"] for row in rows] == ["a.done-15-u1", "a.done-17-u1", "a.done-19-u1"]
