"""Planted bugs: unlocks."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

PIPELINE: Final = "integration/test_pipeline.py"

BUGS: Final[tuple[Bug, ...]] = (
    Bug(
        "unlock_id_from_the_event",
        "an unlock's id is a hash of its key alone",
        at="unlock_id",
        old='grant.tier or "", grant.occurrence or "")]',
        new='grant.tier or "", grant.occurrence or "", grant.event_id)]',
        tests=(f"{PIPELINE}::test_late_evidence_moves_what_was_earned_and_not_what_was_granted",),
    ),
    Bug(
        "contested_grant_deleted",
        "a grant stays with the user",
        at="sql:contest_unlocks",
        old="""
            UPDATE unlock SET contested_at = :now, revision = revision + CASE WHEN silent THEN 0 ELSE 1 END
            FROM unnest(:contested.unlock_id::uuid[], :contested.change_id::bigint[]) AS rows (contested_id, by_change)
            WHERE unlock_id = contested_id
            """,
        new="""
            DELETE FROM unlock
            USING unnest(:contested.unlock_id::uuid[], :contested.change_id::bigint[]) AS rows (contested_id, by_change)
            WHERE :now::timestamptz IS NOT NULL AND unlock_id = contested_id
            """,
        tests=("integration/test_pipeline.py::test_contested_and_restored",),
    ),
    Bug(
        "contested_for_ever",
        "a grant that is supported again is contested no more",
        at="sql:amend_rows",
        old="contested_at = NULL,",
        new="contested_at = before.contested_at,",
        tests=("integration/test_pipeline.py::test_contested_and_restored",),
    ),
    Bug(
        "lost_evidence_not_noticed",
        "what is no longer supported is contested",
        at="reconcile",
        old="if key not in supported and complete.covers(row)",
        new="if key in supported and complete.covers(row)",
        tests=(f"{PIPELINE}::test_contested_and_restored",),
    ),
    Bug(
        "restored_grant_announced_again",
        "an unlock is announced once",
        at="sql:amend_rows",
        old="revision = before",
        new="""
            published_at = NULL,
            revision = before
            """,
        tests=("faults/test_protocol.py::test_what_is_restored_is_not_announced_again",),
    ),
    Bug(
        "granted_at_moves",
        "granted_at never moves",
        at="sql:amend_rows",
        old="""
            settles_at = coalesce(before.to_settles_at, CASE WHEN before.granted_at IS NULL THEN before.to_earned_at
                END),
            """,
        new="""
            settles_at = coalesce(before.to_settles_at, CASE WHEN before.granted_at IS NULL THEN before.to_earned_at
                END),
            granted_at = now(),
            """,
        tests=("integration/test_pipeline.py::test_late_evidence_moves_what_was_earned_and_not_what_was_granted",),
    ),
    Bug(
        "earned_at_stays",
        "late evidence moves what was earned",
        at="_moved",
        old="""
            elif (row.version, row.earned_at, row.event_id) != (grant.version, grant.earned_at, grant.event_id):
            """,
        new="elif row.version != grant.version:",
        tests=(f"{PIPELINE}::test_late_evidence_moves_what_was_earned_and_not_what_was_granted",),
    ),
    Bug(
        "settle_ignored",
        "what settles is not granted before",
        at="sql:insert_unlocks",
        old="CASE WHEN settles_at IS NULL OR settles_at <= :clock::timestamptz THEN :now::timestamptz END",
        new="CASE WHEN settles_at IS NULL OR settles_at <> :clock::timestamptz THEN :now::timestamptz END",
        tests=(f"{PIPELINE}::test_settling_by_the_clock_of_the_stream",),
    ),
    Bug(
        "settling_announced",
        "what settles is not announced before",
        at="sql:grant_settled",
        old="WHERE granted_at IS NULL AND revoked_at IS NULL AND settles_at <= :clock::timestamptz",
        new="WHERE granted_at IS NULL AND revoked_at IS NULL AND settles_at <> :clock::timestamptz",
        tests=(f"{PIPELINE}::test_settling_by_the_clock_of_the_stream",),
    ),
    Bug(
        "revoked_grant_comes_back",
        "an operator's word is the last",
        at="_moved",
        old="if row is None or row.state is State.REVOKED:",
        new="if row is None:",
        tests=("worker/engine/test_reconcile.py",),
    ),
)
