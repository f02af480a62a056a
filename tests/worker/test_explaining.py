"""`ach explain` on recordings, in this process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from worker.cli import main

if TYPE_CHECKING:
    from pathlib import Path

RULES = """
event a { team: string? }
achievement two { title "Two" when count(event=a, >= 2) }
achievement many {
  title "Many"
  tier low { when count(event=a, >= 1) }
  tier high { when count(event=a, >= 30) }
}
achievement crew { title "Crew" scope team when count(event=a, >= 2) }
achievement all_of_us { title "Us" scope tenant when count(event=a, >= 2) }
"""


def _event(number: int, tenant: str = "t", **other: Any) -> str:  # noqa: ANN401 - any JSON
    said = {
        "event_id": f"e{number}",
        "event_type": "a",
        "user_id": "ann",
        "tenant_id": tenant,
        "occurred_at": f"2026-04-13T09:{number:02d}:00Z",
        "payload": {"team": "red"},
    }
    return json.dumps({**said, **other})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.ach").write_text(RULES)
    lines = [_event(1), _event(1), _event(2), _event(3, user_id="bob"), _event(4, "other", user_id="bob"), "no event"]
    (tmp_path / "stream.jsonl").write_text("\n".join(lines))
    return tmp_path


def _explain(folder: Path, *args: str) -> Result:
    asked = ["explain", str(folder / "stream.jsonl"), "--rules", str(folder / "rules.ach"), *args]
    return CliRunner().invoke(main, asked, catch_exceptions=False)


def test_earned(folder: Path) -> None:
    ran = _explain(folder, "--user", "ann", "--achievement", "two")
    assert ran.exit_code == 0
    assert ran.stdout.startswith("ann has two (version 1), earned at 2026-04-13T09:02:00Z\n")
    assert "2026-04-13T09:01:00Z  a  e1  counts: 1 of 2" in ran.stdout
    assert "1 dead letter left out" in ran.stderr


def test_as_of_an_earlier_moment(folder: Path) -> None:
    ran = _explain(folder, "-u", "ann", "-a", "two", "--now", "2026-04-13T09:01:30Z")
    assert "ann has not earned two yet, as of 2026-04-13T09:01:30Z: 1 of 2" in ran.stdout


def test_json_has_every_tier(folder: Path) -> None:
    ran = _explain(folder, "-u", "ann", "-a", "many", "--format", "json")
    told = json.loads(ran.stdout)["explanations"]
    assert [(each["tier"], each["outcome"], each["missing"]) for each in told] == [
        ("low", "earned", []),
        ("high", "not yet", ["28 more a"]),
    ]


def test_a_named_tier_and_few_events(folder: Path) -> None:
    ran = _explain(folder, "-u", "ann", "-a", "many.high", "--events", "1")
    assert "many.low" not in ran.stdout
    assert "... 1 more" in ran.stdout


def test_other_scopes(folder: Path) -> None:
    assert "team red has crew" in _explain(folder, "--subject", "red", "-a", "crew", "--tenant", "t").stdout
    assert "tenant t has all_of_us" in _explain(folder, "--subject", "t", "-a", "all_of_us").stdout


def test_a_user_of_several_tenants(folder: Path) -> None:
    ran = _explain(folder, "-u", "bob", "-a", "two")
    assert ran.exit_code == 1
    assert "several tenants: other, t" in ran.stderr
    assert "1 of 2" in _explain(folder, "-u", "bob", "-a", "two", "--tenant", "other").stdout


def test_somebody_unknown(folder: Path) -> None:
    ran = _explain(folder, "-u", "eve", "-a", "two")
    assert ran.exit_code == 1
    assert "no event that these rules hear is of user eve" in ran.stderr
    assert "eve has not earned two yet" in _explain(folder, "-u", "eve", "-a", "two", "--tenant", "t").stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["-a", "tow"], "there is no achievement tow"),
        (["-a", "many.gold"], "many has no tier gold"),
        (["-a", "two", "--occurrence", "1"], "two does not repeat"),
    ],
)
def test_what_is_not_there(folder: Path, args: list[str], message: str) -> None:
    ran = _explain(folder, "-u", "ann", *args)
    assert ran.exit_code == 1
    assert message in ran.stderr


@pytest.mark.parametrize("args", [[], ["stream.jsonl"], ["-r", "rules.ach"], ["x", "-r", "y", "--from-ledger"]])
def test_wrong_use(args: list[str]) -> None:
    assert CliRunner().invoke(main, ["explain", "-u", "x", "-a", "y", *args]).exit_code == 2


def test_a_stream_that_is_not_there(folder: Path) -> None:
    (folder / "stream.jsonl").unlink()
    ran = _explain(folder, "-u", "ann", "-a", "two")
    assert ran.exit_code == 1
    assert "No such file" in ran.stderr
