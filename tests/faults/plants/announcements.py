"""Planted bugs: announcements."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

PIPELINE: Final = "integration/test_pipeline.py"
EXPRESS: Final = "integration/test_express.py"
PROTOCOL: Final = "faults/test_protocol.py"

BUGS: Final[tuple[Bug, ...]] = (
    Bug(
        "relay_by_id_above_the_last",
        "everything that is granted is announced",
        at="sql:claim_unlocks",
        old="AND unlock.unlock_id <> ALL (:refused::uuid[])",
        new="""
            AND unlock.unlock_id <> ALL (:refused::uuid[])
            AND unlock.unlock_id::text > coalesce((SELECT max(unlock_id::text)
                FROM unlock WHERE published_at IS NOT NULL), '')
            """,
        tests=("faults/test_protocol.py::test_what_waits_is_found_wherever_it_stands",),
    ),
    Bug(
        "marked_before_it_is_announced",
        "what was not announced is not marked",
        at="OutboxRelay._relay_some",
        old="some, news = await self._announce_claimed(claimed) if claimed else _NONE",
        new="""
            async with self._store.transaction() as other:
                # As if the claim had been committed first.
                await session.script("COMMIT; BEGIN")
                await other.run("mark_published", unlock_ids=sorted(one.unlock_id for one in claimed), now=self._now())
            some, news = await self._announce_claimed(claimed) if claimed else _NONE
            """,
        tests=(f"{PROTOCOL}::test_an_unlock_that_was_not_announced_is_not_marked",),
    ),
    Bug(
        "second_announcement_let_through",
        "the broker refuses a second announcement for ever",
        at="Announcer._round",
        old=r'f"{begin}{name}\r\n{EXPECTED_LAST}: {after}\r\n{trace}\r\n"',
        new=r'f"{begin}{name}\r\n{trace}\r\n"',
        tests=(f"{PIPELINE}::test_the_broker_refuses_a_second_announcement_for_ever",),
    ),
    Bug(
        "announced_and_not_marked",
        "what was announced is not announced again",
        at="OutboxRelay._relay_some",
        old='"mark_published", unlock_ids=ids, now=self._now())',
        new='"mark_published", unlock_ids=ids[1:], now=self._now())',
        tests=(f"{PROTOCOL}::test_an_unlock_that_was_not_announced_is_not_marked",),
    ),
    Bug(
        "fresh_marked_before_it_is_announced",
        "what was not announced is not marked",
        at="OutboxRelay._announce_fresh",
        old="some, news = await self._announce(some)",
        new="""
            self._unmarked += [one.unlock_id for one in some]
            some, news = await self._announce(some)
            """,
        tests=(f"{PROTOCOL}::test_what_was_just_granted_and_not_announced_is_not_marked",),
    ),
    Bug(
        "fresh_announced_and_not_marked",
        "what was announced is not announced again",
        at="OutboxRelay._announce_fresh",
        old="self._unmarked += [one.unlock_id for one in some]",
        new="pass",
        tests=(f"{PROTOCOL}::test_what_was_just_granted_is_announced_and_marked",),
    ),
    Bug(
        "marked_after_the_relay",
        "what was announced is not announced again",
        at="OutboxRelay.run",
        old="""
            if self._unmarked and (self._missed or correct or not self._busy() or monotonic() >= self._mark_at):
            """,
        new="if self._unmarked and (not self._busy() or monotonic() >= self._mark_at):",
        tests=("faults/test_protocol.py::test_what_was_announced_and_not_marked_is_marked_before_anything_else",),
    ),
    Bug(
        "marks_put_off_for_ever",
        "what was announced is marked soon",
        at="OutboxRelay.run",
        old="self._next_correction(), self._mark_at if self._unmarked else inf)",
        new="self._next_correction())",
        tests=("faults/test_protocol.py::test_what_was_announced_is_marked_soon",),
    ),
    Bug(
        "marks_put_off_with_nothing_to_do",
        "what was announced is marked soon",
        at="Worker._commit_one",
        old="self._outbox_relay.rest()",
        new="pass",
        tests=(f"{PROTOCOL}::test_who_has_nothing_left_to_do_marks_what_was_announced",),
    ),
    Bug(
        "too_busy_to_look",
        "what settles is announced however busy we are",
        at="OutboxRelay.run",
        old="self._look_at = min(self._look_at, await self._nap() + monotonic(), self._refused.next_at)",
        new="self._look_at = await self._nap() + monotonic()",
        tests=(f"{PROTOCOL}::test_what_settles_is_announced_however_busy_we_are",),
    ),
    Bug(
        "fresh_left_where_it_failed",
        "what could not be announced at once is announced later",
        at="OutboxRelay._announce_fresh",
        old="self._fresh, self._missed = [], True",
        new="self._fresh = []",
        tests=(f"{PROTOCOL}::test_what_could_not_be_announced_at_once_is_announced_soon",),
    ),
    Bug(
        "marking_waits_for_a_lock",
        "an announcement waits for no lock",
        at="sql:mark_announced",
        old="FOR UPDATE SKIP LOCKED);",
        new="FOR UPDATE);",
        tests=(f"{PROTOCOL}::test_marking_waits_for_no_lock",),
    ),
    Bug(
        "held_and_forgotten",
        "an unlock that another session has locked is announced after it is released",
        at="OutboxRelay._relay_some",
        old="self._held = len(claimed) < AT_ONCE and not",
        new="self._held = False and not",
        tests=(f"{PROTOCOL}::test_a_row_that_was_locked_is_announced_soon",),
    ),
    Bug(
        "uncertain_unlocks_from_memory_alone",
        "everything that is granted is announced",
        at="OutboxRelay.committed",
        old="if not done.certain or len(self._fresh) + len(fresh) > MOST_FRESH:",
        new="if len(self._fresh) + len(fresh) > MOST_FRESH:",
        tests=(f"{PROTOCOL}::test_what_a_commit_of_unknown_outcome_granted_is_announced",),
    ),
    Bug(
        "unknown_outcome_taken_for_certain",
        "an attempt that follows another one does not know every decision",
        at="Pipeline.commit",
        old="return await self._commit(batch, waiting=waiting, certain=False)",
        new="return await self._commit(batch, waiting=waiting)",
        tests=(f"{EXPRESS}::test_a_commit_of_unknown_outcome",),
    ),
)
