"""Planted bugs: conditions by the values of fields and by calendar units."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

KEYED: Final = "dsl/test_keyed.py"

BUGS: Final = (
    Bug(
        "reset_of_all_forgotten",
        "an event of unless without the field resets groups that are looked at later",
        at="Groups._catch_up",
        old="if number > group.seen and position is not None:",
        new="if number > group.seen + 1 and position is not None:",
        tests=(f"{KEYED}::test_a_late_reset_reaches_groups_that_were_not_looked_at",),
    ),
    Bug(
        "reset_of_one_resets_all",
        "an event of unless with some of the fields resets the groups that agree, and no other",
        at="FieldKeys.some",
        old="all(not wanted or each in wanted for wanted, each in zip(parts, _split(key), strict=True))",
        new="True",
        tests=(f"{KEYED}::test_an_event_without_the_field_resets_all_groups_and_one_with_it_its_own",),
    ),
    Bug(
        "unlock_no_news",
        "every group looks at an unlock that its condition names",
        at="dsl.nodes.groups:_look",
        old="next(iter(named_in(aggregate.inner)), None) is None",
        new="not any(named_in(aggregate.inner))",
        tests=(f"{KEYED}::test_an_unlock_is_news_to_every_group",),
    ),
    Bug(
        "value_earned_twice",
        "a value earns its occurrence once, and is remembered as earned",
        at="Groups.finish",
        old="node.groups.put(key, Group(done=True))",
        new="node.groups.drop(key)",
        tests=(f"{KEYED}::test_what_is_waited_for_earns_every_value_at_once",),
    ),
    Bug(
        "piece_not_written",
        "a piece of a shelf that has changed is written before it leaves memory",
        at="Shelf._piece",
        old="self._write()",
        new="self._changed.clear()",
        tests=(f"{KEYED}::test_many_groups_are_written_in_pieces_and_read_again",),
    ),
    Bug(
        "units_for_ever",
        "calendar units that are over are forgotten",
        at="Groups._seal",
        old="if int(key) < before",
        new="if int(key) < before - 100_000",
        tests=(f"{KEYED}::test_units_that_are_over_are_forgotten",),
    ),
    Bug(
        "unit_not_used_up",
        "the calendar unit of an unlock that repeats is used up",
        at="Entry._unspent",
        old="None if is_spent(state, event) else step(state, event)",
        new="step(state, event)",
        tests=(f"{KEYED}::test_the_unit_of_an_unlock_is_used_up",),
    ),
    Bug(
        "copy_moves_between_groups",
        "an event once per other fields is contestable in a group",
        at="dsl.analyze:_apart",
        old="return around if same else msgspec.structs.replace(around, plain=False)",
        new="return around",
        tests=(f"{KEYED}::test_verdicts",),
    ),
    Bug(
        "period_counts_all_values_together",
        "a plain count with `by` under `repeat every` counts each value by itself",
        at="dsl.conditions:_in_unit",
        old="mods.unless is not None or mods.by:",
        new="mods.unless is not None:",
        tests=(f"{KEYED}::test_a_period_counts_each_value_by_itself",),
    ),
    Bug(
        "elements_beside_refused",
        "the elements that stand beside one element can be counted",
        at="Conditions._keys",
        old="for name in names if name.text not in lists]",
        new="for name in names]",
        tests=(f"{KEYED}::test_a_group_of_one_element_counts_the_elements_beside_it",),
    ),
)
