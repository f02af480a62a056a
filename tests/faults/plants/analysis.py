"""Planted bugs: who is counted in an analysis, and what a person may see of it."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

FIGURES: Final = "worker/analysis/test_answers.py::test_every_figure_is_what_its_definition_says"
COHORTS: Final = "integration/test_console_cohorts.py"
COMMAND: Final = "worker/commands/test_analyze.py"

BUGS: Final = (
    Bug(
        "misspelt_name_without_a_word",
        "a misspelt name is refused: an answer without rows would pass for one about it",
        at="worker.analysis.answers:_check",
        old="if name not in known:",
        new="if name in known[1:]:",
        tests=(f"{COMMAND}::test_a_name_that_is_nowhere_is_refused",),
    ),
    Bug(
        "bar_without_its_denominator",
        "beside each bar stands of how many it speaks",
        at="worker.analysis.page:_bars",
        old='" of ".join(_figure(of[name], row[name]) for name in chart.counts)',
        new='" of ".join(_figure(of[name], row[name]) for name in chart.counts[:1])',
        tests=(f"{COMMAND}::test_each_bar_of_a_page_says_of_how_many_it_is",),
    ),
    Bug(
        "analysis_of_every_tenant",
        "an analysis for some tenants has nothing of others",
        at="worker.mirror.reading:_of",
        old='''" WHERE list_contains(getvariable('tenants'), tenant_id)"''',
        new='""',
        tests=(FIGURES, f"{COHORTS}::test_a_person_of_one_tenant_sees_nothing_of_others"),
    ),
    Bug(
        "analysis_keeps_answers_for_others",
        "what is kept for one person's tenants is not shown to another person",
        at="Keeper.of",
        old="found = self._known.get(key)",
        new="found = self._known.get(key) or self._known.get(None)",
        tests=(f"{COHORTS}::test_a_person_of_one_tenant_sees_nothing_of_others",),
    ),
    Bug(
        "analysis_says_where_the_mirror_lies",
        "a person of some tenants does not learn of others from an error",
        at="Keeper.of",
        old="NOTHING if key is not None else str(error)",
        new="str(error)",
        tests=(f"{COHORTS}::test_a_mirror_of_another_tenant_says_nothing_of_it",),
    ),
    Bug(
        "analysis_never_looks_again",
        "the console shows the latest run of the mirror",
        at="Keeper.of",
        old="if found is None or found.run != run:",
        new="if found is None:",
        tests=(f"{COHORTS}::test_answers_are_kept_until_the_next_run",),
    ),
    Bug(
        "analysis_without_end",
        "an analysis that takes too long is ended",
        at="worker.analysis.answers:_answer",
        old="timer.start()",
        new="timer.cancel()",
        tests=(f"{COHORTS}::test_what_takes_too_long_is_ended",),
    ),
    Bug(
        "analysis_without_figures_of_an_empty_run",
        "a mirror without a finished run is refused",
        at="manifest_of",
        old="if not manifest.run:",
        new="if manifest.run < 0:",
        tests=(f"{COMMAND}::test_what_is_no_mirror_says_so",),
    ),
    Bug(
        "analysis_counts_too_few",
        "figures about fewer subjects than the fewest are null",
        at="answer",
        old="_cell(column, value)",
        new="_cell(column, value) or 0",
        tests=(FIGURES, f"{COMMAND}::test_json_has_every_row_with_its_denominator"),
    ),
    Bug(
        "analysis_counts_the_revoked",
        "what was revoked or contested is not earned",
        at="sql:views",
        old="WHERE holds.unlock_status IN ('granted', 'announced')",
        new="WHERE holds.unlock_status <> 'settling'",
        tests=(FIGURES,),
    ),
    Bug(
        "analysis_of_the_immortal",
        "only users alive at the landmark are compared",
        at="sql:retention",
        old="WHERE seen.alive = 1",
        new="WHERE seen.alive >= 0",
        tests=(FIGURES,),
    ),
    Bug(
        "analysis_by_the_trait_of_today",
        "segments are by the trait as of the unlock",
        at="sql:segments",
        old="AND span.valid_from <= earned.earned_at",
        new="AND span.valid_from IS NOT NULL",
        tests=(FIGURES,),
    ),
    Bug(
        "analysis_stuck_at_every_step",
        "a subject is at its furthest step alone",
        at="sql:funnel",
        old="WHERE nth = 1",
        new="WHERE nth >= 1",
        tests=(FIGURES,),
    ),
)
