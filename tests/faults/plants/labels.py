"""Planted bugs: labels that come back, and keys."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

LATE: Final = ("property/test_late.py",)
LABELS: Final = "property/test_labels.py"
KEYS: Final = "property/test_keys.py"
EXACT: Final = "property/test_exact.py"

BUGS: Final[tuple[Bug, ...]] = (
    Bug(
        "occurrences_forgotten_by_number",
        "an occurrence is earned once, however many lie between",
        at="Judge._record",
        old="earned.units = [index for index in earned.units if index >= oldest]",
        new="del earned.units[:-75]",
        tests=(f"{LABELS}::test_a_crowd_of_labels_lies_between",),
    ),
    Bug(
        "occurrences_forgotten_with_their_hour",
        "an occurrence is earned once, with events of any UTC offset",
        at="Judge._record",
        old="unit_index(unit, event.at - MAX_OFFSET)",
        new="unit_index(unit, event.at)",
        tests=(f"{LABELS}::test_the_fold_grants_what_the_reference_grants",),
    ),
    Bug(
        "occurrences_never_forgotten",
        "what is remembered of occurrences is bounded",
        at="Judge._record",
        old="earned.units = [index for index in earned.units if index >= oldest]",
        new="",
        tests=(f"{LABELS}::test_what_is_remembered_of_labels_is_bounded",),
    ),
    Bug(
        "forgotten_hours_kept_in_states",
        "a state that may have forgotten an occurrence is refolded",
        at="Judge._remembered",
        old='return "once in every hour" if hours else "once"',
        new='return "once"',
        tests=(f"{LABELS}::test_states_that_may_have_forgotten_an_hour_are_folded_anew",),
    ),
    Bug(
        "offsets_of_real_zones",
        "an event may be written by any offset that RFC 3339 has",
        at="MAX_OFFSET",
        old="MAX_OFFSET: Final = 24 * HOUR",
        new="MAX_OFFSET: Final = 14 * HOUR",
        tests=(
            f"{LABELS}::test_the_fold_grants_what_the_reference_grants",
            f"{LABELS}::test_no_offset_is_farther_than_the_farthest",
        ),
    ),
    Bug(
        "units_sealed_while_a_clock_shows_them",
        "a unit of a streak counts, with events of any UTC offset",
        at="Streaks.moving",
        old="note(node, index, unit_index(unit, event.at - MAX_OFFSET))",
        new="note(node, index, unit_index(unit, event.at))",
        tests=(f"{LABELS}::test_the_fold_grants_what_the_reference_grants",),
    ),
    Bug(
        "units_absorbed_that_are_sealed",
        "what is absorbed leaves what folding in order leaves",
        at="Streaks.late",
        old="if state.mark is None or index < unit_index(unit, state.mark.at - MAX_OFFSET):",
        new="if state.mark is None:",
        tests=LATE,
    ),
    Bug(
        "a_value_poses_as_the_hash_of_another",
        "two values are two",
        at="value_key",
        old=r'if len(text) <= _LONG and (text[0] != "\x01" or _HASH.fullmatch(text) is None):',
        new="if len(text) <= _LONG:",
        tests=(f"{KEYS}::test_the_fold_tells_values_apart_as_the_reference_does",),
    ),
    Bug(
        "keys_in_states_change",
        "what a value has for its key it has for good",
        at="values:_HASH",
        old=r'_HASH: Final = re.compile("\x01[0-9a-f]{32}")',
        new=r'_HASH: Final = re.compile("\x01.{32}")',
        tests=(f"{KEYS}::test_a_key_is_short_and_most_texts_are_their_own",),
    ),
    Bug(
        "hash_cut_short",
        "two long values are two",
        at="value_key",
        old="if len(text) <= _LONG and (text",
        new="""
            text = text[:_LONG]
            if len(text) <= _LONG and (text
            """,
        tests=(f"{KEYS}::test_two_texts_have_one_key_only_if_they_are_one",),
    ),
    Bug(
        "amounts_rounded",
        "sums are exact",
        at="RecentSum.stepper",
        old="rest = minus(total, amount)",
        new="rest = add(total, -amount)",
        tests=(f"{EXACT}::test_rules_and_events_with_the_longest_numbers",),
    ),
    Bug(
        "bounds_rounded",
        "bounds are exact, however long",
        at="dsl.grouping:at_least",
        old="least = floor(cmp.bound)",
        new="least = int(cmp.bound // 1)",
        tests=(f"{EXACT}::test_rules_and_events_with_the_longest_numbers",),
    ),
    Bug(
        "numbers_between_rounded",
        "a filter that something passes is not called impossible",
        at="_decimals",
        old="yield middle(one, two)",
        new="yield (Decimal(one) + Decimal(two)) / 2",
        tests=(f"{EXACT}::test_rules_and_events_with_the_longest_numbers",),
    ),
    Bug(
        "message_id_of_two_tenants",
        "the broker does not take an event for that of another tenant",
        at="message_id",
        old='text = f"{token(tenant)}:{event}"',
        new='text = f"{tenant}:{event}"',
        tests=(f"{KEYS}::test_a_colon_does_not_move_an_event_to_another_tenant",),
    ),
)
