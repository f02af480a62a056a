"""Planted bugs: events that name users beside the one who did them, and what an erasure leaves of them."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

WORKER: Final = "integration/test_event_roles.py"
FOLD: Final = ("property/test_fold.py",)

BUGS: Final[tuple[Bug, ...]] = (
    Bug(
        "role_of_the_actor_alone",
        "an event counts for every user that a field names",
        at="Roles.named",
        old="found = {user for field in fields for user in users_in(event, field)}",
        new="found = {user for field in fields[:1] for user in list(users_in(event, field))[:1]}",
        tests=(*FOLD, f"{WORKER}::test_an_event_counts_for_all_that_it_names"),
    ),
    Bug(
        "self_named_seen_as_actor",
        "who names themselves is in both roles of the event",
        at="Roles.parts",
        old="found[value] = found.get(value, 0) | bit",
        new="found[value] = found.get(value, 0) or bit",
        tests=(f"{WORKER}::test_users_that_we_know_need_one_statement",),
    ),
    Bug(
        "copies_by_view",
        "`once per` finds copies in whatever role an event is there",
        at="fold:_counts",
        old="counted = state.counted.setdefault(base, {})",
        new="counted = state.counted.setdefault(event.type, {})",
        tests=FOLD,
    ),
    Bug(
        "traits_of_the_actor",
        "traits from an event as a field are those of the users that it names",
        at="roles:give_roles",
        old='carriers = [event if role == ACTOR else f"{event}{AS}{role}" for role in roles_in(view)]',
        new='carriers = [event, *(f"{event}{AS}{role}" for role in used[event])]',
        tests=("property/test_event_roles.py",),
    ),
    Bug(
        "named_users_not_locked",
        "a batch takes the partitions of all users that its events name",
        at="Group.members",
        old="return (*self.audience.members, *named) if named else self.audience.members",
        new="return self.audience.members if named else self.audience.members",
        tests=(f"{WORKER}::test_an_event_counts_for_all_that_it_names",),
    ),
    Bug(
        "members_not_written_by_the_fast_path",
        "the fast path notes which users an event names",
        at="write_guarded",
        old="if names_users(arrivals):",
        new="if not arrivals:",
        tests=(f"{WORKER}::test_users_that_we_know_need_one_statement",),
    ),
    Bug(
        "half_an_event_on_the_fast_path",
        "an event takes the fast path with all users that it names, or not at all",
        at="fast_users:_parted",
        old="all(user in chosen for views in group.views for user, _, _ in views)",
        new="bool(group)",
        tests=(f"{WORKER}::test_events_that_name_who_takes_the_long_way",),
    ),
    Bug(
        "unsaved_role_events_forgotten",
        "a state is read with the events that name its user since",
        at="sql:unsaved_events",
        old="AND member.subject = progress.subject",
        new="AND member.subject = progress.subject || '.'",
        tests=(f"{WORKER}::test_drawn_batches",),
    ),
    Bug(
        "redelivery_of_a_renamed_event_conflicts",
        "what was received before the erasure is known as a copy",
        at="arrivals_of",
        old="if stored is not None and stored.digest is not None:",
        new="if False:",
        tests=(f"{WORKER}::test_events_that_concern_others_stay_under_a_pseudonym",),
    ),
    Bug(
        "later_events_keep_the_name",
        "what comes after an erasure finds the pseudonym",
        at="gather:_rename",
        old="erased = sorted(subject for subject, state in states.items() if state.erased)",
        new="erased = sorted(subject for subject, state in states.items() if state.erased and not state.known)",
        tests=(f"{WORKER}::test_events_that_concern_others_stay_under_a_pseudonym",),
    ),
    Bug(
        "another_pseudonym_each_time",
        "one pseudonym stands for a user wherever one is needed",
        at="sql:insert_pseudonyms",
        old="ON CONFLICT (tenant_id, name_hash) DO NOTHING;",
        new="ON CONFLICT (tenant_id, name_hash) DO UPDATE SET pseudonym = excluded.pseudonym;",
        tests=(f"{WORKER}::test_events_that_concern_others_stay_under_a_pseudonym",),
    ),
    Bug(
        "states_keep_the_name",
        "states that may hold the name of an erased user are folded again",
        at="erasure:_forget",
        old='await session.run("void_progress", **subject_columns(others))',
        new='await session.run("void_progress", **subject_columns([one for one in others if one.scope != USER]))',
        tests=(f"{WORKER}::test_events_that_concern_others_stay_under_a_pseudonym",),
    ),
    Bug(
        "pseudonyms_earn",
        "nothing is earned under a pseudonym",
        at="Roles.seen_by",
        old="if is_pseudonym(user):",
        new="if user == PSEUDONYM:",
        tests=(f"{WORKER}::test_events_that_concern_others_stay_under_a_pseudonym",),
    ),
    Bug(
        "posing_as_the_erased",
        "no event is taken from or about a user whose name is a pseudonym's",
        at="decoding:reserved",
        old="field = program.roles.reserved(event)",
        new="field = None",
        tests=(f"{WORKER}::test_no_one_may_pose_as_an_erased_user",),
    ),
    Bug(
        "members_of_strings_not_built",
        "stored events count for their users when a contract turns a string into a user",
        at="members:_members_of",
        old="return {**teams, USER: program.roles.naming}",
        new="return {**teams}",
        tests=(f"{WORKER}::test_a_string_becomes_a_user",),
    ),
    Bug(
        "mirror_keeps_events_as_they_were",
        "a mirror has an event that was renamed once, as it is",
        at="mirror.erasures:erase",
        old="if renamed:",
        new="if renamed and not users:",
        tests=("integration/test_mirror.py::test_an_erased_user_is_in_no_file_as_others_name_it",),
    ),
)
