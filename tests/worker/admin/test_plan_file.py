"""The file of a plan: read as written, and refused where it is none or was edited."""

from __future__ import annotations

import json
import os
import re
from random import Random
from typing import TYPE_CHECKING, Final, cast

import msgspec
import pytest

from worker.admin.plan_file import (
    PlanFile,
    PlanFileError,
    is_plan_file,
    names_a_plan,
    plan_file,
    plan_of,
    plan_text,
    read_plan,
)
from worker.engine.rule_set import RuleFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILES = (RuleFile("b.ach", "event b.done {}\n"), RuleFile("a.ach", "event a.done {}\n"))


def made() -> PlanFile:
    return plan_file(
        FILES, epoch=14, against="ab", made_at="2026-05-01T00:00:00Z", made_by="ann", report=b'{"changes":1}'
    )


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "friday.plan"
    path.write_bytes(plan_text(made()))
    assert is_plan_file(path)
    read = read_plan(path)
    assert msgspec.structs.replace(read, report=msgspec.Raw(b"")) == msgspec.structs.replace(
        made(), report=msgspec.Raw(b"")
    )
    assert msgspec.json.decode(read.report) == {"changes": 1}
    assert [file.name for file in read.files] == ["a.ach", "b.ach"]


def test_the_order_of_files_makes_no_difference() -> None:
    turned = plan_file(FILES[::-1], epoch=14, against="ab", made_at="", made_by="")
    assert (turned.plan, turned.rules) == (made().plan, made().rules)
    assert plan_file(FILES, epoch=15, against="ab", made_at="", made_by="").plan != made().plan


def test_rules_are_no_plan(tmp_path: Path) -> None:
    path = tmp_path / "rules.ach"
    path.write_text("event a.done {}\n")
    assert not is_plan_file(path)
    assert not is_plan_file(tmp_path)
    assert not is_plan_file(tmp_path / "missing")
    path.write_text("")
    assert not is_plan_file(path)


@pytest.mark.parametrize("name", ["plan.json", "friday.plan"])
@pytest.mark.parametrize("text", ["", "\n"])
def test_what_a_full_disk_has_left_of_a_plan_is_no_rules(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert is_plan_file(path)
    with pytest.raises(PlanFileError, match="is no plan"):
        read_plan(path)


def test_nothing_is_read_of_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with os.fdopen(os.open(path, os.O_RDWR), "r+b", buffering=0) as pipe:
        pipe.write(b"{")
        assert not is_plan_file(path)
        assert not names_a_plan(path)
        assert pipe.read(1) == b"{"


def test_a_plan_among_rules_is_seen(tmp_path: Path) -> None:
    (path := tmp_path / "plan").write_bytes(plan_text(made()))
    assert names_a_plan(path)
    path.write_text("{")
    assert not names_a_plan(path)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (("event a.done", "event c.done"), "was edited after it was made"),
        (('"epoch": 14', '"epoch": 15'), "was edited after it was made"),
        (('"ach_plan": 2', '"ach_plan": 9'), "has format 9, and this release reads 2"),
        (('"ach_plan": 2', '"ach_plan": 1'), "has format 1, and this release reads 2"),
        (('"against": "ab"', '"against": "cd"'), "was edited after it was made"),
        (('"files"', '"pages"'), "is no plan"),
        (('"report"', "report"), "is no plan"),
    ],
)
def test_an_edited_plan_is_refused(edit: tuple[str, str], said: str) -> None:
    text = plan_text(made()).decode()
    assert edit[0] in text
    with pytest.raises(PlanFileError, match=said):
        plan_of(text.replace(*edit).encode(), "friday.plan")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanFileError, match=r"gone\.plan cannot be read: No such file"):
        read_plan(tmp_path / "gone.plan")


def test_what_an_earlier_release_has_written_is_named_as_such() -> None:
    """It has other fields: that is no reason to call it no plan."""
    with pytest.raises(PlanFileError, match=r"has format 1, and this release reads 2: make the plan again"):
        plan_of(b'{"ach_plan": 1, "plan": "", "epoch": 14}', "friday.plan")


# -- whatever a file holds ---------------------------------------------------------------------------------------------


def _flipped(dice: Random, text: bytes) -> bytes:
    content = bytearray(text)
    for _ in range(dice.randint(1, 4)):
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    return bytes(content)


_LEAVES: Final = (
    *("null", "true", "-1", "0", str(2**63), "9" * 400, "1.5", '""', '"\\u0000"', '"x"'),
    *("[]", "{}", "[[]]", '{"a":1}'),
)
"""JSON."""


def _mutated(dice: Random, value: object) -> object:
    """Return a value of JSON with another one in some place of it."""
    if isinstance(value, dict) and value and dice.random() < 0.7:
        members = cast("dict[str, object]", value)
        name = dice.choice([*members])
        rest = {key: one for key, one in members.items() if key != name}
        return rest if dice.random() < 0.2 else {**rest, name: _mutated(dice, members[name])}
    if isinstance(value, list) and value and dice.random() < 0.7:
        elements = cast("list[object]", value)
        number = dice.randrange(len(elements))
        return [*elements[:number], _mutated(dice, elements[number]), *elements[number + 1 :]]
    return json.loads(dice.choice(_LEAVES))


def _broken() -> Iterator[bytes]:
    dice, text = Random(1), plan_text(made())  # noqa: S311 - reproducible
    yield from (text[:length] for length in range(len(text)))
    yield from (_flipped(dice, text) for _ in range(3000))
    yield from (json.dumps(_mutated(dice, json.loads(text))).encode() for _ in range(3000))
    for depth in (1000, 1_000_000):
        deep = b"[" * depth + b"]" * depth
        yield from (b"[" * depth, b'{"a":' * depth, deep)
        yield from (text.replace(b'"epoch": 14', b'"epoch": ' + deep), text.replace(b'{\n    "changes": 1\n  }', deep))
    yield from (text.replace(b"14", number) for number in (b"9" * 5000, b"1e5000", b"-14", b"14.0", b"NaN"))
    yield from (b"\xff\xfe" + text, b"\xef\xbb\xbf" + text, text + text, text.decode().encode("utf-16"))


def test_whatever_a_file_holds_it_is_refused_or_says_what_the_plan_says() -> None:
    whole, read, refused = made(), 0, set[str]()
    for content in _broken():
        try:
            plan = plan_of(content, "friday.plan")
        except PlanFileError as error:
            refused.add(str(error))
            continue
        read += 1
        names = ("ach_plan", "plan", "epoch", "rules", "against", "files")
        assert [getattr(plan, name) for name in names] == [getattr(whole, name) for name in names]
    assert read, "what is said of a plan beside its rules is no part of what is applied"
    for said in refused:
        assert said.startswith("friday.plan "), said
        assert re.search("make (one with `ach plan|the plan again)", said), said
