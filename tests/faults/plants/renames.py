"""Planted bugs: achievements that have other names than before."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

RULES: Final = "dsl/test_renames.py"
LIVED: Final = "integration/test_renamed.py"

BUGS: Final[tuple[Bug, ...]] = (
    Bug(
        "named_by_a_new_name",
        "what names an achievement names it by its first name, too",
        at="renames:_walk",
        old="achievement=replace(name, text=first[name.text])",
        new="achievement=name",
        tests=(f"{RULES}::test_under_first_names_a_rule_set_means_what_it_meant_before_it_was_renamed",),
    ),
    Bug(
        "old_name_of_another",
        "an old name is that of no achievement",
        at="renames:_old_name",
        old="elif old.text in names.achievements or old.text in names.lost_achievements:",
        new="elif False:",
        tests=(f"{RULES}::test_what_is_no_name_of_before_is_reported",),
    ),
    Bug(
        "rules_under_new_names",
        "a new name changes nothing of what is stored",
        at="rule_set:read_rules",
        old="return under_first_names(read_written(files))",
        new="return read_written(files)",
        tests=(f"{LIVED}::test_a_new_name_decides_nothing_and_announces_nothing",),
    ),
    Bug(
        "announced_again_under_a_new_name",
        "what was announced under an old name is not announced again",
        at="OutboxRelay._announcement",
        old="subject = unlock_subject(self._settings.unlock_prefix, one, name)",
        new="now = one._replace(achievement=words.name or one.achievement)\n"
        "subject = unlock_subject(self._settings.unlock_prefix, now, name)",
        tests=(f"{LIVED}::test_a_new_name_decides_nothing_and_announces_nothing",),
    ),
    Bug(
        "first_name_not_announced",
        "an announcement says the name that its subject has",
        at="announcement:_renamed_from",
        old="return UNSET if words.name in {None, one.achievement} else one.achievement",
        new="return UNSET",
        tests=(f"{LIVED}::test_a_new_name_decides_nothing_and_announces_nothing",),
    ),
    Bug(
        "chain_without_its_first_name",
        "a clause that leaves out the first name is refused",
        at="misnamed:_broken_chains",
        old="if origin != first and first not in deployed:",
        new="if False:",
        tests=(f"{LIVED}::test_names_that_cannot_be_given",),
    ),
    Bug(
        "two_under_one_name",
        "no two achievements with unlocks have one name",
        at="misnamed:_taken",
        old="and standing.get(name)",
        new="and not standing",
        tests=(f"{LIVED}::test_a_clause_that_goes_parts_the_achievement_from_its_unlocks",),
    ),
    Bug(
        "names_not_recorded",
        "commands that read no rules show the names of today",
        at="versions:write_versions",
        old="recorded(row.meaning, row.names)",
        new="recorded(row.meaning)",
        tests=(f"{LIVED}::test_commands_show_the_new_name_and_take_the_old_one",),
    ),
    Bug(
        "announcement_on_a_subject_of_its_choice",
        "an announcement counts on the subject of its first name alone",
        at="message:read_item",
        old="token(said.names[-1])",
        new="token(said.names[0])",
        tests=("worker/notify/test_message.py::test_a_renamed_achievement_is_on_the_subject_of_its_first_name",),
    ),
)
