"""Planted bugs: erasing a user, and dead letters."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug, Edit

NAMED: Final = "worker/contract/test_named_users.py"
ERASURE: Final = "integration/test_erasure.py"
EXPORT: Final = "integration/test_export.py"
DEAD: Final = "integration/test_dead.py"
PAYLOAD: Final = "integration/test_payload_json.py"

BUGS: Final[tuple[Bug, ...]] = (
    # -- whose a dead letter is --
    Bug(
        "letters_known_by_their_subjects_alone",
        "an erasure finds dead letters by what they say",
        at="users_named",
        old="for of, name in read(body, fields).users}",
        new="for of, name in read(body, fields).users if not body}",
        tests=(f"{ERASURE}::test_a_dead_letter_that_names_the_user_goes",),
    ),
    Bug(
        "invalid_json_names_no_user",
        "an erasure finds dead letters that are malformed",
        at="named_users:_read",
        old="return _search(text, fields)",
        new="return Said(frozenset(), frozenset())",
        tests=(NAMED,),
    ),
    Bug(
        "first_user_of_an_array_alone",
        "an erasure finds each user of an array",
        at="named_users:_walk",
        old="stack.extend((part, tenant, outermost) for part in parts)",
        new="stack.extend((part, tenant, outermost) for part in parts[:1])",
        tests=(NAMED,),
    ),
    Bug(
        "hashed_tokens_name_no_user",
        "a user with a long name is erased like any other",
        at="named_users:_canonical",
        old='return said if _HASH.fullmatch(said) else ""',
        new='return ""',
        tests=(NAMED,),
    ),
    Bug(
        "tombstones_not_asked_for_dead_letters",
        "a dead letter of an erased user is not kept",
        at="bury",
        old="fates = {key: fate_of(names, erased)",
        new="""
            erased.clear()
            fates = {key: fate_of(names, erased)
            """,
        tests=(f"{ERASURE}::test_a_dead_letter_that_came_too_late_is_counted_and_acknowledged",),
    ),
    Bug(
        "tombstones_asked_before_the_lock",
        "who buries sees the erasure that it has waited for",
        at="bury",
        old="""
            await session.run("share_letters")
            erased = await erased_among(session, {name for names in named.values() for name in names})
            """,
        new="""
            erased = await erased_among(session, {name for names in named.values() for name in names})
            await session.run("share_letters")
            """,
        tests=(f"{ERASURE}::test_writers_of_dead_letters_wait_for_an_erasure",),
    ),
    Bug(
        "burial_without_a_lock",
        "an erasure finds what is being buried",
        at="bury",
        old='await session.run("share_letters")',
        new="",
        tests=(f"{ERASURE}::test_an_erasure_waits_for_writers_of_dead_letters",),
    ),
    Bug(
        "erasure_without_the_lock_of_letters",
        "an erasure waits for burials",
        at="_erase",
        old='await session.run("hold_letters")',
        new="",
        tests=(f"{ERASURE}::test_an_erasure_waits_for_writers_of_dead_letters",),
    ),
    Bug(
        "letters_of_several_users_dropped",
        "an erasure leaves the record of what others have lost",
        at="fate_of",
        old="Fate.GONE if all(name in erased and name.tenant != UNKNOWN for name in named) else",
        new="Fate.GONE if any(name in erased and name.tenant != UNKNOWN for name in named) else",
        tests=(f"{ERASURE}::test_a_letter_of_several_users_loses_its_body",),
    ),
    Bug(
        "letters_of_several_users_deleted",
        "an erasure deletes no dead letter of others",
        at="sql:erase_dead_letters",
        old="AND NOT EXISTS (",
        new="AND EXISTS (",
        tests=(f"{ERASURE}::test_a_letter_of_several_users_loses_its_body",),
    ),
    Bug(
        "headers_of_blank_letters_kept",
        "what loses its body keeps nothing that it said",
        at="sql:blank_dead_letters",
        old="headers = '{}', body = ''",
        new="body = ''",
        tests=(f"{ERASURE}::test_a_letter_of_several_users_loses_its_body",),
    ),
    Bug(
        "letters_without_a_tenant_kept",
        "a letter that says no tenant may be the erased user's",
        at="sql:blank_dead_letters",
        old="user_token = :user_token AND tenant_token IN (:tenant_token, '') RETURNING",
        new="user_token = :user_token AND tenant_token = :tenant_token RETURNING",
        tests=(f"{ERASURE}::test_a_user_without_a_tenant_may_be_anybodys",),
    ),
    Bug(
        "letters_of_older_workers_marked_unread",
        "an erasure reads the letters that were not read yet",
        at="read_names",
        old="for row in page\n    }",
        new="for row in page[:0]\n    }",
        tests=(f"{ERASURE}::test_what_older_workers_have_written_is_read",),
    ),
    Bug(
        "tombstones_of_older_workers_overlooked",
        "a tombstone of an older worker counts",
        at="erased_among",
        old="if 0 in found:",
        new="if 0 in found and not asked:",
        tests=(f"{ERASURE}::test_what_older_workers_have_written_is_read",),
    ),
    Bug(
        "letters_left_out_are_dead_all_the_same",
        "what was left out is acknowledged, and counted as erased",
        at="write:write",
        old="_replace(letters=buried.letters, erased=",
        new="_replace(erased=",
        tests=(f"{ERASURE}::test_a_dead_letter_that_came_too_late_is_counted_and_acknowledged",),
    ),
    # -- what others share with the erased --
    Bug(
        "checkpoints_kept_at_an_erasure",
        "no state is folded on from one that has seen an erased user",
        at="_forget",
        old='await session.run("forget_checkpoints", **position_columns(since))',
        new="",
        tests=(f"{ERASURE}::test_a_checkpoint_that_has_seen_the_user_goes",),
    ),
    Bug(
        "first_event_of_a_team_forgotten",
        "a team is refolded from before the first event that is gone",
        at="sql:shared_subjects",
        old="ORDER BY scope, subject, occurred_at, event_id);",
        new="ORDER BY scope, subject, occurred_at DESC, event_id);",
        tests=(f"{ERASURE}::test_a_checkpoint_that_has_seen_the_user_goes",),
    ),
    Bug(
        "erasure_without_the_partitions_of_teams",
        "a worker that remembers a team of the erased finds another's mark",
        at="_erase",
        old="if not needed <= partitions:",
        new="if not needed <= partitions and not needed:",
        tests=(f"{ERASURE}::test_only_partitions_that_are_concerned_are_held",),
    ),
    Bug(
        "tenant_of_a_stranger_folded_anew",
        "an erasure costs what the user has done",
        at="_erase",
        old="needed = {partition_of(*subject) for subject in since}",
        new="""
            since.setdefault(Subject(tenant, "tenant", tenant), BEGINNING)
            needed = {partition_of(*subject) for subject in since}
            """,
        tests=(f"{ERASURE}::test_a_tenant_without_the_user_is_not_folded_anew",),
    ),
    Bug(
        "team_of_the_erased_alone_begins_afresh",
        "an unlock is compared with what is left of its events",
        at="sql:standing_of_subjects",
        old="""
            SELECT FROM unlock
            WHERE
            """,
        new="""
            SELECT FROM unlock
            WHERE unlock.version < 0 AND
            """,
        tests=(f"{ERASURE}::test_a_team_that_was_the_user_alone_is_contested",),
    ),
    # -- exports --
    Bug(
        "export_of_every_tenant",
        "an export has nothing of a user of the same name in another tenant",
        at="sql:events_of_person",
        old="WHERE tenant_id = :tenant_id AND user_id = :user_id",
        new="WHERE (tenant_id = :tenant_id OR true) AND user_id = :user_id",
        tests=(f"{EXPORT}::test_all_of_one_person_and_nothing_of_others",),
    ),
    Bug(
        "export_of_letters_of_others",
        "an export has no contents of a dead letter that names others",
        at="_Reading._letters",
        old="if not letter.names_others and letter.erased_at is None:",
        new="if letter.erased_at is None:",
        also=(
            Edit(
                "sql:letter_of_person",
                "<> (:tenant_token, :user_token)",
                "<> (:tenant_token, :user_token) AND other.user_token IS NULL",
            ),
        ),
        tests=(f"{EXPORT}::test_all_of_one_person_and_nothing_of_others",),
    ),
    Bug(
        "export_of_letters_without_a_tenant",
        "an export has no dead letter that may be of another tenant",
        at="sql:letters_of_person",
        old="WHERE user_token = :user_token AND tenant_token = :tenant_token",
        new="WHERE user_token = :user_token AND tenant_token IN (:tenant_token, '')",
        tests=(f"{EXPORT}::test_all_of_one_person_and_nothing_of_others",),
    ),
    Bug(
        "export_of_several_moments",
        "an export is of one moment",
        at="export_person",
        old="await session.script(SNAPSHOT)",
        new="",
        tests=(f"{EXPORT}::test_an_export_is_of_one_moment",),
    ),
    # -- tombstones that are lifted --
    Bug(
        "tombstone_lifted_behind_the_workers_backs",
        "a worker that remembers a user as erased notices that the tombstone is gone",
        at="lift_tombstone",
        old="await hold_partitions(session, range(PARTITIONS), epoch=None)",
        new="",
        tests=(f"{EXPORT}::test_a_worker_takes_events_again_without_a_restart",),
    ),
    Bug(
        "lift_of_unknown_outcome_denied",
        "a lift whose commit was not answered is not said to be undone",
        at="lift_tombstone",
        old="            return\n",
        new="            pass\n",
        tests=(f"{EXPORT}::test_a_lift_whose_commit_was_not_answered_is_done",),
    ),
    Bug(
        "tombstone_lifted_before_it_is_announced",
        "an erasure is announced before its tombstone is lifted",
        at="tombstone:_check",
        old="raise NotAnnouncedError",
        new="pass",
        tests=(f"{EXPORT}::test_only_a_tombstone_whose_erasure_is_announced_is_lifted",),
    ),
    Bug(
        "tombstones_of_the_name_lifted",
        "a tombstone in another tenant stands",
        at="sql:lift_erasure",
        old="WHERE tenant_id = :tenant_id AND user_id = :user_id",
        new="WHERE (tenant_id = :tenant_id OR true) AND user_id = :user_id",
        tests=(f"{EXPORT}::test_only_a_tombstone_whose_erasure_is_announced_is_lifted",),
    ),
    Bug(
        "mirror_overlooks_lifted_tombstones",
        "a mirror forgets a user who was erased between two runs",
        at="sql:mirror_erasures",
        old="SELECT tenant_id, user_id, age(xmin) FROM lifted_erasure",
        new="SELECT tenant_id, user_id, age(xmin) FROM lifted_erasure WHERE false",
        tests=(f"{EXPORT}::test_a_mirror_forgets_a_user_whose_tombstone_it_never_saw",),
    ),
    # -- the broker's streams --
    Bug(
        "announcements_of_teams_purged",
        "a purge leaves the announcements of a team of the same name",
        at="_is_of",
        old='return (said.scope, said.tenant_id, said.subject) == ("user", tenant, user)',
        new="return (said.tenant_id, said.subject) == (tenant, user)",
        tests=(f"{ERASURE}::test_a_purge_finds_the_user_and_no_other",),
    ),
    Bug(
        "streams_purged_by_bare_names",
        "a purge finds the user, with any characters in the name",
        at="purge_streams",
        old='address = f"{settings.input_prefix}.{token(tenant)}.{token(user)}"',
        new='address = f"{settings.input_prefix}.{tenant}.{user}"',
        tests=(f"{ERASURE}::test_a_purge_finds_the_user_and_no_other",),
    ),
    # -- rules and replays --
    Bug(
        "letters_alone_look_at_no_rules",
        "no batch is committed under rules that are no longer in force",
        at="take_partitions",
        old="await _check_rules(session, batch)",
        new="",
        tests=(f"{DEAD}::test_a_batch_of_dead_letters_alone_looks_at_the_rules",),
    ),
    Bug(
        "rules_looked_at_without_a_lock",
        "applying rules waits for all batches",
        at="sql:rules_epoch_of_partition",
        old="WHERE partition_id = :partition FOR KEY SHARE;",
        new="WHERE partition_id = :partition;",
        tests=(f"{DEAD}::test_applying_rules_waits_for_dead_letters",),
    ),
    Bug(
        "rules_looked_at_alone",
        "dead letters hold up no batch",
        at="sql:rules_epoch_of_partition",
        old="WHERE partition_id = :partition FOR KEY SHARE;",
        new="WHERE partition_id = :partition FOR UPDATE;",
        tests=(f"{DEAD}::test_a_batch_of_only_dead_letters_blocks_no_other_batch",),
    ),
    Bug(
        "header_of_a_replay_believed",
        "a producer touches no dead letter of others",
        at="sql:letters_died_again",
        old="AND dead_letter.nats_subject = again.nats_subject AND dead_letter.stream = :stream;",
        new="AND dead_letter.stream = :stream;",
        tests=(f"{DEAD}::test_a_forged_header_touches_no_letter",),
    ),
    Bug(
        "replay_believed_whatever_it_says",
        "a dead letter believes what was sent, and nothing else",
        at="sql:letters_died_again",
        old="""
            WHERE dead_letter.dead_letter_id = again.sent_from AND dead_letter.replay_digest = again.sent_digest
            """,
        new="WHERE dead_letter.dead_letter_id = again.sent_from",
        tests=(
            f"{DEAD}::test_a_forged_header_touches_no_letter",
            f"{DEAD}::test_a_letter_that_was_not_sent_again_ignores_the_header",
        ),
    ),
    Bug(
        "old_trace_of_a_replay_kept",
        "a dead letter points at what came of it last",
        at="sql:mark_sent",
        old="SET replay_digest = :digest, died_again_as = NULL WHERE",
        new="SET replay_digest = :digest WHERE",
        tests=(f"{DEAD}::test_a_letter_that_dies_again_points_at_the_new_one",),
    ),
    Bug(
        "letters_of_the_erased_sent_again",
        "what names an erased user is not sent again",
        at="replay_letter",
        old="if await erased_among(session, users_named(prefix, letter.nats_subject, said, headers)):",
        new="if await erased_among(session, users_named(prefix, letter.nats_subject, letter.body, headers)):",
        tests=(f"{DEAD}::test_a_letter_of_an_erased_user_is_not_sent_again",),
    ),
    Bug(
        "letters_sent_again_beyond_the_plan",
        "what dies again meanwhile is not sent a third time",
        at="sql:letters_to_send",
        old="AND dead_letter_id > :after AND dead_letter_id <= :until",
        new="AND dead_letter_id > :after AND :until::bigint IS NOT NULL",
        tests=(f"{DEAD}::test_letters_are_chosen_by_what_they_are",),
    ),
    # -- readers --
    Bug(
        "payloads_cast_for_readers",
        "one payload that the database cannot hold fails no query",
        at="sql:0007_named_letters",
        old="json_or_null(event.payload) AS payload_json",
        new="event.payload::jsonb AS payload_json",
        tests=(f"{PAYLOAD}::test_a_payload_is_json_where_the_database_can_hold_it",),
    ),
)
