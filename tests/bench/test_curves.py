from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import msgspec
import pytest
from click.testing import CliRunner

from bench import curve_page, page
from bench.curve_page import Curves, Drawn, Measured, flat, relative
from bench.curves import ACTIVE, CURVES, HOT, SEEDED, Part, heated, load, main, many_rules, points_of, tiers, turn
from bench.drain import Drained
from bench.events import Shape, make
from dsl.check import check
from dsl.compile import compile_rules
from dsl.diagnostics import Severity
from dsl.parse import parse
from dsl.source import Source

if TYPE_CHECKING:
    from dsl.compile import Program

LOAD_TYPES = {"lesson.completed", "tutorial.finished", "project.created"}


def compiled(text: str) -> Program:
    file, problems = parse(Source("rules.ach", text))
    rules, found = check([file])
    assert not any(each.severity is Severity.ERROR for each in (*problems, *found))
    return compile_rules(rules)


def drained(cpu: float) -> Drained:
    return Drained(
        events_per_second=10_000.0,
        worker_cpu=cpu - 15,
        database_cpu=10.0,
        broker_cpu=5.0,
        wal_bytes=512.0,
        table_bytes=300.0,
        peak_bytes=64_000_000,
        seconds=3.0,
    )


def drawn(*costs: list[float]) -> Drawn:
    points = [Measured(f"{n} <", [drained(cost) for cost in each]) for n, each in enumerate(costs)]
    return Drawn("Rules", "More of them.", points)


def curves(**by_key: Drawn) -> Curves:
    return Curves("2026-11-23", "just curves", {"CPU": "a machine"}, {"Python": "3.11"}, 1000, 3, by_key)


@pytest.mark.parametrize("number", [10, 100])
def test_of_many_rules_three_hear_the_load(number: int) -> None:
    text = many_rules(number)

    assert text.count("achievement ") == number
    assert sum(line.startswith("achievement ") and "lesson.completed" in line for line in text.splitlines()) == 3
    assert compiled(text).scopes["user"].types & LOAD_TYPES == {"lesson.completed"}


def test_tiers_stand_on_one_count() -> None:
    assert tiers(100).count("  tier t") == 100
    compiled(tiers(100))


def test_a_load_has_a_seed_and_what_comes_after_it() -> None:
    first = load(2000, 0.1, 0.2, 0.0)

    assert len(first.seed) == SEEDED
    assert len(first.measured) == 2000
    assert min(one.at for one in first.measured) > max(one.at for one in first.seed)
    assert len({one.user for one in first.seed}) <= ACTIVE


def test_a_hot_user_has_a_share_and_copies_stay_copies() -> None:
    events = heated(make(Shape(2000, users=50, duplicates=0.1)), 0.5)
    bodies = {one.id: one.body for one in events}

    assert Counter(one.user == HOT for one in events)[True] == pytest.approx(1000, rel=0.2)
    assert all(bodies[one.id] == one.body for one in events)
    assert all(msgspec.json.decode(one.body)["user_id"] == one.user for one in events)


def test_points_take_turns_and_the_long_ones_part_when_asked_for() -> None:
    assert [turn(3, number) for number in range(4)] == [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]
    found = [[point.label for point in points_of(CURVES["history"], part)] for part in Part]
    assert found == [["0", "100,000"], ["0", "100,000", "1,000,000"], ["0", "100,000", "1,000,000", "10,000,000"]]
    assert all(curve.why for curve in CURVES.values())


def test_a_cost_is_relative_to_the_first_point() -> None:
    rising = drawn([50.0, 40.0, 60.0], [55.0], [75.0])

    assert relative(rising) == [1.0, 1.1, 1.5]
    assert flat(rising) is False
    assert flat(drawn([50.0], [45.0])) is True
    assert flat(drawn([50.0], [])) is None


def test_the_section_explains_what_is_not_flat() -> None:
    measured = curves(rules=drawn([50.0, 40.0, 60.0], [75.0]), late=drawn([50.0], [51.0]), hot=drawn([50.0], []))
    said = curve_page.section(measured, {"rules": "Because.", "late": "Never said."})

    assert "| 0 < | 10,000 | 35.0 | 10.0 | 5.0 | 50.0 (40.0–60.0) | 1.00 | 512 | 64.0 |" in said
    assert "**Not flat** (1.00, 1.50). Because." in said
    assert "Flat within 10 %." in said
    assert "Never said." not in said
    assert "Not complete." in said
    assert msgspec.json.decode(msgspec.json.encode(measured), type=Curves) == measured


def test_the_chart_is_well_formed() -> None:
    root = ET.fromstring(curve_page.svg(curves(rules=drawn([50.0], [75.0]), hot=drawn([50.0], []))))  # noqa: S314 - ours

    assert [each.text for each in root.iter() if each.text in {"1.00", "1.50"}] == ["1.00", "1.50", "1.00"]


def test_both_sections_of_the_page_leave_each_other_alone() -> None:
    both = page.merged(page.merged("# Title\n", "bench"), "curves", curve_page.BEGIN, curve_page.END)
    again = page.merged(page.merged(both, "anew"), "also anew", curve_page.BEGIN, curve_page.END)

    assert "bench\n\n" in both
    assert "curves\n\n" in both
    assert [line for line in again.splitlines() if line and not line.startswith("<!--")] == [
        "# Title",
        "anew",
        "also anew",
    ]


def test_a_batch_or_two_are_not_written_down() -> None:
    done = CliRunner().invoke(main, ["--events", "10000", "--write"])

    assert done.exit_code == 2
    assert "a batch or two" in done.output
