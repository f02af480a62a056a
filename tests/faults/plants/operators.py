"""Planted bugs: what operators do: settle, revoke, grant by hand, and the outbox."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

OPERATORS: Final = "integration/test_operators.py"
OUTBOX: Final = "integration/test_outbox.py"
RECONCILE: Final = ("worker/engine/test_reconcile.py",)
ANNOUNCING: Final = ("worker/broker/test_announce.py",)
UNLOCK: Final = "sql/queries/unlock.sql"

_CLAIM: Final = "WHERE published_at IS NULL AND granted_at IS NOT NULL AND revoked_at IS NULL AND unlock_id <> ALL ($1"

_DECIDING: Final = (
    # -- what is decided --
    Bug(
        "revoked_while_it_settles_withdrawn",
        "an operator's word is the last in every state",
        "worker/engine/reconcile.py",
        "        if self.revoked_at is not None:\n",
        "        if self.revoked_at is not None and self.granted_at is not None:\n",
        RECONCILE,
    ),
    Bug(
        "granted_by_hand_contested",
        "what an operator granted is not contested",
        "worker/engine/reconcile.py",
        "        if self.by_hand:\n",
        "        if self.by_hand and self.event_id == NO_EVIDENCE:\n",
        RECONCILE,
    ),
    Bug(
        "lost_evidence_kept_by_hand",
        "what an operator granted tells what evidence there is",
        "worker/engine/reconcile.py",
        "case State.BY_HAND if row.event_id != NO_EVIDENCE and",
        "case State.BY_HAND if row.event_id == NO_EVIDENCE and",
        RECONCILE,
    ),
    Bug(
        "granted_at_moves_by_hand",
        "granted_at never moves",
        "worker/engine/reconcile.py",
        "granted_at = now if row is None or row.granted_at is None else row.granted_at",
        "granted_at = now",
        RECONCILE,
    ),
    Bug(
        "evidence_forgotten_by_hand",
        "what events had earned is still earned by them when an operator grants it",
        "worker/engine/reconcile.py",
        "ByHand(before, evidence or without_evidence(",
        "ByHand(before, without_evidence(",
        RECONCILE,
    ),
    # -- what the statements guard --
    Bug(
        "revoked_deleted",
        "what was revoked is never deleted",
        UNLOCK,
        "DELETE FROM unlock WHERE unlock_id = ANY ($1::uuid[]) AND granted_at IS NULL AND revoked_at IS NULL;",
        "DELETE FROM unlock WHERE unlock_id = ANY ($1::uuid[]) AND granted_at IS NULL;",
        (f"{OPERATORS}::test_no_statement_moves_what_was_revoked",),
    ),
    Bug(
        "revoked_contested_by_the_statement",
        "what was revoked stays as it is",
        "sql/queries/unlock.sql",
        "contested_at IS NULL AND revoked_at IS NULL\n        AND NOT by_hand\n",
        "contested_at IS NULL\n        AND NOT by_hand\n",
        ("integration/test_operators.py::test_no_statement_moves_what_was_revoked",),
    ),
    Bug(
        "by_hand_contested_by_the_statement",
        "what an operator granted is not contested",
        "sql/queries/unlock.sql",
        "contested_at IS NULL AND revoked_at IS NULL\n        AND NOT by_hand\n",
        "contested_at IS NULL AND revoked_at IS NULL\n",
        ("integration/test_operators.py::test_no_statement_contests_or_deletes_what_was_granted_by_hand",),
    ),
    Bug(
        "revoked_announced",
        "what was revoked before it was announced is not",
        "sql/queries/unlock.sql",
        "published_at IS NULL AND unlock.granted_at IS NOT NULL AND revoked_at IS NULL\n",
        "published_at IS NULL AND unlock.granted_at IS NOT NULL\n",
        ("integration/test_operators.py::test_what_is_revoked_before_it_is_announced_is_not",),
    ),
    Bug(
        "revoked_granted_when_it_has_settled",
        "an operator's word is the last in every state",
        UNLOCK,
        "WHERE granted_at IS NULL AND revoked_at IS NULL AND settles_at <= $1::timestamptz\n    ORDER",
        "WHERE granted_at IS NULL AND settles_at <= $1::timestamptz\n    ORDER",
        (f"{OPERATORS}::test_what_is_revoked_while_it_settles_stays_revoked",),
    ),
    Bug(
        "revoked_waited_for",
        "the relay does not wait for what was revoked",
        UNLOCK,
        "SELECT min(settles_at) FROM unlock WHERE granted_at IS NULL AND revoked_at IS NULL;",
        "SELECT min(settles_at) FROM unlock WHERE granted_at IS NULL;",
        (f"{OPERATORS}::test_what_is_revoked_while_it_settles_stays_revoked",),
    ),
    Bug(
        "revoked_keeps_the_outbox_full",
        "the relay does not wait for what was revoked",
        UNLOCK,
        "SELECT FROM unlock WHERE granted_at IS NULL AND revoked_at IS NULL AND settles_at <= $1::timestamptz\n);",
        "SELECT FROM unlock WHERE granted_at IS NULL AND settles_at <= $1::timestamptz\n);",
        (f"{OPERATORS}::test_what_is_revoked_while_it_settles_stays_revoked",),
    ),
)

_SETTLING: Final = (
    Bug(
        "settled_granted_with_its_announcement",
        "what is announced is in the books as granted",
        "worker/pipeline/outbox.py",
        '            settled = await session.run("grant_settled", clock, self._now(), AT_ONCE)\n'
        "        self._stats.count_settled(settled)\n"
        "        self._outdated = self._outdated or settled > 0\n"
        "        return clock, settled\n\n"
        "    async def _relay_some(self, clock: int) -> tuple[int, int]:\n"
        '        """Claim some of the outbox, announce and mark it; '
        'return how many were claimed, and how many announced."""\n'
        "        began = monotonic()\n"
        "        due = self._refused.due(began)\n"
        "        async with self._store.transaction() as session:\n",
        "        return clock, 0\n\n"
        "    async def _relay_some(self, clock: int) -> tuple[int, int]:\n"
        "        began = monotonic()\n"
        "        due = self._refused.due(began)\n"
        "        async with self._store.transaction() as session:\n"
        '            await session.run("grant_settled", clock, self._now(), AT_ONCE)\n',
        (f"{OUTBOX}::test_a_relay_that_dies_between_two_steps",),
    ),
    Bug(
        "settled_and_not_in_the_books",
        "every decision is written down",
        UNLOCK,
        "settled.version, 'granted', coalesce(before.final, false)",
        "settled.version, 'amended', coalesce(before.final, false)",
        (f"{OUTBOX}::test_what_settled_by_an_earlier_version_is_granted_by_one_that_does_not_settle",),
    ),
    Bug(
        "settling_for_ever_by_a_version_that_does_not",
        "what settles no more is granted",
        "sql/queries/unlock.sql",
        "CASE WHEN before.granted_at IS NULL THEN before.to_earned_at END),",
        "CASE WHEN before.granted_at IS NULL THEN before.settles_at END),",
        ("integration/test_outbox.py::test_what_settled_by_an_earlier_version_is_granted_by_one_that_does_not_settle",),
    ),
)

