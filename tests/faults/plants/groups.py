"""Planted bugs: workers that share a stream as a group."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

GROUPS: Final = "integration/test_groups.py"
INTAKE: Final = "integration/test_intake.py"
ROLL: Final = "worker/broker/test_roll.py"
SHARES: Final = "worker/broker/test_shares.py"

BUGS: Final[tuple[Bug, ...]] = (
    Bug(
        "newcomer_displaces_a_member",
        "a worker that stands by takes no partitions from a full group",
        at="deal",
        old="sorted(members, key=lambda name: (name not in before, name))",
        new="sorted(members)",
        tests=(f"{SHARES}::test_a_newcomer_displaces_none_of_a_full_group",),
    ),
    Bug(
        "marked_subject_of_a_stranger",
        "a message on a subject outside of the prefix is no event of a tenant",
        at="mirror_of",
        old='Mirror(source, "" if alone else f"{prefix}.>")',
        new='Mirror(source, "")',
        tests=(f"{SHARES}::test_what_lies_outside_of_the_prefix_is_left_out",),
    ),
    Bug(
        "arrays_that_no_member_reads",
        "what may carry any users is read by one of the members",
        at="shares:sources_of",
        old='return [dealt, Source(member + REST, f"{prefix}.>")] if residue == 0 else [dealt]',
        new="return [dealt]",
        tests=(f"{SHARES}::test_no_filters_overlap",),
    ),
    Bug(
        "group_begins_anew",
        "a group begins where the workers before it have arrived",
        at="GroupStore._begin",
        old="known = (await ask(client, what, _Reached)).ack_floor.stream_seq + 1",
        new="await ask(client, what, _Reached)",
        tests=(f"{GROUPS}::test_two_share_and_one_leaves",),
    ),
    Bug(
        "old_server_taken_for_new",
        "a server that cannot pause a consumer is refused",
        at="OLDEST",
        old="(2, 11)",
        new="(2, 9)",
        tests=(f"{GROUPS}::test_an_old_server_is_refused",),
    ),
    Bug(
        "partition_stays_in_the_subject",
        "an event has the subject that it was published on",
        at="unmarked",
        old="subject.startswith(_MARK)",
        new="False",
        tests=(f"{SHARES}::test_a_subject_is_what_it_was_published_on",),
    ),
    Bug(
        "sheet_that_passes_no_leaf_node",
        "a group works in the JetStream domain that is set",
        at="GroupStore.put_subject",
        old='f"{self._put_below}{self._subject}"',
        new="self._subject",
        tests=(f"{GROUPS}::test_a_group_in_a_domain_behind_a_leaf_node",),
    ),
    Bug(
        "lag_of_another_consumer",
        "the lag of a group is that of all its members",
        at="Broker.waiting",
        old="if self._group is not None:",
        new="if False:",
        tests=(f"{GROUPS}::test_what_waits_is_counted_and_a_group_of_other_settings_is_refused",),
    ),
    Bug(
        "goodbye_forgotten",
        "a member that has left is dealt nothing, whatever the sheet of before says",
        at="Roll.leave",
        old="self._left.add(member)",
        new="pass",
        tests=(f"{ROLL}::test_a_member_that_has_left_does_not_come_back_with_the_sheet",),
    ),
    Bug(
        "goodbye_for_ever",
        "a member that is heard belongs to its group, whatever another client has said in its name",
        at="Roll.hear",
        old="self._left.discard(member)",
        new="",
        tests=(f"{ROLL}::test_a_member_that_is_heard_has_not_left",),
    ),
    Bug(
        "dead_for_as_long_as_the_sheet_is_read",
        "a dead member is waited for once, and not with each reading of the sheet",
        at="Roll.read",
        old="listed - self._listed - self._left",
        new="listed - self._left",
        tests=(f"{ROLL}::test_a_member_on_the_sheet_has_its_time_to_be_heard_once",),
    ),
    Bug(
        "sheet_missed_while_it_is_read",
        "a sheet that is written while another one is read calls for another look",
        at="Member._read",
        old="self._roll.read(self._written.sheet.shares, monotonic())",
        new="self._roll.read(self._written.sheet.shares, monotonic()); self._looked_at = monotonic()",
        tests=(f"{GROUPS}::test_a_sheet_that_is_written_while_one_is_read_is_read",),
    ),
    Bug(
        "batch_closed_before_its_backlog",
        "free writers wait a moment for a full batch where the broker has so many more",
        at="Intake._to_fill",
        old="return max(0.0, until - monotonic())",
        new="return 0.0",
        tests=(f"{INTAKE}::test_free_writers_wait_for_a_backlog_that_is_on_its_way",),
    ),
    Bug(
        "waits_for_what_its_own_acknowledgements_hold_back",
        "a batch does not wait for messages that the consumer delivers behind its acknowledgement alone",
        at="Puller.behind",
        old="0 if self._scarce else self._behind",
        new="self._behind",
        tests=(f"{INTAKE}::test_a_consumer_that_delivers_few_messages_is_not_waited_for",),
    ),
    Bug(
        "rows_lost_when_tables_are_divided",
        "no table with rows is put aside for a divided one",
        at="divide_tables",
        old="if filled:",
        new="if len(filled) > 1:",
        tests=("migration/test_table_partitions.py::test_only_an_empty_database_is_divided",),
    ),
)
