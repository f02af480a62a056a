"""The page of `ach plan`: 80 columns, long names, samples, and what an apply refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import jsonschema
import msgspec
import pytest

from worker.commands.plan.page import WIDE, lines, span
from worker.engine.preview import (
    AchievementChange,
    Build,
    ContractChange,
    Decided,
    Difference,
    Effect,
    Example,
    Interval,
    Moves,
    Preview,
    Refusal,
    Sample,
    Status,
    VersionChange,
    schema,
    schema_text,
)

ROOT: Final = Path(__file__).parents[3]
AT: Final = "2026-05-20T08:00:00.000000Z"


def effect(name: str, decision: Decided, unlocks: int, **more: object) -> Effect:
    examples = [Example(f"t{n:02}", f"u{n:05}", None, AT, None) for n in range(min(unlocks, 3))]
    made = Effect(name, None, 1, decision, None, unlocks, unlocks, None, None, examples)
    return msgspec.structs.replace(made, **more)


def change(name: str, status: Status, effects: list[Effect], **more: object) -> AchievementChange:
    return msgspec.structs.replace(AchievementChange(name, "user", status, [], effects, []), **more)


TEN: Final = change(
    "ten_lessons",
    Status.CHANGED,
    [
        effect("ten_lessons", Decided.CONTESTED, 1369),
        effect("ten_lessons", Decided.AMENDED, 5710, moves=Moves.LATER, median_seconds=9 * 86_400),
    ],
    versions=[VersionChange(2, Status.NEW, "2025-06-01T00:00:00.000000Z", [Difference("count", ">= 10", ">= 12")], [])],
    consequences=[effect("graduate", Decided.CONTESTED, 2)],
)
PREVIEW: Final = Preview(
    epoch=14,
    applied_at="2026-11-26T09:00:00.000000Z",
    applied_by="deploy",
    taken_at="2026-11-29T17:04:10.000000Z",
    clock="2026-11-29T17:04:10.000000Z",
    events=1_179_468,
    events_exact=True,
    building=False,
    subjects=50_000,
    sample=None,
    achievements=[TEN, change("hello", Status.NEW, [effect("hello", Decided.GRANTED, 36_507)])],
    contracts=[
        ContractChange(
            "event comment.posted", "once per", "author within 10m", "author within 30d", ["all_rounder", "talker"]
        )
    ],
    unchanged=22,
    in_words=["early_bird"],
    build=Build(["count(a.done)"], 1, 0, 171_000, 20_000, measured=False, seconds=9),
    announce=None,
    announced=36_507,
    gained=36_507,
    refused=[],
    is_change=True,
)
PAGE: Final = """\
Against epoch 14 (applied 3 d ago by deploy), 1,179,468 events, snapshot 17:04:10
~ ten_lessons v2 from 2025-06-01   count >= 10 -> >= 12
    no longer qualify, keep it as contested     1,369   u00000 t00, u00001 t01, u00002 t02 ... (--list)
    earned later (amended)                      5,710   median +9 d
    consequence: graduate contested                 2   u00000 t00, u00001 t01
+ hello                                        36,507 gain   announce: all
! event comment.posted `once per` 10m -> 30d   changes all_rounder, talker: give both a new version
= 22 unchanged, 1 in words only (early_bird)
Build: 1 new aggregate (1 reused); reads 171,000 events, about 9 s at 20,000 events/s (--rate)
Announce: all of 36,507 new grants <- choose --announce none|since 7d|all
"""


def page(seen: Preview, width: int = WIDE) -> str:
    return "".join(f"{line.text}\n" for line in lines(seen, width=width))


def test_the_page() -> None:
    assert page(PREVIEW) == PAGE


def test_a_terminal_of_80_columns_has_no_longer_line() -> None:
    long = change("a" * 70, Status.CHANGED, [effect("a" * 70, Decided.GRANTED, 5, tier="b" * 60)])
    shown = page(msgspec.structs.replace(PREVIEW, achievements=[*PREVIEW.achievements, long]), 80).splitlines()
    assert "    no longer qualify, keep it as contested     1,369   u00000 t00 ... (--list)" in shown
    assert max(len(line) for line in shown if "a" * 70 not in line and "b" * 60 not in line) <= 80
    assert any(f"{'b' * 60}: gain it" in line for line in shown)


def test_nothing_changes() -> None:
    same = msgspec.structs.replace(
        PREVIEW, achievements=[], contracts=[], in_words=[], unchanged=25, gained=0, is_change=False
    )
    assert page(same).splitlines()[1:] == ["No change: 25 achievements as in force (epoch 14)"]


def test_no_rules_are_in_force() -> None:
    first = msgspec.structs.replace(PREVIEW, epoch=0, applied_at=None, applied_by=None, events=1, events_exact=False)
    assert page(first).startswith("Against no rules (none are in force), about 1 event, snapshot 17:04:10\n")


def test_a_sample_says_estimates_and_intervals() -> None:
    some = effect("ten_lessons", Decided.CONTESTED, 14, estimate=Interval(1400, 830, 2340, 1400))
    seen = msgspec.structs.replace(
        PREVIEW,
        sample=Sample("1", 500, 50_000),
        achievements=[change("ten_lessons", Status.CHANGED, [some])],
        gained=3,
        announce="none",
        announced=0,
    )
    shown = page(seen)
    assert "Sample of 1 %: 500 of 50,000 subjects; estimates of all, with 95 % intervals\n" in shown
    assert "    no longer qualify, keep it as contested    ~1,400   (830 to 2,340)\n" in shown
    assert "reads about 171,000 events" in shown
    assert "Announce: about 0 of 300 new grants (--announce none)\n" in shown


def test_a_sample_that_shows_nothing_does_not_say_that_nothing_is_there() -> None:
    seen = msgspec.structs.replace(
        PREVIEW,
        sample=Sample("1", 500, 50_000),
        achievements=[change("hello", Status.NEW, [])],
        build=msgspec.structs.replace(PREVIEW.build, events=0),
        gained=0,
    )
    shown = page(seen)
    assert re.search(r"^\+ hello +0 gain \(0 to 3\d\d\)$", shown, re.MULTILINE)
    assert "Build: 1 new aggregate; the sample has no event that it reads\n" in shown
    unseen = msgspec.structs.replace(seen, sample=Sample("1", 0, 20))
    assert re.search(r"^\+ hello +0 gain \(0 to 20\)$", page(unseen), re.MULTILINE)


def test_what_an_apply_refuses_comes_last() -> None:
    refused = [
        Refusal("big", 1, ["its own text has changed"], by_declarations=False),
        Refusal("small", 2, ["event a: n was `int`, is `decimal`"], by_declarations=True),
    ]
    shown = page(msgspec.structs.replace(PREVIEW, refused=refused)).splitlines()
    assert shown[-3:] == [
        "`ach apply` refuses this: versions that were deployed mean something else now",
        "    big v1: its own text has changed (give it a new version)",
        "    small v2: event a: n was `int`, is `decimal` (a new version, or --accept-contracts)",
    ]


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (5400, "2 h"), (86_400, "1 d"), (9 * 86_400, "9 d")]
)
def test_lengths(seconds: int, said: str) -> None:
    assert span(seconds) == said


def test_the_documented_schema_is_the_current_one() -> None:
    """`ach schema plan > docs/plan.schema.json`."""
    assert (ROOT / "docs" / "plan.schema.json").read_bytes() == schema_text()
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.Draft202012Validator(schema()).validate(json.loads(msgspec.json.encode(PREVIEW)))
