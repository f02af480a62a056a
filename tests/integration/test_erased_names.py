"""An erased user's name where it is no user's id: occurrences that are called like it, dead letters that mention it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.integration.engine import Engine, event
from tests.integration.pipelines import pipeline_on, send
from tests.integration.test_event_roles import check, erase, nowhere
from worker.admin.tombstone import lift_tombstone
from worker.app import wall_clock
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.anyio

CONTRACTS: Final = """
event like { post: string, author: user }
event met { crew: [user], team: string? }
"""
RULES: Final = f"""{CONTRACTS}
achievement fan {{ title "Fan" when count(event=like as author, >= 1) repeat by actor }}
achievement idol {{ title "Idol" when count(event=like, >= 1) repeat by author }}
achievement mates {{ title "Mates" scope team when count(event=met, >= 1) repeat by crew }}
achievement posts {{ title "Posts" when count(event=like, >= 1) repeat by post }}
achievement each {{ title "Each" when count(event=like, >= 1) repeat each }}
"""


def like(number: int, user: str, author: str, post: str = "p") -> dict[str, Any]:
    return event(number, "like", user=user, post=post, author=author)


async def labels(engine: Engine) -> Mapping[tuple[str, str, str], tuple[str, bool]]:
    """Return id and whether it is supported, by subject, achievement and occurrence."""
    rows = await engine.rows("SELECT * FROM unlock ORDER BY subject, achievement, occurrence")
    return {
        (row["subject"], row["achievement"], row["occurrence"]): (str(row["unlock_id"]), row["contested_at"] is None)
        for row in rows
    }


async def test_occurrences_called_like_an_erased_user_take_the_pseudonym(engine: Engine) -> None:
    await engine.apply(RULES)
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, like(1, "ann", "bob"), like(2, "cid", "bob"), like(3, "bob", "ann", post="ann"))
        await send(pipeline, event(4, "met", user="bob", crew=["ann", "cid"], team="red"))
        before = await labels(engine)
        await erase(engine, "ann")
        after = await labels(engine)
        (pseudonym,) = {label for _, name, label in after if name == "fan"} - {"cid"}
        assert pseudonym.startswith("~erased~")
        renamed = {("bob", "fan"), ("bob", "idol"), ("red", "mates")}
        for (subject, name, label), (key, _) in before.items():
            if subject != "ann":
                other = pseudonym if label == "ann" and (subject, name) in renamed else label
                assert after[subject, name, other] == (key, True)
        # A post may be called like a user.
        assert ("bob", "posts", "ann") in after
        # What comes later, late or again, finds the same occurrence; so does who folds again.
        await send(pipeline, like(0, "ann", "bob"), like(1, "ann", "bob"), like(9, "ann", "bob"))
        await send(pipeline, event(2, "met", user="cid", id="late", crew=["ann"], team="red"))
    await engine.backfill()
    found = await labels(engine)
    assert found.items() >= after.items()
    assert all(supported for _, supported in found.values())
    rows = await engine.rows("SELECT DISTINCT occurrence FROM evaluation WHERE achievement <> 'posts'")
    assert "ann" not in {row["occurrence"] for row in rows}
    await check(engine)


async def test_two_occurrences_of_one_pseudonym_are_one(engine: Engine) -> None:
    await engine.apply(RULES)
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, like(1, "ann", "bob"))
        await erase(engine, "ann")
        first = await labels(engine)
        await engine.rows("DELETE FROM correction")
        async with open_store(engine.settings.database_url) as store:
            await lift_tombstone(store, "t1", "ann", by="test", reason="back", now=wall_clock())
    async with pipeline_on(engine, owner="another") as pipeline:
        await send(pipeline, like(2, "ann", "bob"))
        assert (await labels(engine))["bob", "fan", "ann"] == first[next(key for key in first if key[1] == "fan")]
        await erase(engine, "ann")
    await engine.backfill()
    found = await labels(engine)
    assert found.keys() == first.keys()
    rows = await engine.rows("SELECT kind FROM correction WHERE subject = 'bob'")
    assert [row["kind"] for row in rows] == ["erased"]
    await check(engine)


async def test_what_is_retired_takes_the_pseudonym_and_numbers_stay(engine: Engine) -> None:
    await engine.apply(RULES)
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, like(1, "ann", "bob"), like(2, "1", "bob"), like(3, "bob", "cid"))
    await engine.apply(CONTRACTS + 'achievement other { title "Other" when count(event=like, >= 1) }\n')
    await erase(engine, "ann")
    await erase(engine, "1")
    found = {(name, label.partition("~")[0]) for subject, name, label in await labels(engine) if subject == "bob"}
    assert found >= {("fan", ""), ("each", "1")}
    assert ("fan", "ann") not in found


async def test_dead_letters_that_mention_an_erased_user_lose_what_they_say(engine: Engine) -> None:
    mates = RULES.index("achievement mates")
    others = RULES[:mates] + RULES[RULES.index("achievement posts") :]
    await engine.apply(others.replace("[user]", "[string]"))
    broken = event(1, "like", user="cid", post=5, author="ann")
    unheard = event(2, "unheard", user="cid", author="ann") | {"occurred_at": "never"}
    crew = event(3, "met", user="cid", crew=["dan", "ann"], team=7)
    other = event(4, "like", user="cid", post=5, author="dan")
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, broken, unheard, crew, other)
        rows = await engine.rows("SELECT reason FROM dead_letter")
        assert len(rows) == 4
        # The members of a crew become users: letters are read again for that.
        await engine.apply(RULES)
        assert (await erase(engine, "ann")).dead_letters == 3
        await nowhere(engine, "ann")
        kept = await engine.rows("SELECT convert_from(body, 'utf8') AS body FROM dead_letter ORDER BY dead_letter_id")
        assert ["dan" in row["body"] for row in kept] == [False, False, False, True]
    async with pipeline_on(engine, owner="another") as pipeline:
        await send(pipeline, event(5, "like", user="cid", post=5, author="ann"))
        await nowhere(engine, "ann")
