"""Planted bugs: rules that change: apply, the meaning of a version, the backfill."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

MEANING: Final = "worker/engine/test_meaning.py"
DECLARATIONS: Final = f"{MEANING}::test_declarations"
APPLYING: Final = "integration/test_applying.py"

BUGS: Final[tuple[Bug, ...]] = (
    # -- what a version means --
    Bug(
        "bound_no_part_of_the_meaning",
        "a version keeps its meaning: the bound of a field that it reads",
        at="reads:_field",
        old='f"{field.type}{field.bound}"',
        new='f"{field.type}"',
        tests=(DECLARATIONS,),
    ),
    Bug(
        "once_no_part_of_the_meaning",
        "a version keeps its meaning: which events are copies",
        at="reads:declared",
        old='yield f"event {event}: once per", once_text(schema)',
        new="",
        tests=(DECLARATIONS,),
    ),
    Bug(
        "span_of_copies_no_part_of_the_meaning",
        "a version keeps its meaning: for how long copies are copies",
        at="once_text",
        old='"" if within is None else f" within {length(within)}"',
        new='""',
        tests=(DECLARATIONS,),
    ),
    Bug(
        "fields_of_once_not_read",
        "a version keeps its meaning: the fields that tell copies",
        at="reads:declared",
        old="for field in (() if schema.once is None else schema.once[0])}",
        new="for field in ()}",
        tests=(DECLARATIONS,),
    ),
    Bug(
        "field_of_the_scope_not_read",
        "a version keeps its meaning: the field that makes the subject",
        at="reads:declared",
        old="""
            if scope not in {USER, TENANT}:
                fields.add((event, scope))
            """,
        new="",
        tests=(DECLARATIONS,),
    ),
    Bug(
        "tellers_of_a_trait_not_heard",
        "a version keeps its meaning: copies among events that tell a trait",
        at="reads:declared",
        old="types |= carriers.keys()",
        new="",
        tests=(f"{MEANING}::test_moments_of_a_for",),
    ),
    Bug(
        "traits_without_their_contract",
        "a version keeps its meaning: the bound of a trait",
        at="reads:declared",
        old="fields |= {(event, trait) for event in tellers}",
        new="",
        tests=(DECLARATIONS,),
    ),
    Bug(
        "zone_of_users_not_read",
        "a version keeps its meaning: who tells the zone of users",
        at="reads_of",
        old="traits.add(TIMEZONE)",
        new="pass",
        tests=(DECLARATIONS,),
    ),
    Bug(
        "filters_of_unless_not_read",
        "a version keeps its meaning: fields in a filter behind `unless`",
        at="dsl.trees:fields_of",
        old="found |= fields_read(tree.mods.unless)",
        new="pass",
        tests=(DECLARATIONS,),
    ),
    Bug(
        "filter_of_all_alternatives_not_read",
        "a version keeps its meaning: fields in the filter behind a list of events",
        at="fields_read",
        old="shared = set[str]() if pattern.where is None else _fields_of(pattern.where)",
        new="shared = set[str]()",
        tests=(DECLARATIONS,),
    ),
    Bug(
        "every_moment_forgotten",
        "a version keeps its meaning: spans that look at every declared event",
        at="reads_of",
        old="every_type=any(_moved_by_all(version, each) for each in conditions),",
        new="every_type=False,",
        tests=(DECLARATIONS,),
    ),
    Bug(
        "meaning_of_what_is_named_left_out",
        "a version keeps its meaning: achievements that it names",
        at="meaning:_named",
        old="text = _encoder.encode([own.hex(), starts_at, declared])",
        new="text = _encoder.encode([own.hex(), starts_at])",
        tests=(f"{MEANING}::test_what_is_named",),
    ),
    Bug(
        "start_of_what_is_named_left_out",
        "a version keeps its meaning: since when versions of what it names are in effect",
        at="meaning:_named",
        old="text = _encoder.encode([own.hex(), starts_at, declared])",
        new="text = _encoder.encode([declared])",
        tests=(f"{MEANING}::test_versions_of_what_is_named",),
    ),
    Bug(
        "every_field_belongs_to_the_meaning",
        "a contract may change where no rule reads",
        at="reads:declared",
        old="fields |= {(event, field) for field in (() if schema.once is None else schema.once[0])}",
        new="""
            fields |= {(event, field) for field in schema.fields}
            """,
        tests=(DECLARATIONS,),
    ),
    # -- what a state is valid under --
    Bug(
        "bound_no_part_of_the_fingerprint",
        "a state folded by another bound is void",
        at="Field.contract",
        old="return f\"{self.type}{'?' if self.optional else ''}{self.bound}\"",
        new="return f\"{self.type}{'?' if self.optional else ''}\"",
        tests=(f"{MEANING}::test_what_a_plan_reads_is_in_its_fingerprint",),
    ),
    Bug(
        "once_no_part_of_the_fingerprint",
        "a state folded with other copies is void",
        at="_PlanBuilder._describe",
        old='f"event {event_type} {fields} once {entry.once} traits {entry.traits}"',
        new='f"event {event_type} {fields} traits {entry.traits}"',
        tests=(f"{MEANING}::test_what_a_plan_reads_is_in_its_fingerprint",),
    ),
    Bug(
        "traits_no_part_of_the_fingerprint",
        "a state folded with other tellers of a trait is void",
        at="_PlanBuilder._describe",
        old='f"event {event_type} {fields} once {entry.once} traits {entry.traits}"',
        new='f"event {event_type} {fields} once {entry.once}"',
        tests=(f"{MEANING}::test_a_teller_that_was_heard_before",),
    ),
    # -- apply --
    Bug(
        "contracts_accepted_unasked",
        "`apply` asks before a version means something else",
        at="rollout:_refuse",
        old="if changed and (any(one.own for one in changed) or not change.accept_contracts):",
        new="if changed and any(one.own for one in changed):",
        tests=(f"{APPLYING}::test_a_contract_that_changes_what_is_deployed_is_refused",),
    ),
    Bug(
        "own_text_accepted_with_contracts",
        "another text under the same version is never accepted",
        at="rollout:_refuse",
        old="if changed and (any(one.own for one in changed) or not change.accept_contracts):",
        new="if changed and not change.accept_contracts:",
        tests=(f"{APPLYING}::test_its_own_text_is_never_accepted",),
    ),
    Bug(
        "accepted_and_not_recorded",
        "what was accepted is what the version means from then on",
        at="sql:upsert_rule_versions",
        old="declarations = excluded.declarations,",
        new="",
        tests=(f"{APPLYING}::test_a_changed_contract_is_accepted_and_everyone_judged_anew",),
    ),
    Bug(
        "forgotten_what_was_deployed_before_it_was_recorded",
        "an upgrade knows what an earlier release has deployed",
        at="versions:_meant",
        old="meant or past.get((row.achievement, row.version)) or",
        new="meant or",
        tests=(f"{APPLYING}::test_an_upgrade_knows_what_was_deployed_before",),
    ),
    Bug(
        "what_was_retired_recalled_by_the_files_in_force",
        "a retired version means what it did when it was last in force",
        at="sql:rule_set_before",
        old="WHERE applied_at < :at",
        new="WHERE applied_at <= :at",
        tests=(f"{APPLYING}::test_an_upgrade_knows_what_was_deployed_before",),
    ),
    Bug(
        "recalled_under_other_rules",
        "an `apply` compares with what is in force by then",
        at="rollout:_switch",
        old="if await _epoch_in_force(session) == past.epoch:",
        new="if True:",
        tests=(f"{APPLYING}::test_another_operator_applies_meanwhile",),
    ),
    Bug(
        "plans_of_an_earlier_release_not_adopted",
        "an upgrade folds everyone once, and not again for words",
        at="backfill:backfill",
        old="await adopt_plans(store, rules, now=now())",
        new="",
        tests=(f"{APPLYING}::test_an_upgrade_folds_everyone_once",),
    ),
    Bug(
        "adopted_beside_a_retired_one",
        "a plan that is known as retired too can be adopted",
        at="adopt_plans",
        old='await session.run("forget_retired_aggregate", scope=scope, fingerprint=fingerprint)',
        new="",
        tests=(f"{APPLYING}::test_an_upgrade_back_and_forth",),
    ),
    # -- what leaves the rules --
    Bug(
        "settling_goes_on_without_its_rule",
        "what has not settled is withdrawn with its rule",
        at="_put_into_force",
        old="withdrawn = await _withdraw_retired(session, ready.rules, change.settings, change_id, now=now)",
        new="withdrawn = 0",
        tests=(f"{APPLYING}::test_what_has_not_settled_is_withdrawn_with_its_rule",),
    ),
    Bug(
        "settled_and_withdrawn_with_its_rule",
        "what has settled by the clock counts as granted",
        at="sql:withdraw_retired",
        old="granted_at IS NULL AND revoked_at IS NULL AND settles_at > :clock::timestamptz",
        new="granted_at IS NULL AND revoked_at IS NULL AND settles_at <> :clock::timestamptz",
        tests=(f"{APPLYING}::test_what_has_not_settled_is_withdrawn_with_its_rule",),
    ),
    Bug(
        "revoked_and_withdrawn_with_its_rule",
        "an operator's word stays when the rule goes",
        at="sql:withdraw_retired",
        old="granted_at IS NULL AND revoked_at IS NULL AND settles_at > :clock::timestamptz",
        new="granted_at IS NULL AND settles_at > :clock::timestamptz",
        tests=(f"{APPLYING}::test_what_has_not_settled_is_withdrawn_with_its_rule",),
    ),
    Bug(
        "withdrawn_whatever_tier_is_left",
        "a tier that leaves the rules takes what has not settled with it",
        at="sql:withdraw_retired",
        old="""
            (scope, achievement, tier) NOT IN (SELECT * FROM unnest(
                :judged.scope::text[], :judged.achievement::text[], :judged.tier::text[]))
            """,
        new="""
            (scope, achievement) NOT IN (SELECT a, b FROM unnest(
                :judged.scope::text[], :judged.achievement::text[], :judged.tier::text[]) AS r (a, b, c))
            """,
        tests=(f"{APPLYING}::test_a_tier_that_leaves_takes_what_has_not_settled",),
    ),
    Bug(
        "retired_unlocks_in_the_digest",
        "the digest compares what the rules in force judge",
        at="read_results",
        old="judged = [row for row in rows if rules.rules_on(row.scope, row.achievement, row.tier)]",
        new="judged = rows",
        tests=(f"{APPLYING}::test_who_is_heard_no_more_is_visited_once",),
    ),
    # -- the backfill --
    Bug(
        "who_is_heard_no_more_not_visited",
        "a backfill visits every subject that has a row anywhere",
        at="outdated:searches",
        old="if dropped := frozenset[str]().union(*(carriage.dropped for carriage in past.known)):",
        new="if dropped := frozenset[str]():",
        tests=(f"{APPLYING}::test_who_is_heard_no_more_is_visited_once",),
    ),
    Bug(
        "state_kept_of_who_is_heard_no_more",
        "a state without events is deleted",
        at="write:write",
        old='await session.run("forget_progress", **subject_columns(writes.forgotten))',
        new="pass",
        tests=(f"{APPLYING}::test_who_is_heard_no_more_is_visited_once",),
    ),
    Bug(
        "who_has_an_unlock_alone_not_visited",
        "what nothing supports any more is contested, whether or not a state is left",
        at="sql:subjects_without_state",
        old="achievement || '.' || tier = ANY (:judged::text[])",
        new="achievement || '.' || tier <> ALL (:judged::text[])",
        tests=(f"{APPLYING}::test_a_team_and_a_tenant_without_events_keep_nothing",),
    ),
    Bug(
        "unlocks_no_rows_to_look_for",
        "a backfill finds subjects that have an unlock and nothing else",
        at="sql:subjects_without_state",
        old="""
            FROM unlock
            WHERE scope = :scope AND (tenant_id, scope, subject) > (:after_tenant, :scope, :after_subject)
            """,
        new="""
            FROM unlock
            WHERE false AND scope = :scope AND (tenant_id, scope, subject) > (:after_tenant, :scope, :after_subject)
            """,
        tests=(f"{APPLYING}::test_a_team_and_a_tenant_without_events_keep_nothing",),
    ),
    Bug(
        "checkpoints_no_rows_to_look_for",
        "a backfill finds subjects that have checkpoints and nothing else",
        at="sql:subjects_without_state",
        old="""
            FROM checkpoint
            WHERE scope = :scope AND (tenant_id, scope, subject) > (:after_tenant, :scope, :after_subject)
            """,
        new="""
            FROM checkpoint
            WHERE false AND scope = :scope AND (tenant_id, scope, subject) > (:after_tenant, :scope, :after_subject)
            """,
        tests=(f"{APPLYING}::test_checkpoints_of_users_no_rule_hears_go",),
    ),
    Bug(
        "revoked_visited_every_time",
        "a backfill that has nothing to do does nothing",
        at="sql:subjects_without_state",
        old="AND contested_at IS NULL AND revoked_at IS NULL",
        new="AND contested_at IS NULL",
        tests=(f"{APPLYING}::test_what_was_revoked_is_not_visited_again",),
    ),
    Bug(
        "contested_visited_every_time",
        "a backfill that has nothing to do does nothing",
        at="sql:subjects_without_state",
        old="AND contested_at IS NULL AND revoked_at IS NULL",
        new="AND revoked_at IS NULL",
        tests=(f"{APPLYING}::test_a_team_and_a_tenant_without_events_keep_nothing",),
    ),
    Bug(
        "states_kept_of_a_scope_without_a_plan",
        "nothing is kept of scopes that no plan has",
        at="backfill:build",
        old="await _forget_scopes(work)",
        new="",
        tests=(f"{APPLYING}::test_a_scope_that_no_plan_has_any_more_leaves_nothing",),
    ),
    Bug(
        "shown_at_the_beginning_before_they_are_folded",
        "who has not been folded yet is not shown at the beginning",
        at="_states_of",
        old="""
            if user.heard:
                raise StaleError(1)
            """,
        new="",
        tests=(f"{APPLYING}::test_who_has_not_been_folded_is_not_shown_at_the_beginning",),
    ),
)
