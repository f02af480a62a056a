"""Planted bugs: what consumers hear of unlocks: corrections, origins, and what is said with each."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

CORRECTIONS: Final = "integration/test_corrections.py"
MESSAGES: Final = "worker/engine/test_announcement.py"
EVERY: Final = (f"{CORRECTIONS}::test_every_change_is_announced_in_order",)

_DECIDED: Final = (
    Bug(
        "amended_in_silence",
        "a change of what was granted is announced",
        at="sql:correct_amended",
        old="WHERE granted_at IS NOT NULL",
        new="WHERE granted_at IS NOT NULL AND contested_at IS NOT NULL",
        tests=EVERY,
    ),
    Bug(
        "settling_is_corrected",
        "what was never granted changes in silence",
        at="sql:revoke_unlocks",
        old="""
            revision = before.revision + CASE WHEN before.granted_at IS NULL OR before.silent THEN 0 ELSE 1 END
            """,
        new="revision = before.revision + 1",
        tests=(f"{CORRECTIONS}::test_what_settles_changes_in_silence",),
    ),
    Bug(
        "restored_called_amended",
        "a consumer hears that what was contested stands again",
        at="sql:correct_amended",
        old="CASE WHEN contested_at IS NULL THEN 'amended' ELSE 'restored' END",
        new="'amended'",
        tests=EVERY,
    ),
    Bug(
        "revision_not_counted",
        "the table knows how many revisions there are",
        at="sql:contest_unlocks",
        old="UPDATE unlock SET contested_at = :now, revision = revision + CASE WHEN silent THEN 0 ELSE 1 END",
        new="UPDATE unlock SET contested_at = :now",
        tests=EVERY,
    ),
    Bug(
        "granted_again_in_silence",
        "what was revoked and is granted again by hand is announced",
        at="sql:grant_by_hand",
        old="WHERE before.granted_at IS NOT NULL AND NOT before.silent;",
        new="WHERE before.granted_at IS NOT NULL AND before.revoked_at IS NULL;",
        tests=EVERY,
    ),
    Bug(
        "erased_in_silence",
        "consumers hear that a user was erased",
        at="sql:say_that_gone_is_erased",
        old="WHERE granted_at IS NOT NULL",
        new="WHERE granted_at IS NOT NULL AND published_at IS NULL",
        tests=(f"{CORRECTIONS}::test_erased_users_are_announced",),
    ),
    Bug(
        "erased_evidence_announced",
        "what is announced of an erased user names no event",
        at="sql:say_that_gone_is_erased",
        old="event_before = '', event_id = '', reason = NULL",
        new="reason = NULL",
        tests=(f"{CORRECTIONS}::test_erased_users_are_announced",),
    ),
)

_RELAYED: Final = (
    Bug(
        "revisions_out_of_order",
        "of each unlock the first that waits goes first",
        at="sql:claim_corrections",
        old="WHERE earlier.unlock_id = change.unlock_id AND earlier.revision < change.revision)",
        new="WHERE earlier.unlock_id = change.unlock_id AND earlier.revision > change.revision)",
        tests=(f"{CORRECTIONS}::test_what_the_broker_refuses_holds_back_its_own_unlock_alone",),
    ),
    Bug(
        "corrected_before_it_is_announced",
        "no correction comes before the grant",
        at="sql:claim_corrections",
        old="change.announced OR unlock.unlock_id IS NULL OR unlock.published_at IS NOT NULL",
        new="true OR unlock.unlock_id IS NULL OR unlock.published_at IS NOT NULL",
        tests=(f"{CORRECTIONS}::test_a_correction_waits_for_the_grant",),
    ),
    Bug(
        "announced_as_it_is_now",
        "what is announced as granted is what was granted",
        at="sql:claim_unlocks",
        old="coalesce(change.event_before, unlock.event_id)",
        new="unlock.event_id",
        tests=(f"{CORRECTIONS}::test_what_is_not_announced_yet_is_announced_as_it_was_granted",),
    ),
    Bug(
        "place_of_the_grant_left_free",
        "no grant comes behind its revocation",
        at="Corrector._withhold",
        old="places = [one for one in claimed if one.withheld]",
        new="places = [one for one in claimed if one.withheld and one.revision > 2]",
        tests=(f"{CORRECTIONS}::test_no_grant_comes_behind_its_revocation",),
    ),
    Bug(
        "refused_correction_forgotten",
        "what the broker refuses waits, and is not lost",
        at="Gate.announce",
        old="return kept, said.new",
        new="return rows, said.new",
        tests=(f"{CORRECTIONS}::test_what_the_broker_refuses_holds_back_its_own_unlock_alone",),
    ),
    Bug(
        "correction_said_again",
        "a correction that is announced goes",
        at="Corrector._relay_some",
        old='await session.run("corrections_announced", unlock_ids=ids, revisions=revisions)',
        new="""
            del ids, revisions
            return len(claimed), 0
            """,
        tests=(f"{CORRECTIONS}::test_a_drain_ends_when_corrections_are_announced",),
    ),
    Bug(
        "drain_passes_over_corrections",
        "a drain ends when nothing is left to announce",
        at="OutboxRelay.is_empty",
        old="if not await self._corrector.nothing_waits(session):",
        new="if False:",
        tests=(f"{CORRECTIONS}::test_a_drain_ends_when_corrections_are_announced",),
    ),
    Bug(
        "corrections_wait_for_the_next_look",
        "a worker looks for what its batches have changed",
        at="OutboxRelay.committed",
        old="self._correct_by(monotonic() + CORRECT_SECONDS)",
        new="pass",
        tests=(f"{CORRECTIONS}::test_a_worker_announces_corrections_while_it_works",),
    ),
)

_SAID: Final = (
    Bug(
        "backfill_called_live",
        "an unlock by changed rules is distinguished from live play",
        at="Arrived.by_rules",
        old="(subject.tenant_id, grant.event_id) not in self.here",
        new="(subject.tenant_id, grant.event_id) in self.here",
        tests=(f"{CORRECTIONS}::test_what_other_rules_find_when_the_user_comes_is_a_backfill",),
    ),
    Bug(
        "replayed_called_live",
        "an unlock by a resent dead letter is distinguished from live play",
        at="arrived",
        old="if message.block and _RESENT in message.block.lower()",
        new="if message.block and _RESENT in message.block",
        tests=(f"{CORRECTIONS}::test_what_a_dead_letter_earns_is_replayed",),
    ),
    Bug(
        "settled_called_live",
        "an unlock that has settled is distinguished from live play",
        at="sql:insert_unlocks",
        old="CASE WHEN settles_at IS NULL OR settles_at <= :clock::timestamptz THEN origin ELSE 'settled' END",
        new="origin",
        tests=(f"{CORRECTIONS}::test_what_waits_to_settle_is_settled",),
    ),
    Bug(
        "title_of_the_tier_left_out",
        "a tier is called by its own title",
        at="words_of",
        old="title = (tier.title if tier is not None else None) or version.title",
        new="title = version.title",
        tests=(f"{MESSAGES}::test_what_the_rules_say_is_said",),
    ),
    Bug(
        "nothing_to_take_back",
        "a revocation says what to take back",
        at="correction",
        old="return _encode(Revoked(*fields, reward, change=change, renamed_from=renamed_from))",
        new='return _encode(Revoked(*fields, Raw(b"{}"), change=change, renamed_from=renamed_from))',
        tests=(f"{MESSAGES}::test_a_correction_fits_the_schema",),
    ),
)

BUGS: Final = (*_DECIDED, *_RELAYED, *_SAID)
