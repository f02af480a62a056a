"""Planted bugs: the ledger, and the contract of events."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

PIPELINE: Final = "integration/test_pipeline.py"
RULES: Final = "integration/test_rules.py"
PROTOCOL: Final = "faults/test_protocol.py"
CONTRACT: Final = "worker/contract/test_strict_reader.py"

BUGS: Final[tuple[Bug, ...]] = (
    # -- the ledger --
    Bug(
        "dedup_by_id_without_body",
        "another body under a known id is a dead letter",
        at="arrivals_of",
        old="if same:",
        new="if item or same:",
        tests=(f"{PIPELINE}::test_another_body_under_a_known_id_is_a_dead_letter",),
    ),
    Bug(
        "dedup_by_bytes",
        "the same event in another guise is a duplicate",
        at="same_body",
        old="return written.payload == stored.payload or _json(written.payload) == _json(stored.payload)",
        new="return written.payload == stored.payload",
        tests=(f"{PIPELINE}::test_copies_are_counted_once",),
    ),
    Bug(
        "copy_compared_with_its_own_batch",
        "what the ledger had is compared with the ledger",
        at="arrivals_of",
        old="stored or stored_body(first.event, first.written)",
        new="stored_body(first.event, first.written)",
        tests=(f"{PIPELINE}::test_another_body_under_a_known_id_is_a_dead_letter",),
    ),
    Bug(
        "own_rows_known_by_the_instant_alone",
        "what a lost commit has recorded is not recorded again",
        at="sql:events_there_before",
        old="WHERE found.mark <> pg_current_xact_id()::xid OR found.received_at <> :now::timestamptz",
        new="WHERE found.received_at <> :now::timestamptz",
        tests=(f"{PROTOCOL}::test_a_commit_of_unknown_outcome_changes_nothing",),
    ),
    Bug(
        "ids_of_all_tenants_in_one_pot",
        "an id belongs to its tenant",
        at="rows_of",
        old=r'f"{event.id}\x1f{event.tenant}\x1f{event.user}\x1f{event.type}\x1f{instant}\x1f0\x1f\x1f"',
        new=r'f"{event.id}\x1ft\x1f{event.user}\x1f{event.type}\x1f{instant}\x1f0\x1f\x1f"',
        tests=(f"{PIPELINE}::test_ids_belong_to_their_tenant",),
    ),
    Bug(
        "tombstones_ignored",
        "an erased user's events stay out",
        at="screen",
        old="if any(state.erased for state in states.values()):",
        new="if all(state.erased for state in states.values()) and not items:",
        tests=(f"{PIPELINE}::test_erased_users_stay_out",),
    ),
    Bug(
        "members_not_listed",
        "the ledger knows the events of a team",
        at="insert_members",
        old='if members["members.event_id"]:',
        new='if len(members["members.event_id"]) > 1:',
        tests=(f"{RULES}::test_scopes_of_fields_and_tenants",),
    ),
    # -- the contract --
    Bug(
        "nul_let_through",
        "text that no database takes is a dead letter",
        at="_no_text",
        old=r'if b"\\" in body and _NUL.search(body):',
        new=r'if b"\\" in body and not body:',
        tests=(f"{CONTRACT}::test_text_that_no_database_takes",),
    ),
    Bug(
        "tenant_of_the_subject_ignored",
        "no producer writes into another tenant",
        at="Contract._judge",
        old="if not bound.fits_tenant(tenant):",
        new="if not bound.fits_tenant(tenant) and not tenant:",
        tests=(f"{PIPELINE}::test_the_tenant_of_the_subject_is_the_tenant",),
    ),
    Bug(
        "one_mark_for_all",
        "no body passes for two when many are read as one",
        at="PlainReader._wires_of",
        old="or found[1::2] != [self._mark] * (number - 1)",
        new="",
        tests=("worker/contract/test_bulk_reader.py",),
    ),
    Bug(
        "tenants_of_many_ignored",
        "no producer writes into another tenant, in a large batch either",
        at="PlainReader._addressed",
        old="if not (bound.fits_tenant(name) and bound.fits_user(user)):",
        new="if not (bound.fits_tenant(name) and bound.fits_user(user)) and not tenant:",
        tests=("worker/contract/test_bulk_reader.py",),
    ),
    Bug(
        "the_future_let_in",
        "one bad clock does not make every later event late",
        at="Contract._judge",
        old="if at > now + self._skew:",
        new="if at > now + self._skew * 10**6:",
        tests=(CONTRACT,),
    ),
    Bug(
        "depth_not_bounded",
        "nothing nests deeper than MAX_DEPTH",
        at="_too_deep",
        old="> MAX_DEPTH and _depth(body) > MAX_DEPTH",
        new="> MAX_DEPTH and _depth(body) > 100 * MAX_DEPTH",
        tests=(f"{CONTRACT}::test_depth",),
    ),
    Bug(
        "numbers_through_floats",
        "numbers are read from their text",
        at="exact",
        old="number = Decimal(text)",
        new="number = Decimal(repr(float(text)))",
        tests=("dsl/test_payload.py",),
    ),
)
