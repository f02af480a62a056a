"""A plan as a comment: it names no user, and nothing in it is a link, a mention or HTML."""

from __future__ import annotations

import re
from typing import Final

from msgspec.structs import replace

from tests.worker.commands.test_plan_page import PREVIEW, TEN
from worker.commands.plan.markdown import LARGEST, LONGEST, markdown
from worker.engine.preview import Difference, Refusal, Sample, Status, VersionChange

COMMENT: Final = """\
### Plan of the rules

**Rules: 1 new, 1 changed, 1 in words only, 1 declaration.** Unlocks: 36,507 gained, 5,710 amended, 1,371 contested.

```diff
Against epoch 14 (applied 3 d ago), 1,179,468 events, snapshot 17:04:10
~ ten_lessons v2 from 2025-06-01   count >= 10 -> >= 12
    no longer qualify, keep it as contested     1,369
    earned later (amended)                      5,710   median +9 d
    consequence: graduate contested                 2
+ hello                                        36,507 gain   announce: all
! event comment.posted `once per` 10m -> 30d   changes all_rounder, talker: give both a new version
= 22 unchanged, 1 in words only (early_bird)
Build: 1 new aggregate (1 reused); reads 171,000 events, about 9 s at 20,000 events/s (--rate)
Announce: all of 36,507 new grants <- choose --announce none|since 7d|all
```
"""


def condition(text: str) -> VersionChange:
    return VersionChange(2, Status.NEW, None, [Difference("when", "true", text)], [])


def test_the_comment() -> None:
    assert markdown(PREVIEW) == COMMENT


def test_nothing_changes() -> None:
    same = replace(PREVIEW, achievements=[], contracts=[], in_words=[], gained=0, is_change=False)
    assert "**No change.**" in markdown(same)


def test_a_refusal_is_said_above_the_page() -> None:
    refused = [Refusal("big", 1, ["its own text has changed"], by_declarations=False)]
    said = markdown(replace(PREVIEW, refused=refused))
    assert "**`ach apply` refuses this**: 1 deployed version would mean something else." in said.split("```")[0]


def test_estimates_are_said_to_be_some() -> None:
    sampled = replace(PREVIEW, sample=Sample("1", 500, 50_000))
    assert "Unlocks: about 36,507 gained, about 5,710 amended" in markdown(sampled)


def test_rules_cannot_leave_the_block_of_code() -> None:
    evil = 'where x == "\n````\n# out <img src=x> @acme [a](b)\x1b[2J\u202e"'
    said = markdown(replace(PREVIEW, achievements=[replace(TEN, versions=[condition(evil)])]))
    before, fence, rest = re.split(r"^(`{3,})diff\n", said, maxsplit=1, flags=re.MULTILINE)
    inside, _, after = rest.partition(f"\n{fence}\n")
    assert "`" * (len(fence) - 1) in inside
    assert fence not in inside
    assert "<img" in inside
    assert after == ""
    assert "img" not in before
    assert not set(said) & {"\x1b", "\u202e"}


def test_a_comment_is_bounded() -> None:
    many = [replace(TEN, achievement=f"a{n}", versions=[condition("é" * 5_000)]) for n in range(500)]
    said = markdown(replace(PREVIEW, achievements=many))
    assert LARGEST - 3_000 < len(said.encode()) < LARGEST + 1_000
    assert max(map(len, said.splitlines())) <= LONGEST + 4
    left = re.search(r"^([\d,]+) lines more: run `ach plan`\.$", said, re.MULTILINE)
    assert left is not None
    assert "500 changed" in said