_BY_HAND: Final = (
    Bug(
        "hand_without_fence",
        "a grant by hand holds the partition of its subject",
        "worker/admin/manual_grant.py",
        "[partition_of(*subject)], NOBODY)",
        "[], NOBODY)",
        (f"{OPERATORS}::test_a_grant_waits_for_the_partition",),
    ),
    Bug(
        "hand_by_rules_of_yesterday",
        "an operator grants by the rules in force",
        "worker/admin/manual_grant.py",
        "if any(row.rules_epoch != rules.epoch for row in held):",
        "if not held:",
        (f"{OPERATORS}::test_rules_that_are_no_longer_in_force",),
    ),
    Bug(
        "hand_to_the_erased",
        "who was erased stays out",
        "worker/admin/manual_grant.py",
        "if subject.scope == USER and await",
        "if subject.scope != USER and await",
        (f"{OPERATORS}::test_an_erased_user_gets_nothing",),
    ),
    Bug(
        "evidence_of_what_was_revoked",
        "an unlock tells the event that earned it",
        "worker/admin/manual_grant.py",
        "        case State.REVOKED:\n",
        "        case State.REVOKED if not bare:\n",
        (f"{OPERATORS}::test_what_was_revoked_is_granted_again",),
    ),
    Bug(
        "revoked_for_ever",
        "the last word of an operator is the last",
        "sql/queries/unlock.sql",
        "        revoked_at = NULL,\n        by_hand = true,",
        "        by_hand = true,",
        ("integration/test_operators.py::test_what_was_revoked_is_granted_again",),
    ),
    Bug(
        "hand_in_the_digest",
        "a digest is a function of events and rules",
        "sql/queries/results.sql",
        " AND event_id <> ''\n",
        "\n",
        (f"{OPERATORS}::test_evidence_comes_and_goes_and_the_grant_stays",),
    ),
    Bug(
        "hand_by_the_first_version",
        "an operator grants by the version in effect",
        "worker/admin/manual_grant.py",
        "judge = ruling.in_effect(now)\n",
        "judge = ruling.judges[0]\n",
        (f"{OPERATORS}::test_the_version_is_the_one_in_effect",),
    ),
    Bug(
        "occurrence_of_any_form",
        "an occurrence is one that events could earn",
        "worker/admin/manual_grant.py",
        "elif occurrence is None or index_of(unit, occurrence) is None:",
        "elif occurrence is None:",
        (f"{OPERATORS}::test_what_the_rules_do_not_have",),
    ),
    Bug(
        "hand_with_reason_and_actor_exchanged",
        "the books tell who granted it and why",
        UNLOCK,
        "nullif($12, ''), nullif($13, ''));",
        "nullif($13, ''), nullif($12, ''));",
        (f"{OPERATORS}::test_granted_without_any_event",),
    ),
)

