"""Planted bugs: changes of rules: what decisions say of them, what is announced, who builds them, members of teams."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

CHANGE: Final = "integration/test_change.py"
COMMANDS: Final = "acceptance/test_change_commands.py"
SILENT: Final = (f"{CHANGE}::test_a_silent_change_announces_nothing",)
MEMBERS: Final = (f"{CHANGE}::test_events_that_come_before_the_switch_are_members",)

ROLLBACK: Final = "faults/test_rollback.py"

_ROLLED_BACK: Final = (
    Bug(
        "rolled_back_out_of_memory",
        "what a change has granted is not announced out of a worker's memory after it was rolled back",
        at="OutboxRelay.committed",
        old="one.kind == Kind.GRANTED and one.change_id is None",
        new="one.kind == Kind.GRANTED and not one.silent",
        tests=(f"{ROLLBACK}::test_what_a_worker_has_in_its_memory_is_not_announced",),
    ),
    Bug(
        "rolled_back_past_a_relay",
        "the switch waits for the relay that announces an unlock of a change that is rolled back",
        at="sql:silence_rolled_back",
        old="FOR UPDATE",
        new="FOR UPDATE SKIP LOCKED",
        tests=(f"{ROLLBACK}::test_what_a_relay_announces_meanwhile_is_waited_for",),
    ),
    Bug(
        "rolled_back_and_corrected",
        "no correction goes out of what was silenced",
        at="sql:silence_rolled_back",
        old="WHERE correction.unlock_id = waiting.unlock_id",
        new="WHERE false AND correction.unlock_id = waiting.unlock_id",
        tests=(f"{ROLLBACK}::test_corrections_of_what_is_silenced_go_with_it",),
    ),
    Bug(
        "rolled_back_too_far",
        "changes up to the epoch that is gone back to stay as they are",
        at="sql:roll_back_changes",
        old="WHERE epoch > :epoch",
        new="WHERE epoch >= :epoch",
        tests=(f"{ROLLBACK}::test_changes_before_the_epoch_are_not_touched",),
    ),
)

_ANNOUNCED: Final = (
    Bug(
        "silent_and_announced_by_a_worker",
        "what a change grants silently is not announced, also where a worker grants it",
        at="OutboxRelay.committed",
        old="if one.kind == Kind.GRANTED and one.change_id is None",
        new="if one.kind == Kind.GRANTED",
        tests=("faults/test_rollback.py::test_what_a_worker_has_in_its_memory_is_not_announced",),
    ),
    Bug(
        "silent_without_a_mark",
        "a silent unlock is in no outbox",
        at="sql:insert_unlocks",
        old="""
            CASE WHEN silent AND (settles_at IS NULL OR settles_at <= :clock::timestamptz) THEN :now::timestamptz END,
            """,
        new="NULL::timestamptz,",
        tests=SILENT,
    ),
    Bug(
        "silent_and_corrected",
        "a consumer hears no correction of what it was not informed of",
        at="sql:contest_unlocks",
        old="WHERE NOT silent",
        new="WHERE true",
        tests=SILENT,
    ),
    Bug(
        "silent_and_counted",
        "a change of a silent unlock is no revision",
        at="sql:contest_unlocks",
        old="revision = revision + CASE WHEN silent THEN 0 ELSE 1 END",
        new="revision = revision + 1",
        tests=SILENT,
    ),
    Bug(
        "silent_until_it_settles",
        "what settles behind a silent change stays silent",
        at="sql:grant_settled",
        old=", published_at = CASE WHEN silent THEN :now::timestamptz END",
        new="",
        tests=(f"{CHANGE}::test_what_settles_later_stays_silent",),
    ),
    Bug(
        "silent_at_the_instant_itself",
        "what was earned since an instant is announced, at that instant too",
        at="Policy.silences",
        old="earned_at < self.since",
        new="earned_at <= self.since",
        tests=("worker/engine/test_change.py::test_a_policy_silences",),
    ),
    Bug(
        "contested_and_announced_later",
        "what was contested meanwhile stays silent",
        at="sql:announce_silent_unlocks",
        old="AND silent AND contested_at IS NULL",
        new="AND silent",
        tests=(f"{CHANGE}::test_what_was_silent_is_announced_if_an_operator_says_so",),
    ),
    Bug(
        "silent_beside_workers_that_announce",
        "a silent change is refused while workers run that announce everything",
        at="check_policy",
        old="if found.older:",
        new="if False:",
        tests=(f"{CHANGE}::test_a_change_is_not_silent_beside_workers_that_announce_everything",),
    ),
)

_NAMED: Final = (
    Bug(
        "lazily_without_a_name",
        "a decision of a worker names the change that it comes of",
        at="_Causes.of",
        old="return self._in_force if self._how.by_rules(subject, grant) else None",
        new="return None",
        tests=(f"{CHANGE}::test_decisions_name_their_change_in_a_worker_as_in_the_build",),
    ),
    Bug(
        "an_event_named_a_change",
        "what a new event earns does not come of the change that is built",
        at="Arrived.by_rules",
        old="return subject in self.replanned and (subject.tenant_id, grant.event_id) not in self.here",
        new="return subject in self.replanned",
        tests=(f"{CHANGE}::test_decisions_name_their_change_in_a_worker_as_in_the_build",),
    ),
    Bug(
        "corrected_without_a_name",
        "a correction names the change that it comes of",
        at="contested_columns",
        old="[causes[one] for one in writes.contested]",
        new="[None for one in writes.contested]",
        tests=(f"{CHANGE}::test_what_a_change_takes_names_it_too",),
    ),
)

_REFUSED: Final = (
    Bug(
        "a_stale_plan_applied",
        "a plan is refused when other rules have come into force since",
        at="rollout:_is_stale",
        old="return terms.epoch not in {None, past.epoch} or terms.against not in {None, against}",
        new="return terms.against not in {None, against}",
        tests=(f"{CHANGE}::test_a_stale_plan_is_refused",),
    ),
    Bug(
        "a_plan_of_another_database_applied",
        "a plan that was made where other rules have the number of its epoch is refused",
        at="rollout:_is_stale",
        old="return terms.epoch not in {None, past.epoch} or terms.against not in {None, against}",
        new="return terms.epoch not in {None, past.epoch}",
        tests=(f"{COMMANDS}::test_a_change_from_the_plan_to_its_end",),
    ),
    Bug(
        "a_rollback_that_died_is_not_gone_on_with",
        "the command that was interrupted goes on when it is run again",
        at="rollback:_looked_up",
        old="if await change_to_build(store, now.epoch) is not None:  # it was interrupted",
        new="if False:",
        tests=(f"{COMMANDS}::test_what_was_interrupted_behind_its_switch_is_gone_on_with",),
    ),
    Bug(
        "a_reapply_that_died_is_not_gone_on_with",
        "decisions that are done again come to their end, whatever interrupts them",
        at="_Reapply.people",
        old="elif about and await self._has_void_states():  # an earlier run was interrupted right here",
        new="elif False:",
        tests=("integration/test_reapply.py::test_what_an_interrupted_run_has_left_is_done",),
    ),
    Bug(
        "a_number_beyond_all",
        "a number that the database cannot keep is refused as one",
        at="_Number.convert",
        old="if number > self._most:",
        new="if False:",
        tests=("acceptance/test_unknown_names.py",),
    ),
    Bug(
        "history_judged_by_a_new_number",
        "a version that begins before one in force is refused",
        at="rollout:_refuse",
        old="if early := renames.shown_in(too_early(past.known, change.versions)):",
        new="if early := renames.shown_in(too_early((), change.versions)):",
        tests=(f"{CHANGE}::test_a_version_that_begins_before_one_in_force_is_refused",),
    ),
    Bug(
        "cancelled_and_in_force",
        "a change that was cancelled before does not come into force",
        at="sql:put_change_into_force",
        old="AND state = 'pending' AND builder = :builder",
        new="AND builder = :builder",
        tests=(f"{CHANGE}::test_a_pending_change_that_is_cancelled_does_not_come_into_force",),
    ),
    Bug(
        "an_edited_plan_applied",
        "a plan that was edited is refused",
        at="plan_file:plan_of",
        old="if (plan.rules, plan.plan) != (rules, _plan_hash(plan.epoch, plan.against, rules)):",
        new="if plan.rules != rules:",
        tests=("worker/admin/test_plan_file.py::test_an_edited_plan_is_refused",),
    ),
)

_BUILT: Final = (
    Bug(
        "members_late",
        "events that come before the switch are members behind it",
        at="_put_into_force",
        old="await write_late_members(session, ready.rules, ready.members, ready.mark)",
        new="",
        tests=MEMBERS,
    ),
    Bug(
        "members_in_an_earlier_page",
        "members that the switch has not seen are found behind it",
        at="_tidy_members",
        old="if lease.cursor.heard:",
        new="if False:",
        tests=(f"{CHANGE}::test_members_that_the_switch_has_missed_are_added",),
    ),
    Bug(
        "added_and_not_folded",
        "a subject with members that were missed is folded again",
        at="members:_add",
        old='await session.run("forget_progress", **subject_columns(subjects))',
        new="",
        tests=(f"{CHANGE}::test_members_that_the_switch_has_missed_are_added",),
    ),
    Bug(
        "what_was_left_is_forgotten",
        "a change does what the one before it has left",
        at="_take_over",
        old="cursor = merged(cursor, read_cursor(left.cursor))",
        new="pass",
        tests=(f"{CHANGE}::test_a_new_change_takes_over_from_one_that_is_built",),
    ),
    Bug(
        "built_though_paused",
        "a process that builds a change ends when it is paused",
        at="sql:beat_change",
        old="WHERE change_id = :change_id AND state = 'building' AND builder = :builder",
        new="WHERE change_id = :change_id AND builder = :builder",
        tests=(f"{CHANGE}::test_a_build_ends_when_it_is_not_its_own_any_more",),
    ),
    Bug(
        "left_alone_for_ever",
        "a worker goes on with a build whose process has died",
        at="Successor.run",
        old="if one.silent_ms >= SILENT_SECONDS * 1000:",
        new="if False:",
        tests=(f"{CHANGE}::test_a_worker_goes_on_with_a_build_that_was_left",),
    ),
    Bug(
        "no_way_given",
        "a build waits while too many messages wait for workers",
        at="gives_way",
        old="lag.pending > max_lag",
        new="lag.pending < 0",
        tests=("worker/engine/test_pace.py::test_a_build_gives_way",),
    ),
)

BUGS: Final = (*_ANNOUNCED, *_ROLLED_BACK, *_NAMED, *_REFUSED, *_BUILT)
