"""Planted bugs: workers that share a stream as a group."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

GROUPS: Final = "integration/test_groups.py"
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
)