_REFUSED: Final = (
    Bug(
        "headers_left_out",
        "what is too large by its headers is not sent",
        "worker/broker/client.py",
        "            if size > self._max_payload:\n",
        "            if len(message.body) > self._max_payload:\n",
        (f"{OUTBOX}::test_headers_count",),
    ),
    Bug(
        "one_refusal_fails_the_round",
        "what is refused is refused alone",
        "worker/broker/announce.py",
        "tell = this.ails if answer.error.code >= _SERVER_AT_FAULT else this.refused",
        "tell = this.ails",
        ANNOUNCING,
    ),
    Bug(
        "one_ailment_fails_the_round",
        "where others came through, it is the one that did not",
        "worker/broker/announce.py",
        "        if not (self.news or self._forestalled):\n",
        "        if self._ailing or not (self.news or self._forestalled):\n",
        ANNOUNCING,
    ),
    Bug(
        "servers_fault_taken_for_each_ones",
        "a broker that takes nothing is waited for",
        "worker/broker/announce.py",
        "        if not (self.news or self._forestalled):\n",
        "        if not (self.news or self._forestalled) and not self._ailing:\n",
        ANNOUNCING,
    ),
    Bug(
        "refused_tried_with_every_round",
        "what is refused waits by itself",
        "worker/pipeline/outbox.py",
        '"claim_unlocks", self._refused.resting(began), AT_ONCE',
        '"claim_unlocks", [], AT_ONCE',
        (f"{OUTBOX}::test_headers_count",),
    ),
    Bug(
        "refused_never_tried_again",
        "what is refused is tried again",
        "worker/pipeline/outbox.py",
        "await self._nap() + monotonic(), self._refused.next_at)",
        "await self._nap() + monotonic())",
        (f"{OUTBOX}::test_one_that_is_refused_holds_up_no_other",),
    ),
    Bug(
        "drain_waits_for_what_is_refused",
        "draining ends where all that can be announced is",
        "worker/pipeline/outbox.py",
        '"outbox_is_empty", clock, self._refused.all())',
        '"outbox_is_empty", clock, [])',
        (f"{OUTBOX}::test_draining_ends_and_says_what_waits",),
    ),
    Bug(
        "gone_and_waited_for",
        "what was revoked or erased is waited for no more",
        "worker/pipeline/outbox.py",
        "if len(claimed) < AT_ONCE:  # whatever",
        "if len(claimed) > AT_ONCE:  # whatever",
        (f"{OUTBOX}::test_what_is_refused_no_more_is_forgotten",),
    ),
    Bug(
        "refused_without_bound",
        "memory is bounded, and a broker that refuses everything is waited for",
        "worker/engine/refusals.py",
        "len(self._waits) >= MOST:",
        "len(self._waits) >= 2 * MOST:",
        ("worker/engine/test_refusals.py",),
    ),
    Bug(
        "lone_silence_waited_for_for_ever",
        "one unlock that nothing keeps does not hold up a drain",
        "worker/engine/refusals.py",
        "return self._away >= MOST_AWAY or all(",
        "return all(",
        (f"{OUTBOX}::test_one_alone_that_no_stream_keeps_is_put_off_in_the_end",),
    ),
    Bug(
        "rewards_without_bound",
        "a reward can be announced",
        "dsl/check/rewards.py",
        "if size > MAX_REWARD_BYTES:",
        "if size > 16 * MAX_REWARD_BYTES:",
        ("worker/engine/test_announcement_limits.py",),
    ),
)

BUGS: Final[tuple[Bug, ...]] = (*_DECIDING, *_SETTLING, *_BY_HAND, *_REFUSED)
