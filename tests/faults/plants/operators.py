"""Planted bugs: what operators do: settle, revoke, grant by hand, and the outbox."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug, Edit

OPERATORS: Final = "integration/test_operators.py"
OUTBOX: Final = "integration/test_outbox.py"
RECONCILE: Final = ("worker/engine/test_reconcile.py",)
ANNOUNCING: Final = ("worker/broker/test_announce.py",)


_DECIDING: Final = (
    # -- what is decided --
    Bug(
        "revoked_while_it_settles_withdrawn",
        "an operator's word is the last in every state",
        at="Stored.state",
        old="if self.revoked_at is not None:",
        new="if self.revoked_at is not None and self.granted_at is not None:",
        tests=RECONCILE,
    ),
    Bug(
        "granted_by_hand_contested",
        "what an operator granted is not contested",
        at="Stored.state",
        old="if self.by_hand:",
        new="if self.by_hand and self.event_id == NO_EVIDENCE:",
        tests=RECONCILE,
    ),
    Bug(
        "lost_evidence_kept_by_hand",
        "what an operator granted tells what evidence there is",
        at="_unsupported",
        old="row.is_supported and row.granted_at is not None",
        new="not row.is_supported and row.granted_at is not None",
        tests=RECONCILE,
    ),
    Bug(
        "granted_at_moves_by_hand",
        "granted_at never moves",
        at="by_hand",
        old="granted_at = now if row is None or row.granted_at is None else row.granted_at",
        new="granted_at = now",
        tests=RECONCILE,
    ),
    Bug(
        "evidence_forgotten_by_hand",
        "what events had earned is still earned by them when an operator grants it",
        at="by_hand",
        old="ByHand(before, evidence or without_evidence(",
        new="ByHand(before, without_evidence(",
        tests=RECONCILE,
    ),
    # -- what the statements guard --
    Bug(
        "revoked_deleted",
        "what was revoked is never deleted",
        at="sql:withdraw_unlocks",
        old="AND granted_at IS NULL AND revoked_at IS NULL;",
        new="AND granted_at IS NULL;",
        tests=(f"{OPERATORS}::test_no_statement_moves_what_was_revoked",),
    ),
    Bug(
        "revoked_contested_by_the_statement",
        "what was revoked stays as it is",
        at="sql:contest_unlocks",
        old="contested_at IS NULL AND revoked_at IS NULL",
        new="contested_at IS NULL",
        tests=("integration/test_operators.py::test_no_statement_moves_what_was_revoked",),
    ),
    Bug(
        "by_hand_contested_by_the_statement",
        "what an operator granted is not contested",
        at="sql:contest_unlocks",
        old="AND NOT by_hand",
        new="",
        tests=("integration/test_operators.py::test_no_statement_contests_or_deletes_what_was_granted_by_hand",),
    ),
    Bug(
        "revoked_announced",
        "what was revoked before it was announced is not",
        at="sql:claim_unlocks",
        old="published_at IS NULL AND unlock.granted_at IS NOT NULL AND revoked_at IS NULL",
        new="published_at IS NULL AND unlock.granted_at IS NOT NULL",
        tests=("integration/test_operators.py::test_what_is_revoked_before_it_is_announced_is_not",),
    ),
    Bug(
        "revoked_granted_when_it_has_settled",
        "an operator's word is the last in every state",
        at="sql:grant_settled",
        old="WHERE granted_at IS NULL AND revoked_at IS NULL AND settles_at <= :clock::timestamptz",
        new="WHERE granted_at IS NULL AND settles_at <= :clock::timestamptz",
        tests=(f"{OPERATORS}::test_what_is_revoked_while_it_settles_stays_revoked",),
    ),
    Bug(
        "revoked_waited_for",
        "the relay does not wait for what was revoked",
        at="sql:next_settling",
        old="SELECT min(settles_at) FROM unlock WHERE granted_at IS NULL AND revoked_at IS NULL;",
        new="SELECT min(settles_at) FROM unlock WHERE granted_at IS NULL;",
        tests=(f"{OPERATORS}::test_what_is_revoked_while_it_settles_stays_revoked",),
    ),
    Bug(
        "revoked_keeps_the_outbox_full",
        "the relay does not wait for what was revoked",
        at="sql:outbox_is_empty",
        old="""
            SELECT FROM unlock WHERE granted_at IS NULL AND revoked_at IS NULL AND settles_at <= :clock::timestamptz
            """,
        new="SELECT FROM unlock WHERE granted_at IS NULL AND settles_at <= :clock::timestamptz",
        tests=(f"{OPERATORS}::test_what_is_revoked_while_it_settles_stays_revoked",),
    ),
)

_SETTLING: Final = (
    Bug(
        "settled_granted_with_its_announcement",
        "what is announced is in the books as granted",
        at="OutboxRelay._grant_settled",
        old="""
                settled = await session.run("grant_settled", clock=clock, now=self._now(), limit=AT_ONCE)
            self._stats.count_settled(settled)
            self._outdated = self._outdated or settled > 0
            return clock, settled
            """,
        new="return clock, 0",
        tests=(f"{OUTBOX}::test_a_relay_that_dies_between_two_steps",),
        also=(
            Edit(
                "OutboxRelay._relay_some",
                "async with self._store.transaction() as session:",
                """
            async with self._store.transaction() as session:
                await session.run("grant_settled", clock=clock, now=self._now(), limit=AT_ONCE)
            """,
            ),
        ),
    ),
    Bug(
        "settled_and_not_in_the_books",
        "every decision is written down",
        at="sql:grant_settled",
        old="settled.version, 'granted', coalesce(before.final, false)",
        new="settled.version, 'amended', coalesce(before.final, false)",
        tests=(f"{OUTBOX}::test_what_settled_by_an_earlier_version_is_granted_by_one_that_does_not_settle",),
    ),
    Bug(
        "settling_for_ever_by_a_version_that_does_not",
        "what settles no more is granted",
        at="sql:amend_rows",
        old="CASE WHEN before.granted_at IS NULL THEN before.to_earned_at END),",
        new="CASE WHEN before.granted_at IS NULL THEN before.settles_at END),",
        tests=(
            "integration/test_outbox.py::test_what_settled_by_an_earlier_version_is_granted_by_one_that_does_not_settle",
        ),
    ),
)

_BY_HAND: Final = (
    Bug(
        "hand_without_fence",
        "a grant by hand holds the partition of its subject",
        at="grant_by_hand",
        old="hold_partitions(session, [partition_of(*subject)], epoch=rules.epoch)",
        new="hold_partitions(session, [], epoch=rules.epoch)",
        tests=(f"{OPERATORS}::test_a_grant_waits_for_the_partition",),
    ),
    Bug(
        "hand_by_rules_of_yesterday",
        "an operator grants by the rules in force",
        at="grant_by_hand",
        old="[partition_of(*subject)], epoch=rules.epoch",
        new="[partition_of(*subject)], epoch=None",
        tests=(f"{OPERATORS}::test_rules_that_are_no_longer_in_force",),
    ),
    Bug(
        "hand_to_the_erased",
        "who was erased stays out",
        at="grant_by_hand",
        old="if subject.scope == USER and await",
        new="if subject.scope != USER and await",
        tests=(f"{OPERATORS}::test_an_erased_user_gets_nothing",),
    ),
    Bug(
        "evidence_of_what_was_revoked",
        "an unlock tells the event that earned it",
        at="_evidence",
        old="case State.REVOKED:",
        new="case State.REVOKED if not bare:",
        tests=(f"{OPERATORS}::test_what_was_revoked_is_granted_again",),
    ),
    Bug(
        "revoked_for_ever",
        "the last word of an operator is the last",
        at="sql:grant_by_hand",
        old="revoked_at = NULL,",
        new="",
        tests=("integration/test_operators.py::test_what_was_revoked_is_granted_again",),
    ),
    Bug(
        "hand_in_the_digest",
        "a digest is a function of events and rules",
        at="sql:all_unlocks",
        old="AND (event_id <> '' OR NOT by_hand OR earned_at <> granted_at)",
        new="",
        tests=(f"{OPERATORS}::test_evidence_comes_and_goes_and_the_grant_stays",),
    ),
    Bug(
        "hand_by_the_first_version",
        "an operator grants by the version in effect",
        at="grant_meant",
        old="judge = ruling.in_effect(now)",
        new="judge = ruling.judges[0]",
        tests=(f"{OPERATORS}::test_the_version_is_the_one_in_effect",),
    ),
    Bug(
        "occurrence_of_any_form",
        "an occurrence is one that events could earn",
        at="_check_occurrence",
        old="elif occurrence is None or index_of(unit, occurrence) is None:",
        new="elif occurrence is None:",
        tests=(f"{OPERATORS}::test_what_the_rules_do_not_have",),
    ),
    Bug(
        "hand_with_reason_and_actor_exchanged",
        "the books tell who granted it and why",
        at="sql:insert_operators_word",
        old="nullif(:by, ''), nullif(:reason, ''));",
        new="nullif(:reason, ''), nullif(:by, ''));",
        tests=(f"{OPERATORS}::test_granted_without_any_event",),
    ),
)

_REFUSED: Final = (
    Bug(
        "headers_left_out",
        "what is too large by its headers is not sent",
        at="frames_of",
        old="if size > most:",
        new="if len(body) > most:",
        tests=(f"{OUTBOX}::test_headers_count",),
    ),
    Bug(
        "one_refusal_fails_the_round",
        "what is refused is refused alone",
        at="announce:judge",
        old="(refused if answer.fate is Fate.REFUSED else failed)[one.id]",
        new="failed[one.id]",
        tests=ANNOUNCING,
    ),
    Bug(
        "one_ailment_fails_the_round",
        "where others came through, it is the one that did not",
        at="announce:judge",
        old="if failed and not (new or taken):",
        new="if failed:",
        tests=ANNOUNCING,
    ),
    Bug(
        "servers_fault_taken_for_each_ones",
        "a broker that takes nothing is waited for",
        at="announce:judge",
        old="if failed and not (new or taken):",
        new="if {*failed.values()} == {SILENCE} and not (new or taken):",
        tests=ANNOUNCING,
    ),
    Bug(
        "refused_tried_with_every_round",
        "what is refused waits by itself",
        at="OutboxRelay._relay_some",
        old='"claim_unlocks", refused=refused, limit=AT_ONCE',
        new='"claim_unlocks", refused=[], limit=AT_ONCE',
        tests=(f"{OUTBOX}::test_headers_count",),
    ),
    Bug(
        "refused_never_tried_again",
        "what is refused is tried again",
        at="OutboxRelay.run",
        old="await self._nap() + monotonic(), self._refused.next_at)",
        new="await self._nap() + monotonic())",
        tests=(f"{OUTBOX}::test_one_that_is_refused_holds_up_no_other",),
    ),
    Bug(
        "drain_waits_for_what_is_refused",
        "draining ends where all that can be announced is",
        at="OutboxRelay._nothing_waits",
        old='"outbox_is_empty", clock=clock, refused=self._refused.all())',
        new='"outbox_is_empty", clock=clock, refused=[])',
        tests=(f"{OUTBOX}::test_draining_ends_and_says_what_waits",),
    ),
    Bug(
        "gone_and_waited_for",
        "what was revoked or erased is waited for no more",
        at="OutboxRelay._relay_some",
        old="if len(claimed) < AT_ONCE:  # whatever",
        new="if len(claimed) > AT_ONCE:  # whatever",
        tests=(f"{OUTBOX}::test_what_is_refused_no_more_is_forgotten",),
    ),
    Bug(
        "refused_without_bound",
        "memory is bounded, and a broker that refuses everything is waited for",
        at="Refusals.put_off",
        old="len(self._waits) >= MOST:",
        new="len(self._waits) >= 2 * MOST:",
        tests=("worker/engine/test_refusals.py",),
    ),
    Bug(
        "lone_silence_waited_for_for_ever",
        "one unlock that nothing keeps does not hold up a drain",
        at="Refusals.round_failed",
        old="return self._away >= MOST_AWAY or all(",
        new="return all(",
        tests=(f"{OUTBOX}::test_one_alone_that_no_stream_keeps_is_put_off_in_the_end",),
    ),
    Bug(
        "rewards_without_bound",
        "a reward can be announced",
        at="check_rewards",
        old="if size > MAX_REWARD_BYTES:",
        new="if size > 16 * MAX_REWARD_BYTES:",
        tests=("worker/engine/test_announcement_limits.py",),
    ),
)

_LEDGER: Final = (
    Bug(
        "runs_of_lines_unsorted",
        "a digest is the same, however little memory there is for its lines",
        at="SortedLines._write",
        old="self._held.sort()",
        new="self._held.reverse()",
        tests=("worker/admin/test_sorted_lines.py",),
    ),
    Bug(
        "unlocks_without_events_passed_over",
        "a replay of the ledger names what production has granted and no event earns",
        at="_Reader._names",
        old="if self._compare:",
        new="if not self._compare:",
        tests=("integration/test_ledger_replay.py::test_every_difference_is_named",),
    ),
    Bug(
        "end_of_a_part_ignored",
        "a part of the ledger ends where it was asked to",
        at="_Reader._fold",
        old="if until is None or event.at < until:",
        new="if until is None or event.at != until:",
        tests=("integration/test_ledger_replay.py::test_a_part_of_the_history",),
    ),
    Bug(
        "revoked_called_missing",
        "the word of an operator is no fault of production",
        at="sql:granted_to_subjects",
        old="revoked_at IS NOT NULL AS revoked",
        new="revoked_at IS NULL AS revoked",
        tests=("integration/test_ledger_replay.py::test_every_difference_is_named",),
    ),
    Bug(
        "spoilt_message_takes_its_piece",
        "a replay reads many messages at once, and loses none of them to a spoilt one",
        at="Intake._take_pieces",
        old="if not self._take_plain(piece, theirs, now):",
        new="if not self._take_plain(piece, theirs, now) and len(piece) < PIECE:",
        tests=("worker/engine/test_replay.py",),
    ),
)

BUGS: Final[tuple[Bug, ...]] = (*_DECIDING, *_SETTLING, *_BY_HAND, *_REFUSED, *_LEDGER)
