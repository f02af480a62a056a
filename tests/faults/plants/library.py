"""Planted bugs: the library form and the function form."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

SESSION: Final = "library/test_session.py"
FUNCTION: Final = "integration/test_function.py"

BUGS: Final = (
    Bug(
        "session_of_any_tenant",
        "a session takes events of its own tenant alone",
        at="Session._is_mine",
        old="(event.tenant, whose) != (mine.tenant_id, mine.subject)",
        new="whose != mine.subject",
        tests=(f"{SESSION}::test_another_tenant_or_user_is_refused",),
    ),
    Bug(
        "old_copy_counts_again",
        "what may be a copy is not counted",
        at="Session._is_known",
        old="if mark is None or position > mark:",
        new="if mark is None or position != mark:",
        tests=(f"{SESSION}::test_what_lies_before_all_that_is_remembered_cannot_be_judged",),
    ),
    Bug(
        "conflict_is_a_copy",
        "another event with a known id is refused",
        at="Session._is_known",
        old="if same_body(event, taken.written, stored_body(known.event, known.written)):",
        new="if known.event.type == event.type:",
        tests=(f"{SESSION}::test_a_copy_earns_nothing_and_another_event_with_its_id_is_refused",),
    ),
    Bug(
        "late_is_last",
        "a late event is folded in its place",
        at="Session._take",
        old="late = bool(self._tail) and _place(taken) < _place(self._tail[-1])",
        new="late = False",
        tests=(f"{SESSION}::test_a_late_event_is_folded_in_its_place",),
    ),
    Bug(
        "state_of_another",
        "a state is refused for another subject",
        at="unpacked",
        old="if saved.subject != tuple(subject):",
        new="if saved.subject[0] != subject.tenant_id:",
        tests=(f"{SESSION}::test_a_state_is_refused_for_another",),
    ),
    Bug(
        "state_of_other_rules",
        "a state is refused under other rules",
        at="unpacked",
        old="if saved.plan != plan.fingerprint:",
        new="if not saved.plan:",
        tests=(f"{SESSION}::test_a_state_is_refused_under_other_rules",),
    ),
    Bug(
        "occurrences_forgotten",
        "occurrences are counted beyond those that are kept",
        at="memory:_added",
        old="more.get(key, 0) + max(len(grants) - LATEST, 0)",
        new="max(len(grants) - LATEST, 0)",
        tests=(f"{SESSION}::test_occurrences_are_counted_beyond_those_that_are_kept",),
    ),
    Bug(
        "queue_of_any_tenant",
        "a queue speaks for its own tenant alone",
        at="records:_subject",
        old="shared_subject(prefix, tenant) if tenant else _UNBOUND",
        new="raw_subject(prefix) if tenant else _UNBOUND",
        tests=(f"{FUNCTION}::test_a_queue_speaks_for_its_tenant_alone",),
    ),
    Bug(
        "record_of_no_tenant",
        "a record of no tenant is kept as a dead letter",
        at="records:_subject",
        old="shared_subject(prefix, tenant) if tenant else _UNBOUND",
        new="shared_subject(prefix, tenant) if tenant else raw_subject(prefix)",
        tests=(f"{FUNCTION}::test_a_function_of_the_caller_says_whose_a_record_is",),
    ),
    Bug(
        "record_forges_headers",
        "a record's id puts nothing into the headers of its dead letter",
        at="records:_read",
        old='said = name if _PLAIN.fullmatch(name) else "unprintable"',
        new="said = name",
        tests=(f"{FUNCTION}::test_what_is_no_event_is_kept_with_its_reason_and_not_tried_again",),
    ),
    Bug(
        "uncommitted_is_done",
        "what is not committed in time comes again",
        at="Function.batch",
        old='[] if opened else [{"itemIdentifier": one.id} for one in read]',
        new="[]",
        tests=(f"{FUNCTION}::test_what_is_not_committed_in_time_comes_again",),
    ),
    Bug(
        "failed_callback_counts",
        "what the callback has not taken is announced again",
        at="_Outlet.announce",
        old='raise BrokerAwayError(f"{type(error).__name__}: {error}") from error',
        new="refused = frozenset()",
        tests=(f"{FUNCTION}::test_what_is_granted_is_delivered_once_it_is_committed",),
    ),
    Bug(
        "frozen_connection",
        "a process that was frozen opens another connection",
        at="Function._opened",
        old="if self._open is None or not 0 <= time() - self._used_at < IDLE_SECONDS:",
        new="if self._open is None:",
        tests=(f"{FUNCTION}::test_a_process_that_was_frozen_opens_another_connection",),
    ),
    Bug(
        "any_rules_will_do",
        "a function does not work under other rules than it was given",
        at="Function._load",
        old="sorted(file.text for file in row.files()) != sorted(one.text for one in ruleset.sources)",
        new="not row.files()",
        tests=(f"{FUNCTION}::test_rules_that_are_not_those_in_force_are_refused",),
    ),
)
