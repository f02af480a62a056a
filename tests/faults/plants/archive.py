"""Planted bugs: events of long ago, which leave the ledger and are part of history all the same."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

ARCHIVE: Final = "integration/test_archive.py"
OLD_IDS: Final = f"{ARCHIVE}::test_an_old_id_that_comes_again_is_a_duplicate_and_with_another_body_a_dead_letter"
BUILDS: Final = "integration/test_archived_builds.py"
APART: Final = f"{ARCHIVE}::test_rules_that_name_users_and_the_archive_do_not_go_together"
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
        "sweep_reads_the_ledger_alone",
        "a sweep folds archived events with those of the ledger",
        at="worker.admin.sweep:chunks",
        old='merged(session.pages(hashed, "events_by_hash", **asked), archived(), _by_hash)',
        new='session.pages(hashed, "events_by_hash", **asked)',
        tests=(f"{BUILDS}::test_a_sweep_reads_the_archive_with_the_ledger",),
    ),
    Bug(
        "mark_of_archived_events_lost",
        "the last event that rules still hear may be archived",
        at="worker.admin.ahead:find_marks",
        old="found.update({subject: Position(event.at, event.id) for subject, event in page})",
        new="pass",
        tests=(f"{ARCHIVE}::test_rules_that_hear_less_measure_at_an_archived_event",),
    ),
    Bug(
        "rebuild_counts_half_of_a_history",
        "a rebuild sees late events where others leave the ledger meanwhile",
        at="sql:count_of_users",
        old="AND NOT EXISTS (SELECT FROM pack WHERE pack.tenant_id = asked.tenant_id AND pack.user_id = asked.user_id)",
        new="",
        tests=(f"{BUILDS}::test_a_rebuild_counts_no_events_that_are_archived_meanwhile[user]",),
    ),
    Bug(
        "archive_of_rules_that_name_users",
        "where rules name users, nothing is archived",
        at="worker.admin.archive:_begin",
        old="await _refuse_roles(session)",
        new="pass",
        tests=(APART,),
    ),
    Bug(
        "rules_that_name_users_over_an_archive",
        "rules that name users do not come into force where events are archived",
        at="_refuse_archived_roles",
        old='(naming := naming_users(ruleset)) and await session.value(bool, "archive_is_begun")',
        new='(naming := naming_users(ruleset)) and not await session.value(bool, "archive_is_begun")',
        tests=(APART,),
    ),
    Bug(
        "members_of_archived_events_stay",
        "memberships leave the ledger with their events",
        at="sql:take_archived_events",
        old="DELETE FROM event_subject\n    USING",
        new="SELECT FROM event_subject,",
        tests=(f"{ARCHIVE}::test_members_of_teams_are_found_when_their_events_are_archived",),
    ),
    Bug(
        "journal_knows_no_archived_team",
        "a journal finds the names of teams whose events are archived",
        at="sql:kept_subjects",
        old="FROM packed_member\n        WHERE scope = :scope",
        new="FROM packed_member\n        WHERE scope = 'user' AND scope = :scope",
        tests=(f"{BUILDS}::test_a_journal_finds_the_names_of_archived_teams",),
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
