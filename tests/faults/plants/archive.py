"""Planted bugs: events of long ago, which leave the ledger and are part of history all the same."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

ARCHIVE: Final = "integration/test_archive.py"
OLD_IDS: Final = f"{ARCHIVE}::test_an_old_id_that_comes_again_is_a_duplicate_and_with_another_body_a_dead_letter"
PACK: Final = "worker/contract/test_pack.py"

BUGS: Final[tuple[Bug, ...]] = (
    Bug(
        "archive_ids_not_looked_up_fast",
        "the fast path looks up ids that may be archived",
        at="commit_fast",
        old="doubtful = suspects(cache.reach, batch.groups)",
        new="doubtful = suspects({}, batch.groups)",
        tests=(OLD_IDS,),
    ),
    Bug(
        "archive_ids_not_looked_up_slowly",
        "the long way finds an event in the archive before it inserts",
        at="worker.pipeline.gather:gather",
        old="await known_in_archive(session, cache, screened.firsts) if screened.firsts else {}",
        new="{}",
        tests=(OLD_IDS,),
    ),
    Bug(
        "archive_moves_behind_no_fence",
        "what a worker knew of the archive before a round is void behind it",
        at="_round",
        old='await session.run("raise_all_generations")',
        new="pass",
        tests=(f"{ARCHIVE}::test_an_event_that_comes_between_two_steps_is_not_taken_twice",),
    ),
    Bug(
        "archive_takes_the_last_event",
        "the last event of each user stays in the ledger",
        at="sql:events_to_archive",
        old="(event.occurred_at, event.event_id) < (last.occurred_at, last.event_id)",
        new="(event.occurred_at, event.event_id) <= (last.occurred_at, last.event_id)",
        tests=(f"{ARCHIVE}::test_users_whose_types_no_rule_hears_stay_known",),
    ),
    Bug(
        "archive_takes_what_no_state_has_seen",
        "what a state has not seen yet stays in the ledger",
        at="sql:events_to_archive",
        old="AND (mark_at IS NULL OR (event.occurred_at, event.event_id) < (mark_at, mark_id))",
        new="",
        tests=(f"{ARCHIVE}::test_what_a_state_has_not_seen_stays",),
    ),
    Bug(
        "archive_forgets_members",
        "a team is folded from archived events of its members",
        at="worker.admin.archive:_move",
        old='await session.run("move_members", **asked)',
        new="pass",
        tests=(f"{ARCHIVE}::test_members_of_teams_are_found_when_their_events_are_archived",),
    ),
    Bug(
        "archive_survives_an_erasure",
        "an erasure takes the archive of the user",
        at="_erase",
        old="events += await erase_archived(session, user, archived)",
        new="",
        tests=(f"{ARCHIVE}::test_erasing_a_user_erases_the_archive",),
    ),
    Bug(
        "archive_packs_and_moves_nothing",
        "what is packed leaves the ledger in the same run",
        at="archive",
        old='reached("packed")\n        while await _round(store, done, moved, reached):\n            pass',
        new='reached("packed")',
        tests=(f"{ARCHIVE}::test_old_events_leave_the_ledger_but_for_the_last_of_each_user",),
    ),
    Bug(
        "archive_packs_in_no_order",
        "packs that overlap are read in canonical order",
        at="worker.pipeline.archive:_in_order",
        old="held = [*merge(held[known:], mine, key=_in_its_order)]",
        new="held = [*held[known:], *mine]",
        tests=(f"{ARCHIVE}::test_a_busy_user_has_many_packs_and_late_events_in_later_ones",),
    ),
    Bug(
        "archive_of_a_late_event_unread",
        "a late event on the fast path is not folded from half of a history",
        at="look_up_pasts",
        old="if archived:",
        new="if archived and at is not None:",
        tests=(f"{ARCHIVE}::test_a_late_event_on_the_fast_path_reads_the_archive",),
    ),
    Bug(
        "pack_null_is_a_moment",
        "an event without a broker's time has none in the archive either",
        at="_transit",
        old="published - received + (published >= received)",
        new="published - received",
        tests=(f"{PACK}::test_what_is_packed_comes_out",),
    ),
    Bug(
        "pack_of_any_form",
        "a pack of a later release is refused as such",
        at="worker.contract.pack:_Found.__init__",
        old="if len(body) and body[0] != VERSION:",
        new="if not len(body):",
        tests=(f"{PACK}::test_a_pack_of_a_later_release_is_refused_in_words",),
    ),
)
