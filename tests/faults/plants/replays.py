"""Bugs of replays in shards, and of rebuilds."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

SHARDS: Final = "worker/engine/test_shards.py"
CIRCUMSTANCES: Final = "acceptance/test_replay_circumstances.py"
DIVIDED: Final = "property/test_divided.py"
REBUILD: Final = "integration/test_rebuild.py"
REAPPLY: Final = "integration/test_reapply.py"
BETWEEN: Final = f"{REBUILD}::test_what_comes_between_snapshot_and_lock_counts"

BUGS: Final[tuple[Bug, ...]] = (
    Bug(
        "ids_of_other_shards_believed",
        "an id stands for one event, in a recording of any size too",
        at="shards:shared_ids",
        old="shared |= seen & one",
        new="shared &= seen & one",
        tests=(SHARDS,),
    ),
    Bug(
        "the_last_one_with_an_id_stands",
        "the first event with an id stands, whatever shard it is in",
        at="shards:_earliest",
        old="min(place, first.get(key, place))",
        new="max(place, first.get(key, place))",
        tests=(SHARDS,),
    ),
    Bug(
        "elements_without_a_place",
        "dead letters come out in the order in which they came",
        at="Router._look_closely",
        old="self.buried.append(Buried(place + element, 0, item))",
        new="self.buried.append(Buried(place, 0, item))",
        tests=(SHARDS,),
    ),
    Bug(
        "teams_folded_by_every_shard",
        "a team is folded once, over the events of all its members",
        at="shards:fold_others",
        old="if _home(ground, subject) == shard:",
        new="if _home(ground, subject) >= 0:",
        tests=(SHARDS,),
    ),
    Bug(
        "versions_begin_by_the_clock_of_a_shard",
        "what is earned when a version begins is earned in every shard, or in none",
        at="Ground.begins_between",
        old="clock < moment.at <= later",
        new="clock > later",
        tests=(DIVIDED,),
    ),
    Bug(
        "events_behind_the_end_handed_on",
        "a team hears no event behind the end of a replay",
        at="shards:_handed_on",
        old="item.event.at >= ground.until",
        new="item.event.at > ground.until",
        tests=(DIVIDED,),
    ),
    Bug(
        "half_a_recording_is_one",
        "a compressed recording that was cut short is refused",
        at="Frames.readinto",
        old="if self._frame is not None:",
        new="if self._frame is None:",
        tests=("worker/test_recording.py",),
    ),
    Bug(
        "shards_outlive_their_replay",
        "no process is left of a replay that was killed",
        at="large:_sit_down",
        old="Thread(target=_follow_first_process, daemon=True).start()",
        new="",
        tests=(f"{CIRCUMSTANCES}::test_no_process_outlives_the_first_one",),
    ),
    Bug(
        "the_mark_is_no_secret",
        "no body passes for two when it is read whose many are",
        at="bulk_keys:keys_of",
        old="or found[1::2] != [mark] * (len(bodies) - 1)",
        new="",
        tests=(SHARDS,),
    ),
    Bug(
        "late_ones_of_a_rebuild_passed_over",
        "a rebuild counts what came while it folded",
        at="rebuild:_catch_up",
        old="if counts.get(subject, 0) != folded[subject].events",
        new="if counts.get(subject, 0) < 0",
        tests=(BETWEEN,),
    ),
    Bug(
        "a_rebuild_without_a_tail",
        "a rebuild counts what came while it folded",
        at="rebuild:_catch_up",
        old="await feed(session, rules, folded, rest)",
        new="pass",
        tests=(BETWEEN,),
    ),
    Bug(
        "checkpoints_of_a_rebuild_kept",
        "what is thrown away is thrown away",
        at="_Rebuild._put_in_place",
        old="dict.fromkeys(kept, BEGINNING)",
        new="{}",
        tests=(f"{REBUILD}::test_checkpoints_are_made_anew",),
    ),
    Bug(
        "checkpoints_of_a_rebuild_believed",
        "a rebuild looks at checkpoints too",
        at="folded_anew:_Checkpoints.feed",
        old="if refold.state.mark != place or refold.state != state:",
        new="if refold.state.mark is None:",
        tests=(f"{REBUILD}::test_checkpoints_are_made_anew",),
    ),
    Bug(
        "a_rebuild_writes_what_is_right",
        "live work hardly notices a rebuild",
        at="folded_anew:differs",
        old="return stored.state is None or stored.state != refold.state",
        new="return True",
        tests=(f"{REBUILD}::test_what_is_right_is_neither_locked_nor_written",),
    ),
    Bug(
        "a_rebuild_crosses_tenants",
        "a rebuild of one tenant leaves all others alone",
        at="rebuild_target:pages_of",
        old="within = [name for name in names if target.tenant in {None, name.tenant_id}]",
        new="within = names",
        tests=(f"{REBUILD}::test_a_tenant_or_a_user_leaves_all_others_alone",),
    ),
    Bug(
        "an_erased_name_stays_in_a_rebuild",
        "nothing of an erased user stays",
        at="sql:forget_place_of_rebuild",
        old="after_subject = ''",
        new="after_subject = after_subject",
        tests=(f"{REBUILD}::test_no_name_of_an_erased_user_stays",),
    ),
    Bug(
        "names_in_the_journal",
        "a journal of decisions names no one",
        at="Pseudonyms._hash",
        old='return hmac.new(self._key, text, "sha256").hexdigest()',
        new="return text.hex()",
        tests=(f"{REAPPLY}::test_nothing_is_known_without_the_key",),
    ),
    Bug(
        "hashes_without_their_key",
        "names of a journal cannot be tried out without the key",
        at="Pseudonyms._hash",
        old="hmac.new(self._key, text",
        new='hmac.new(b"", text',
        tests=(f"{REAPPLY}::test_nothing_is_known_without_the_key",),
    ),
    Bug(
        "refused_decisions_done_again",
        "what was not done is not done again",
        at="journal:entries_of",
        old="if isinstance(written, Entry):",
        new="if isinstance(written, Entry) or written.outcome:",
        tests=(f"{REAPPLY}::test_what_was_not_done_is_not_done_again",),
    ),
    Bug(
        "written_when_it_is_done",
        "a decision lies on the disk before it is done",
        at="worker.admin.journal:journaled",
        old="_append(path, line_of(entry))",
        new="path.touch()",
        tests=(f"{REAPPLY}::test_a_line_says_what_was_done",),
    ),
    Bug(
        "newcomers_come_back",
        "who was erased after the backup stays out, though only the stream names them",
        at="_Reapply.people",
        old="await self._found(USER, wanted, seen)",
        new="await self._found(USER, wanted, ())",
        tests=(f"{REAPPLY}::test_what_a_backup_forgets_comes_back",),
    ),
    Bug(
        "erased_again_after_a_return",
        "what came after a lifted tombstone stays",
        at="_Reapply._erase",
        old="one.erased_at <= entry.at <= (one.lifted_at or entry.at)",
        new="one.erased_at <= entry.at and one.lifted_at is None",
        tests=(f"{REAPPLY}::test_a_lifted_tombstone_stays_lifted",),
    ),
)
