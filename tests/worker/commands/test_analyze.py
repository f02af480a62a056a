"""`ach analyze` without a server: its list, its mistakes, its tables, JSON and page."""

from __future__ import annotations

import json
import re
from html import escape
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from tests.worker.analysis.worlds import AT, drawn, write
from worker.analysis.questions import BY_NAME, QUESTIONS
from worker.cli import main
from worker.mirror.layout import LAYERS, VERSION
from worker.mirror.manifest import MANIFEST, Manifest, write_manifest

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = '<script>alert(1)</script>\u202e\x1b[31m"&'


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    layers = drawn(3)
    for row in layers["event"][:200]:
        row["region"], row["event_type"] = HOSTILE, HOSTILE
    return write(tmp_path_factory.mktemp("mirror's"), layers)


def analyze(*args: object) -> Result:
    return CliRunner().invoke(main, ["analyze", *map(str, args)], catch_exceptions=False)


def test_without_a_name_it_lists_all() -> None:
    said = analyze()
    assert said.exit_code == 0
    assert all(question.name in said.output for question in QUESTIONS)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["funel"], "did you mean funnel?"),
        (["time", "--late", "soon"], "--late: expected a span"),
        (["time", "--memory", "lots"], "--memory: expected a size"),
        (["time", "--json", "--html", "x.html"], "not both"),
        (["time", "--fewest", "0"], "--fewest"),
    ],
)
def test_what_is_used_wrongly_says_so(args: list[str], message: str) -> None:
    said = analyze(*args, "--from", "/nowhere")
    assert said.exit_code == 2
    assert message in said.output


def test_what_is_no_mirror_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "photo.jpg").touch()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / MANIFEST).write_text("{")
    (tmp_path / "newer").mkdir()
    write_manifest(tmp_path / "newer", Manifest(layout=VERSION + 1, run=1))
    (tmp_path / "began").mkdir()
    write_manifest(tmp_path / "began", Manifest())
    for name, message in {
        "missing": "is no mirror: run `ach mirror --to",
        "empty": "is no mirror: run `ach mirror --to",
        "other": "holds other things and no manifest.json: it is no mirror",
        "other/photo.jpg": "is no mirror",
        "broken": "none that `ach mirror` wrote",
        "newer": "written by a newer ach",
        "began": "without a finished run",
    }.items():
        said = analyze("completion", "--from", tmp_path / name)
        assert (said.exit_code, message in said.output) == (1, True), (name, said.output)


def test_a_mirror_of_one_tenant_has_nothing_of_another(tmp_path: Path) -> None:
    write(tmp_path, {layer.name: [] for layer in LAYERS}, tenant="acme")
    assert analyze("completion", "--from", tmp_path, "--tenant", "acme").exit_code == 0
    said = analyze("completion", "--from", tmp_path, "--tenant", "beta")
    assert said.exit_code == 1
    assert "a mirror of tenant 'acme' alone" in said.output


def test_an_empty_mirror_and_one_of_an_older_layout_answer(tmp_path: Path) -> None:
    write(tmp_path / "old", {layer.name: [] for layer in LAYERS})
    older = Manifest(layout=0, run=1, at=AT.isoformat())
    write_manifest(tmp_path / "old", older)
    said = analyze("all", "--from", tmp_path / "old")
    assert said.exit_code == 0
    assert sum(question.empty in said.output for question in QUESTIONS) == len(QUESTIONS) - 1


def test_a_name_that_is_nowhere_is_refused(mirror: Path) -> None:
    for options, message in (
        (("--achievement", "committ"), "no achievement 'committ' is in this mirror: "),
        (("--by", "colour"), "no trait 'colour' is in this mirror: there is "),
    ):
        said = analyze("retention", "--from", mirror, *options)
        assert (said.exit_code, message in said.output) == (2, True), said.output


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path, drawn(3))
    next(iter((folder / "event").rglob("*.parquet"))).unlink()
    said = analyze("time", "--from", folder)
    assert said.exit_code == 1
    assert "event/dt=" in said.output
    assert "run `ach mirror` again" in said.output


def test_a_table_says_of_when_it_is_and_what_is_to_be_read_with_it(mirror: Path) -> None:
    said = analyze("retention", "--from", mirror)
    assert said.exit_code == 0
    assert "correlation" in said.output
    assert "as of 2026-05-16T00:00:01Z (run 3 of the mirror)" in said.output
    assert "fewer than 50" in said.output


def test_json_has_every_row_with_its_denominator(mirror: Path) -> None:
    said = json.loads(analyze("all", "--from", mirror, "--tenant", "tiny", "--json").output)
    assert (said["run"], said["asked"]["tenants"]) == (3, ["tiny"])
    (completion,) = [one for one in said["analyses"] if one["name"] == "completion"]
    assert {(row["eligible"], row["earned"], row["percent"]) for row in completion["rows"]} <= {
        (9, None, None), (8, None, None), (4, None, None), (3, None, None)
    }  # fmt: skip
    named = [one["rows"] for one in said["analyses"] if one["name"] == "rarity"]
    assert {row["tenant_id"] for rows in named for row in rows} == {"tiny"}


def test_each_bar_of_a_page_says_of_how_many_it_is(mirror: Path, tmp_path: Path) -> None:
    said = analyze("all", "--from", mirror, "--html", tmp_path / "report.html")
    assert said.exit_code == 0, said.output
    page = (tmp_path / "report.html").read_text("utf-8")
    for part in re.split("<section ", page)[1:]:
        name, bars = part.split('"')[1], re.findall(r'<span class="said">(.*?)</span>', part)
        counts = BY_NAME[name].chart.counts
        shape = " of ".join(r"[\d,]+" for _ in counts)
        wanted = rf".+ <small>{shape}</small>" if counts else "[^<]+"
        assert all(re.fullmatch(wanted, one) for one in bars), (name, bars)
        assert escape(BY_NAME[name].chart.axis).replace("&#x27;", "&#39;") in part or not bars
    assert "correlation" in page
    assert "Wilson" in page


def test_a_page_escapes_what_others_have_named(mirror: Path, tmp_path: Path) -> None:
    said = analyze("all", "--from", mirror, "--fewest", "1", "--html", tmp_path / "report.html")
    assert said.exit_code == 0, said.output
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not {"\u202e", "\x1b"} & set(page)
    assert "src=" not in page
    assert all(f'<section id="{question.name}">' in page for question in QUESTIONS)
    assert "correlation" in page
    assert analyze("time", "--from", mirror, "--html", tmp_path / "no" / "report.html").exit_code == 1


def test_a_terminal_shows_what_others_have_named_and_does_not_obey(mirror: Path) -> None:
    said = analyze("quality", "--from", mirror)
    assert "\x1b" not in said.output
    assert "\u202e" not in said.output
