"""Planted bugs: what consumers hear of unlocks: corrections, origins, and what is said with each."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

CORRECTIONS: Final = "integration/test_corrections.py"
MESSAGES: Final = "worker/engine/test_announcement.py"
UNLOCK: Final = "sql/queries/unlock.sql"
CORRECTING: Final = "worker/pipeline/corrections.py"
EVERY: Final = (f"{CORRECTIONS}::test_every_change_is_announced_in_order",)

_DECIDED: Final = (
    Bug(
        "amended_in_silence",
        "a change of what was granted is announced",
        UNLOCK,
        "FROM before\nWHERE granted_at IS NOT NULL\nORDER BY unlock_id;",
        "FROM before\nWHERE granted_at IS NOT NULL AND contested_at IS NOT NULL\nORDER BY unlock_id;",
        EVERY,
    ),
    Bug(
        "settling_is_corrected",
        "what was never granted changes in silence",
        UNLOCK,
        "        revoked_at = $2, revision = before.revision + CASE WHEN before.granted_at IS NULL THEN 0 ELSE 1 END\n",
        "        revoked_at = $2, revision = before.revision + 1\n",
        (f"{CORRECTIONS}::test_what_settles_changes_in_silence",),
    ),
    Bug(
        "restored_called_amended",
        "a consumer hears that what was contested stands again",
        UNLOCK,
        "CASE WHEN contested_at IS NULL THEN 'amended' ELSE 'restored' END",
        "'amended'",
        EVERY,
    ),
    Bug(
        "revision_not_counted",
        "the table knows how many revisions there are",
        UNLOCK,
        "UPDATE unlock SET contested_at = $2, revision = revision + 1\n",
        "UPDATE unlock SET contested_at = $2\n",
        EVERY,
    ),
    Bug(
        "granted_again_in_silence",
        "what was revoked and is granted again by hand is announced",
        UNLOCK,
        "JOIN granted USING (unlock_id)\nWHERE before.granted_at IS NOT NULL;",
        "JOIN granted USING (unlock_id)\nWHERE before.granted_at IS NOT NULL AND before.revoked_at IS NULL;",
        EVERY,
    ),
    Bug(
        "erased_in_silence",
        "consumers hear that a user was erased",
        "sql/queries/erasure.sql",
        "    FROM gone\n    WHERE granted_at IS NOT NULL\n",
        "    FROM gone\n    WHERE granted_at IS NOT NULL AND published_at IS NULL\n",
        (f"{CORRECTIONS}::test_erased_users_are_announced",),
    ),
    Bug(
        "erased_evidence_announced",
        "what is announced of an erased user names no event",
        "sql/queries/erasure.sql",
        "event_before = '', event_id = '', reason = NULL",
        "reason = NULL",
        (f"{CORRECTIONS}::test_erased_users_are_announced",),
    ),
)

_RELAYED: Final = (
    Bug(
        "revisions_out_of_order",
        "of each unlock the first that waits goes first",
        UNLOCK,
        "WHERE earlier.unlock_id = change.unlock_id AND earlier.revision < change.revision)",
        "WHERE earlier.unlock_id = change.unlock_id AND earlier.revision > change.revision)",
        (f"{CORRECTIONS}::test_what_the_broker_refuses_holds_back_its_own_unlock_alone",),
    ),
    Bug(
        "corrected_before_it_is_announced",
        "no correction comes before the grant",
        UNLOCK,
        "        change.announced OR unlock.unlock_id IS NULL OR unlock.published_at IS NOT NULL\n",
        "        true OR unlock.unlock_id IS NULL OR unlock.published_at IS NOT NULL\n",
        (f"{CORRECTIONS}::test_a_correction_waits_for_the_grant",),
    ),
    Bug(
        "announced_as_it_is_now",
        "what is announced as granted is what was granted",
        UNLOCK,
        "coalesce(change.event_before, unlock.event_id)",
        "unlock.event_id",
        (f"{CORRECTIONS}::test_what_is_not_announced_yet_is_announced_as_it_was_granted",),
    ),
    Bug(
        "place_of_the_grant_left_free",
        "no grant comes behind its revocation",
        CORRECTING,
        "places = [one for one in claimed if one.withheld]",
        "places = [one for one in claimed if one.withheld and one.revision > 2]",
        (f"{CORRECTIONS}::test_no_grant_comes_behind_its_revocation",),
    ),
    Bug(
        "refused_correction_forgotten",
        "what the broker refuses waits, and is not lost",
        CORRECTING,
        "return [one for announced, one in asked.items() if announced.id not in told.refused]",
        "return [*asked.values()]",
        (f"{CORRECTIONS}::test_what_the_broker_refuses_holds_back_its_own_unlock_alone",),
    ),
    Bug(
        "correction_said_again",
        "a correction that is announced goes",
        CORRECTING,
        '                await session.run("corrections_announced", *columns)\n',
        "                del columns\n                return len(claimed), 0\n",
        (f"{CORRECTIONS}::test_a_drain_ends_when_corrections_are_announced",),
    ),
    Bug(
        "drain_passes_over_corrections",
        "a drain ends when nothing is left to announce",
        "worker/pipeline/outbox.py",
        "            if not await self._corrector.nothing_waits(session):\n",
        "            if False:\n",
        (f"{CORRECTIONS}::test_a_drain_ends_when_corrections_are_announced",),
    ),
    Bug(
        "corrections_wait_for_the_next_look",
        "a worker looks for what its batches have changed",
        "worker/pipeline/outbox.py",
        "                self._correct_by(monotonic() + CORRECT_SECONDS)\n",
        "                pass\n",
        (f"{CORRECTIONS}::test_a_worker_announces_corrections_while_it_works",),
    ),
)

_SAID: Final = (
    Bug(
        "backfill_called_live",
        "what other rules find is told from live play",
        "worker/engine/origin.py",
        "if subject in self.replanned and event not in self.here:",
        "if subject in self.replanned and event in self.here:",
        (f"{CORRECTIONS}::test_what_other_rules_find_when_the_user_comes_is_a_backfill",),
    ),
    Bug(
        "replayed_called_live",
        "what a dead letter earns is told from live play",
        "worker/engine/origin.py",
        "if message.block and _RESENT in message.block.lower()",
        "if message.block and _RESENT in message.block",
        (f"{CORRECTIONS}::test_what_a_dead_letter_earns_is_replayed",),
    ),
    Bug(
        "settled_called_live",
        "what has settled is told from live play",
        UNLOCK,
        "CASE WHEN settles_at IS NULL OR settles_at <= $14 THEN origin ELSE 'settled' END",
        "origin",
        (f"{CORRECTIONS}::test_what_waits_to_settle_is_settled",),
    ),
    Bug(
        "title_of_the_tier_left_out",
        "a tier is called by its own title",
        "worker/engine/announcement.py",
        "title = (tier.title if tier is not None else None) or version.title",
        "title = version.title",
        (f"{MESSAGES}::test_what_the_rules_say_is_said",),
    ),
    Bug(
        "nothing_to_take_back",
        "a revocation says what to take back",
        "worker/engine/announcement.py",
        "return _encode(Revoked(*told, reward))",
        'return _encode(Revoked(*told, Raw(b"{}")))',
        (f"{MESSAGES}::test_a_correction_fits_the_schema",),
    ),
)

BUGS: Final = (*_DECIDED, *_RELAYED, *_SAID)
