"""Every figure against the slow reference, over drawn worlds: teams, revoked and contested unlocks, hostile names."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.worker.analysis.reference import REFERENCE, World
from tests.worker.analysis.worlds import AT, drawn, write
from worker.analysis import answers
from worker.analysis.answers import Asked, UnknownNameError, ask
from worker.analysis.questions import BY_NAME, QUESTIONS, Kind, Question
from worker.mirror.duck import Bounds
from worker.mirror.manifest import read_manifest, write_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.worker.analysis.reference import Layers
    from worker.mirror.duck import Duck

BOUNDS = Bounds("256MB", 2)
CASES = {
    "all": Asked(),
    "tenant": Asked(tenants=("o'brien; --", "tiny"), fewest=5),
    "few": Asked(fewest=1, landmark_day=3, late_seconds=3599, near_percent=50, gap_times=2),
    "trait": Asked(fewest=3, trait="plan"),
    "achievement": Asked(fewest=3, achievement="levels", landmark_day=14),
    "nothing": Asked(tenants=("x' OR 'a'='a",)),
}


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Layers, Path]]:
    folder = tmp_path_factory.mktemp("worlds")
    return [(layers, write(folder / str(seed), layers)) for seed in (1, 2) for layers in [drawn(seed)]]


@pytest.mark.parametrize("case", CASES)
def test_every_figure_is_what_its_definition_says(worlds: list[tuple[Layers, Path]], case: str) -> None:
    layers, folder = worlds[len(case) % 2]
    found = ask(folder, QUESTIONS, CASES[case], BOUNDS).answers
    slow = World(layers, CASES[case], AT)
    for answer in found:
        assert_same(answer.question, answer.rows, REFERENCE[answer.question.name](slow))
        assert answer.rows or case in {"nothing", "achievement"}
    figures = [cell for one in found for row in one.rows for cell in row if not isinstance(cell, str)]
    assert case == "nothing" or len([one for one in figures if one]) > 100


@pytest.mark.parametrize("hostile", ["'; DROP TABLE asked; --", "\\'\n", ""])
def test_names_are_values(worlds: list[tuple[Layers, Path]], hostile: str) -> None:
    for asked in (Asked(achievement=hostile), Asked(trait=hostile)):
        with pytest.raises(UnknownNameError, match="is in this mirror"):
            ask(worlds[0][1], QUESTIONS, asked, BOUNDS)


def assert_same(question: Question, rows: list[tuple[Any, ...]], wanted: list[tuple[Any, ...]]) -> None:
    kinds = [column.kind for column in question.columns]
    found, expected = _by_key(question, rows), _by_key(question, wanted)
    assert found.keys() == expected.keys(), question.name
    for key, row in found.items():
        for kind, cell, exact in zip(kinds, row, expected[key], strict=True):
            where = question.name, row, expected[key]
            if kind is Kind.PERCENT and cell is not None:
                assert exact is not None, where
                assert abs(Fraction(cell) - Fraction(exact)) <= Fraction(1, 20) + Fraction(1, 10**6), where
            else:
                assert cell == exact, where


def _by_key(question: Question, rows: list[tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    named = {"day", "n"}
    keys = [at for at, one in enumerate(question.columns) if one.kind is Kind.TEXT or one.name in named]
    found = {repr([row[at] for at in keys]): tuple(row) for row in rows}
    assert len(found) == len(rows), question.name
    return found


def test_a_run_that_deletes_a_file_meanwhile_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "mirror", drawn(1))
    wanted = ask(folder, [BY_NAME["time"]], Asked(), BOUNDS).answers
    real = answers.prepare

    def prepare(duck: Duck, asked: Asked, at: str) -> None:
        manifest = read_manifest(folder)
        assert manifest is not None
        if manifest.run == 3:
            (old,) = manifest.files("event")
            new = old.path.replace("00000001-0", "00000004-1000")
            (folder / old.path).rename(folder / new)
            manifest.layers["event"] = [msgspec.structs.replace(old, path=new)]
            manifest.run = 4
            write_manifest(folder, manifest)
        real(duck, asked, at)

    monkeypatch.setattr(answers, "prepare", prepare)
    found = ask(folder, [BY_NAME["time"]], Asked(), BOUNDS)
    assert (found.age.run, found.answers) == (4, wanted)
