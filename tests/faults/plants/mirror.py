"""Planted bugs: what the mirror takes, leaves out, and takes away again."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

MIRROR: Final = "integration/test_mirror.py"
BUCKET: Final = "integration/test_mirror_bucket.py"
WINDOW: Final = "worker/mirror/test_window.py"

BUGS: Final = (
    Bug(
        "a_name_in_an_event_that_is_gone",
        "the files of a mirror lose the name of an erased user, also where the event is gone under a pseudonym",
        at="mirror.erasures:erase",
        old="await _take_out_lost(session, files, duck)",
        new="pass",
        tests=("integration/test_mirror.py::test_a_name_goes_with_an_event_that_concerns_no_one_any_more",),
    ),
    Bug(
        "mirror_ahead_of_transactions",
        "a run of the mirror goes up to the oldest transaction under way, and not beyond",
        at="window",
        old="after, upto = now - look.bound, now - before",
        new="after, upto = 0, now - before",
        tests=(
            f"{WINDOW}::test_a_window_takes_what_lies_between_two_bounds",
            f"{WINDOW}::test_a_first_window_takes_all_that_has_ended",
        ),
    ),
    Bug(
        "mirror_row_twice",
        "what the mirror has is not added again when a table was written anew",
        at="Files._fresh",
        old="for batch in self.place.batches(there):",
        new="for batch in self.place.batches(there[:0]):",
        tests=(f"{MIRROR}::test_a_table_that_is_written_anew_brings_no_row_twice",),
    ),
    Bug(
        "mirror_keeps_traits_of_the_erased",
        "an erased user is in no file of the mirror",
        at="_take_out",
        old="if layer.whose is not None:",
        new='if layer.whose is not None and layer.name != "trait":',
        tests=(f"{MIRROR}::test_an_erased_user_is_in_no_file",),
    ),
    Bug(
        "mirror_empty_text_is_null",
        "empty text stays text in the mirror",
        at="_QUOTED_NULLS",
        old='"false"',
        new='"true"',
        tests=(f"{MIRROR}::test_hostile_text_is_text",),
    ),
    Bug(
        "mirror_leaves_files_behind",
        "files that the manifest does not name are deleted",
        at="clear",
        old="path.unlink()",
        new="path.exists()",
        tests=(f"{MIRROR}::test_many_small_files_become_one",),
    ),
    Bug(
        "mirror_without_a_pause",
        "runs of a mirror take no more than their share of the time",
        at="worker.commands.mirror:pause",
        old="took * (100 - share) / share",
        new="took / share",
        tests=("worker/commands/test_mirror.py::test_runs_take_no_more_than_their_share_of_the_time",),
    ),
    Bug(
        "mirror_of_every_tenant",
        "a mirror of one tenant has no event of another one",
        at="sql:mirror_event",
        old="OR tenant_id = :tenant_id::text",
        new="OR tenant_id >= :tenant_id::text",
        tests=(f"{MIRROR}::test_one_tenant_alone",),
    ),
    Bug(
        "mirror_letters_of_every_tenant",
        "a mirror of one tenant has no dead letter of another one",
        at="sql:mirror_failed_event",
        old=":tenant_token::text IS NULL OR",
        new=":tenant_token::text IS NOT DISTINCT FROM :tenant_token::text OR",
        tests=(f"{MIRROR}::test_one_tenant_alone",),
    ),
    Bug(
        "mirror_counts_settling_as_a_revision",
        "the grant is revision 1 in the mirror, as in PostgreSQL",
        at="sql:mirror_unlock",
        old="count(*) FILTER (WHERE granted_once) OVER so_far AS revision",
        new="count(*) OVER so_far AS revision",
        tests=(f"{MIRROR}::test_layers_are_what_plain_sql_says",),
    ),
    Bug(
        "mirror_traits_stay_as_they_were",
        "traits are read again where other ones are declared",
        at="_Run._traits",
        old="if says != self._before.traits:",
        new="if not self._before.run:",
        tests=(f"{MIRROR}::test_traits_have_the_moment_since_when_they_hold",),
    ),
    Bug(
        "mirror_over_the_claim_of_another_run",
        "a run into a bucket that another one has cut off does not count",
        at="mirror.bucket:BucketMirror.write",
        old="tag = self._objects.replace(MANIFEST, body, self._tag)",
        new='tag = self._objects.replace(MANIFEST, body, getattr(self._objects.read(MANIFEST), "tag", ""))',
        tests=(f"{BUCKET}::test_a_run_that_was_frozen_changes_nothing_behind_another_one[all placed]",),
    ),
    Bug(
        "mirror_without_a_claim",
        "a run into a bucket refuses a store that does not mind conditions",
        at="BucketMirror._claim",
        old="if not self._objects.refuses(MANIFEST, body, held.tag):",
        new="if not self._objects.refuses(MANIFEST, body, held.tag) and not tag:",
        tests=(f"{BUCKET}::test_a_store_that_ignores_conditions_is_refused",),
    ),
    Bug(
        "mirror_keeps_objects_of_the_erased",
        "what a run has written anew is deleted in the bucket",
        at="mirror.bucket:BucketMirror.end",
        old="self._objects.delete(sorted((self._named | self._put) - names))",
        new="self._objects.delete(sorted(self._put - names))",
        tests=(f"{BUCKET}::test_an_erased_user_is_in_no_object",),
    ),
    Bug(
        "mirror_uses_a_name_again",
        "a name in a bucket is used once, also behind a backup of the manifest",
        at="BucketMirror.begin",
        old="*(_number(path) for path in there if is_ours(path))",
        new="*(_number(path) for path in there if not is_ours(path))",
        tests=(f"{BUCKET}::test_a_manifest_of_an_older_backup_goes_on",),
    ),
    Bug(
        "mirror_copies_half_an_object",
        "an object that comes short is no object",
        at="Objects._fetch",
        old="if len(piece) != length:",
        new="if len(piece) > length:",
        tests=(f"{BUCKET}::test_an_object_that_comes_short_is_no_object",),
    ),
)
