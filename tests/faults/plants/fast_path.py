"""Planted bugs: the fast path."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

EXPRESS: Final = "integration/test_express.py"
PROTOCOL: Final = "faults/test_protocol.py"

BUGS: Final[tuple[Bug, ...]] = (
    Bug(
        "named_users_actor_by_actor",
        "events of a batch reach the users that they name in the order of the stream",
        at="_in_order_of_stream",
        old="sorted(chain.from_iterable(map(_entries, groups)), key=_PLACE)",
        new="chain.from_iterable(map(_entries, groups))",
        tests=("worker/engine/test_batch.py::test_users_that_events_name_have_them_in_the_order_of_the_stream",),
    ),
    Bug(
        "a_piece_with_a_message_twice_stays_whole",
        "a batch that cannot be committed is taken apart, down to one event",
        at="Batch.pieces",
        old="once = len(set(places)) == len(places)",
        new="once = True",
        tests=("worker/engine/test_batch.py::test_pieces_of_a_message_that_came_twice_become_smaller",),
    ),
    Bug(
        "express_without_generations",
        "one statement does nothing where a partition has moved",
        at="sql:held_and_recorded",
        old="AND generation = (:generations::bigint[])[array_position(:partitions::integer[], partition_id)]",
        new="AND :generations::bigint[] IS NOT NULL",
        tests=(f"{EXPRESS}::test_a_partition_that_another_worker_has_written",),
    ),
    Bug(
        "express_without_the_owner",
        "the one statement does nothing if another worker has written",
        at="sql:held_and_recorded",
        old="AND owner = :owner AND rules_epoch = :epoch::bigint",
        new="AND :owner::text IS NOT NULL AND rules_epoch = :epoch::bigint",
        tests=(f"{EXPRESS}::test_a_generation_that_is_ours_by_chance",),
    ),
    Bug(
        "express_without_the_epoch",
        "one statement does nothing under rules that are no longer in force",
        at="sql:held_and_recorded",
        old="AND owner = :owner AND rules_epoch = :epoch::bigint",
        new="AND owner = :owner AND :epoch::bigint IS NOT NULL",
        tests=(f"{EXPRESS}::test_rules_that_another_batch_has_met_already",),
    ),
    Bug(
        "express_passes_over_events_that_are_there",
        "one statement does nothing where an event was known",
        at="sql:held_and_recorded",
        old="-- use insert_new_events",
        new="""
            -- use insert_new_events
            ON CONFLICT DO NOTHING
            """,
        tests=(f"{EXPRESS}::test_an_id_that_stands_for_something_else",),
    ),
    Bug(
        "express_does_not_count_unlocks",
        "one statement does nothing where an unlock was there",
        at="sql:written_fast",
        old="WHEN (SELECT count(*) FROM new) < cardinality(:unlocks.unlock_id::uuid[])",
        new="WHEN (SELECT count(*) FROM new) < 0 * cardinality(:unlocks.unlock_id::uuid[])",
        tests=(f"{EXPRESS}::test_an_unlock_that_was_there_before",),
    ),
    Bug(
        "express_locks_out_of_order",
        "partitions are locked in order",
        at="sql:held_and_recorded",
        old="RETURNING 1",
        new="""
                AND (SELECT count(*) FROM (
                    SELECT FROM partition ORDER BY partition_id DESC FOR UPDATE) AS backwards) > 0
            RETURNING 1
            """,
        tests=(f"{PROTOCOL}::test_partitions_are_locked_in_order",),
    ),
    Bug(
        "express_for_what_is_no_news",
        "what is late is taken to be new as long as that is right",
        at="fast_users:_reason",
        old="""
    if own.behind and not trusting and canonical_order(own.events[0]) < latest:
        return LongWay.LATE_WITHOUT_TRUST
    """,
        new="",
        tests=(f"{EXPRESS}::test_what_is_late_and_no_news_costs_trust",),
    ),
    Bug(
        "express_for_the_latest_event_again",
        "a copy goes the long way",
        at="SubjectEvents.put_in_order",
        old="""
            elif place == latest:
                distinct = False
            """,
        new="",
        tests=(f"{EXPRESS}::test_the_latest_event_again",),
    ),
    Bug(
        "express_walks_what_is_late",
        "what is late is taken in place",
        at="decide:_move",
        old="late = late_among(current, heard) if",
        new="late = 0 if",
        tests=(EXPRESS,),
    ),
    Bug(
        "express_saves_no_late_user",
        "a state that has moved is saved",
        at="decide:_move",
        old="look.folded[subject] = len(in_order)",
        new="look.folded.update({subject: len(in_order)} if in_order else {})",
        tests=(EXPRESS, f"{PROTOCOL}::test_checkpoints_that_have_not_seen_what_was_absorbed"),
    ),
    Bug(
        "express_keeps_checkpoints",
        "a checkpoint that has not seen a late event is forgotten",
        at="all_columns",
        old="position_columns({**writes.absorbed, **writes.refolded})",
        new="position_columns({})",
        tests=(f"{PROTOCOL}::test_checkpoints_that_have_not_seen_what_was_absorbed",),
    ),
    Bug(
        "express_moves_latest_back",
        "the worker knows every event that has arrived",
        at="decide:first_look",
        old="""
            if state.latest is None or last > state.latest:
                state.latest = last
            """,
        new="state.latest = last",
        tests=(EXPRESS,),
    ),
    Bug(
        "trust_comes_back_at_once",
        "after each time that late events were no news, they are not taken to be for longer",
        at="Trust.broken",
        old="self._waits = self._doubt = min(2 * self._doubt, MOST_DOUBT)",
        new="self._waits = 0",
        tests=("worker/engine/test_fast_users.py::test_trust_that_was_broken_comes_back_by_and_by",),
    ),
    Bug(
        "express_for_copies_within_a_batch",
        "a copy goes the long way",
        at="SubjectEvents.put_in_order",
        old="distinct = distinct and not any(map(eq, places, places[1:]))",
        new="distinct = distinct and bool(places)",
        tests=(f"{EXPRESS}::test_copies_of_known_users_are_no_news",),
    ),
    Bug(
        "express_with_a_state_of_another_plan",
        "a state is valid under the plan that folded it",
        at="decide:_move",
        old="current = state.state if state.stamp == stamp else None",
        new="current = state.state",
        tests=("property/test_decide.py",),
    ),
    Bug(
        "fast_path_refolds_by_other_rules",
        "what other rules find takes the long way",
        at="fast_users:_reason",
        old="(state.state is None or state.stamp != stamp)",
        new="state.state is None",
        tests=("worker/engine/test_fast_users.py",),
    ),
    Bug(
        "express_without_a_state",
        "a user with a past and without a state is refolded",
        at="decide:_move",
        old="if state.known:",
        new="if state.known and state.state is not None:",
        tests=(f"{EXPRESS}::test_users_without_heard_events_take_the_fast_path",),
    ),
    Bug(
        "express_forgets_what_happened_since",
        "a refold takes all events",
        at="look_up_pasts",
        old="sorted([*known, *events[user].heard], key=canonical_order)",
        new="sorted(events[user].heard, key=canonical_order)",
        tests=(EXPRESS,),
    ),
    Bug(
        "express_reads_on_without_end",
        "what is read ahead is bounded",
        at="look_up_pasts",
        old="if len(behind) == MOST_AHEAD:",
        new="if not subjects:",
        tests=(f"{EXPRESS}::test_more_has_happened_since_than_is_read_ahead",),
    ),
    Bug(
        "express_from_a_checkpoint_of_another_plan",
        "a state is valid under the plan that folded it",
        at="sql:asked_with_checkpoint",
        old=") AS latest ON latest.stamp = :stamp",
        new=") AS latest ON latest.stamp <> '' OR :stamp = ''",
        tests=(f"{EXPRESS}::test_from_the_last_checkpoint_before_a_late_event",),
    ),
    Bug(
        "express_folds_all_again_on_top_of_a_checkpoint",
        "a refold takes each event once",
        at="sql:pasts_of_users",
        old="> (coalesce(latest.mark_at, '-infinity'), coalesce(latest.mark_id, ''))",
        new="> ('-infinity', coalesce(left(latest.mark_id, 0), ''))",
        tests=(f"{EXPRESS}::test_from_the_last_checkpoint_before_a_late_event",),
    ),
    Bug(
        "what_was_not_written_is_forgotten",
        "a reader of progress folds the later events on top",
        at="_with_unsaved",
        old="if state is None or not unsaved:",
        new="if state is None or unsaved:",
        tests=(f"{EXPRESS}::test_the_next_one_folds_what_was_not_written",),
    ),
    Bug(
        "what_was_not_written_is_not_shown",
        "a reader of progress folds the later events on top",
        at="results:_decoded",
        old="recorded_state(rules, subject, row.stamp, row.state, row.unsaved, built=built)",
        new="recorded_state(rules, subject, row.stamp, row.state, (), built=built)",
        tests=(f"{EXPRESS}::test_the_next_one_folds_what_was_not_written",),
    ),
    Bug(
        "what_was_written_is_folded_again",
        "a reader of progress folds the later events on top, and no others",
        at="sql:unsaved_events",
        old="AND (event.occurred_at, event.event_id) > (progress.mark_at, progress.mark_id)",
        new="AND (event.occurred_at, event.event_id) >= (progress.mark_at, progress.mark_id)",
        tests=(f"{EXPRESS}::test_the_next_one_folds_what_was_not_written",),
    ),
    Bug(
        "late_events_not_written",
        "progress that is not written has missed nothing before its mark",
        at="decide:_to_be_saved",
        old="{*facts.look.absorbed, *facts.refolds, *(",
        new="{*(",
        tests=(f"{EXPRESS}::test_the_next_one_folds_what_was_not_written",),
    ),
    Bug(
        "progress_not_written_at_a_checkpoint",
        "a checkpoint is left every so many events",
        at="decide:_to_be_saved",
        old="*(Subject(*point[:3]) for point in checkpoints)}",
        new="*(Subject(*point[:3]) for point in [*checkpoints][:0])}",
        tests=(f"{EXPRESS}::test_a_checkpoint_is_written_with_the_progress",),
    ),
    Bug(
        "progress_never_written_again",
        "what is not written is bounded",
        at="decide:_to_be_saved",
        old="if (unsaved < save_every or _may_wait(state, unsaved, save_every)) and subject not in due:",
        new="if state.unsaved is not None and subject not in due:",
        tests=(f"{EXPRESS}::test_progress_is_written_now_and_then",),
    ),
    Bug(
        "what_another_one_has_not_written_does_not_count",
        "what is not written is bounded",
        at="ledger:states_of_users",
        old="unsaved=None if row.state is None else len(unsaved),",
        new="unsaved=None if row.state is None else 0,",
        tests=(f"{EXPRESS}::test_what_another_one_has_not_written_counts",),
    ),
    Bug(
        "express_amends_what_was_revoked",
        "what an operator has revoked stays as it is",
        at="sql:rows_to_amend",
        old="WHERE unlock.revoked_at IS NULL",
        new="",
        tests=("integration/test_express.py::test_an_operator_revokes_between_reading_and_committing",),
    ),
    Bug(
        "express_does_not_count_what_it_amends",
        "one statement does nothing where an unlock has been revoked",
        at="sql:written_fast",
        old="WHEN (SELECT count(*) FROM amended) < cardinality(:amended.unlock_id::uuid[])",
        new="WHEN (SELECT count(*) FROM amended) < 0 * cardinality(:amended.unlock_id::uuid[])",
        tests=("integration/test_express.py::test_an_operator_revokes_between_reading_and_committing",),
    ),
    Bug(
        "express_keeps_what_is_no_longer_earned",
        "what late evidence takes away is contested",
        at="commit_fast",
        old="if writes.contested or writes.withdrawn:",
        new="if not writes.now:",
        tests=(f"{EXPRESS}::test_what_takes_a_grant_away_goes_the_long_way",),
    ),
    Bug(
        "strangers_introduced_whatever_has_moved",
        "who was found without a lock is expected where nothing has moved since",
        at="StateCache.add_unlocked",
        old="if partition.left == generation:",
        new="if partition.left is not None:",
        tests=("worker/engine/test_state_cache.py",),
    ),
    Bug(
        "express_for_teams",
        "the ledger knows the events of a team",
        at="fast_users:_reason",
        old="if own.shared:",
        new="if own.shared and not own.heard:",
        tests=(f"{EXPRESS}::test_teams_go_the_long_way",),
    ),
    Bug(
        "express_moves_no_latest",
        "the worker knows every event that has arrived",
        at="decide:first_look",
        old="state.latest = last",
        new="pass",
        tests=(f"{EXPRESS}::test_what_is_late_and_no_news_costs_trust",),
    ),
    Bug(
        "express_grants_what_settles",
        "what settles is not announced before",
        at="kind_of_new",
        old="settles_at <= clock",
        new="settles_at > clock",
        tests=(f"{EXPRESS}::test_what_settles_is_not_taken_for_granted",),
    ),
    Bug(
        "rest_of_a_divided_batch_forgotten",
        "a batch is acknowledged once all of it is committed",
        at="Pipeline.commit",
        old="return await self._commit(rest, waiting=waiting) if rest.groups or rest.letters else []",
        new="return []",
        tests=(f"{EXPRESS}::test_who_is_new_or_late_goes_the_long_way_beside_it",),
    ),
    Bug(
        "letters_of_a_divided_batch_forgotten",
        "nothing is lost silently",
        at="Pipeline.commit",
        old="return await self._commit(rest, waiting=waiting) if rest.groups or rest.letters else []",
        new="return await self._commit(rest, waiting=waiting) if rest.groups else []",
        tests=(f"{EXPRESS}::test_dead_letters_beside_the_express_way",),
    ),
    Bug(
        "pieces_not_counted",
        "a batch is acknowledged once every writer has committed its piece",
        at="Intake._hand_on",
        old="whole = Whole(opened.held, batch, len(pieces))",
        new="whole = Whole(opened.held, batch, 1)",
        tests=(f"{PROTOCOL}::test_a_batch_is_acknowledged_when_every_piece_is_committed",),
    ),
)
