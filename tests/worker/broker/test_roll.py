"""Who lives in a group, as one of its members hears it."""

from __future__ import annotations

from math import inf

from worker.broker.roll import MOST_MEMBERS, SILENT_SECONDS, Roll


def test_a_member_lives_while_it_is_heard() -> None:
    roll = Roll("a")
    assert roll.living(0) == {"a"}
    assert roll.silent_in(0) == inf
    assert roll.hear("b", 1)
    assert not roll.hear("b", 2)
    assert not roll.hear("a", 2)
    assert roll.living(2) == {"a", "b"}
    assert roll.silent_in(2.5) == SILENT_SECONDS - 0.5
    assert roll.living(2 + SILENT_SECONDS) == {"a"}


def test_a_member_on_the_sheet_has_its_time_to_be_heard_once() -> None:
    roll = Roll("a")
    roll.read({"a", "b"}, 0)
    assert roll.living(1) == {"a", "b"}
    assert roll.living(SILENT_SECONDS) == {"a"}
    # It is still there when the sheet is read again, and dead.
    roll.read({"a", "b"}, 3)
    assert roll.living(3) == {"a"}


def test_a_member_that_has_left_does_not_come_back_with_the_sheet() -> None:
    roll = Roll("a")
    roll.read({"a", "b", "c"}, 0)
    roll.hear("c", 0)
    roll.leave("c")
    assert roll.living(0) == {"a", "b"}
    # The sheet of before: the others have yet to deal.
    roll.read({"a", "b", "c"}, 0.1)
    assert roll.living(0.1) == {"a", "b"}
    roll.trust_all(0.2)
    assert roll.living(0.2) == {"a", "b"}


def test_a_member_that_is_heard_has_not_left() -> None:
    """Else another client could keep it out of its group with one message."""
    roll = Roll("a")
    roll.hear("b", 0)
    roll.leave("b")
    roll.leave("never")
    assert roll.hear("b", 1)
    roll.read({"a", "b"}, 1)
    assert roll.living(1) == {"a", "b"}
    assert roll.living(1 + SILENT_SECONDS) == {"a"}
    roll.trust_all(9)
    assert roll.living(9) == {"a", "b"}


def test_who_could_not_be_heard_is_trusted() -> None:
    roll = Roll("a")
    roll.read({"a", "b"}, 0)
    roll.hear("c", 0)
    roll.trust_all(9)
    assert roll.living(9) == {"a", "b", "c"}


def test_a_flood_of_names_is_bounded() -> None:
    roll = Roll("a")
    for number in range(2 * MOST_MEMBERS):
        roll.hear(f"m{number}", 0)
    assert len(roll.living(0)) == MOST_MEMBERS + 1
