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
    explained = json.loads(ran.stdout)["explanations"]
    assert [(each["tier"], each["outcome"], each["missing"]) for each in explained] == [
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


def test_an_unknown_user(folder: Path) -> None:
    ran = _explain(folder, "-u", "eve", "-a", "two")
    assert ran.exit_code == 1
    assert "these rules hear no event of user eve" in ran.stderr
    ran = _explain(folder, "--user", "eve", "-t", "t", "--achievement", "two")
    assert ran.exit_code == 0
    assert "the rules have heard no event of user 'eve' of tenant 't': this is how it begins\n" in ran.stderr
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


# -- travellers -------------------------------------------------------------------------------------------------------

TRAVEL = """
event a {}
event commit.created {}
traits from user.updated { timezone: string, plan: string }
achievement daily { title "A commit today" when count(event=commit.created, >= 1) repeat every day tz=event }
achievement three { title "Three today" when count(event=commit.created, >= 3) repeat every day tz=event }
achievement lesson { title "Today" when count(event=a, >= 1) repeat every day tz=user }
achievement habit { title "Two days in a row" when streak(event=a, per=day, >= 2, tz=user) }
achievement pairs {
  title "Pairs"
  repeat each
  tier low { when count(event=a, >= 1) }
  tier high { when count(event=a, >= 3) }
}
achievement pro { title "Pro" when count(event=a, >= 2, within=1d) for plan = "pro" after habit }
"""


def _at(number: int, kind: str, when: str, **payload: str) -> str:
    return _event(number, event_type=kind, occurred_at=when, payload=payload)


@pytest.fixture
def travel(tmp_path: Path) -> Path:
    (tmp_path / "rules.ach").write_text(TRAVEL)
    lines = [
        _at(1, "user.updated", "2026-04-13T00:00:00Z", timezone="Asia/Tokyo"),
        _at(2, "a", "2026-04-13T16:00:00Z"),
        _at(3, "commit.created", "2026-04-14T08:00:00+09:00"),
        _at(4, "user.updated", "2026-04-14T20:00:00Z", timezone="America/New_York"),
        _at(5, "a", "2026-04-15T12:00:00Z"),
        _at(6, "user.updated", "2026-04-15T12:30:00Z", plan="free"),
        _at(7, "a", "2026-04-15T13:00:00Z"),
        _at(8, "user.updated", "2026-04-15T14:00:00Z", plan="pro"),
    ]
    (tmp_path / "stream.jsonl").write_text("\n".join(lines))
    return tmp_path


def _one(folder: Path, *args: str) -> Any:  # noqa: ANN401 - any JSON
    ran = _explain(folder, "-u", "ann", "--format", "json", *args)
    assert ran.exit_code == 0, ran.stderr
    (explanation,) = json.loads(ran.stdout)["explanations"]
    return explanation


def _listed(explanation: Any) -> dict[str, str]:  # noqa: ANN401 - any JSON
    return {each["event_id"]: "; ".join(did["text"] for did in each["did"]) for each in explanation["events"]}


@pytest.mark.parametrize(
    ("achievement", "now", "event"),
    [
        ("daily", "2026-04-13T23:30:00Z", "e3"),  # it is the 13th by UTC, and was the 14th by the clock of the commit
        ("lesson", "2026-04-13T17:00:00Z", "e2"),
        ("lesson", "2026-04-15T14:00:00Z", "e2"),
    ],
)
def test_an_occurrence_that_was_earned_is_found_whatever_day_it_is_now(
    travel: Path, achievement: str, now: str, event: str
) -> None:
    earned = _one(travel, "-a", achievement, "--occurrence", "2026-04-14", "--now", now)
    assert (earned["outcome"], earned["earned_by"]) == ("earned", event)


def test_a_day_that_has_begun_for_an_event_may_be_asked_for(travel: Path) -> None:
    asked = _one(travel, "-a", "three", "--occurrence", "2026-04-14", "--now", "2026-04-13T23:30:00Z")
    assert (asked["outcome"], asked["when"]["progress"]["current"]) == ("not yet", 1)
    assert _listed(asked) == {"e3": "counts: 1 of 3"}
    other = _explain(travel, "-u", "ann", "-a", "three", "--occurrence", "2026-04-15", "--now", "2026-04-13T23:30:00Z")
    assert (other.exit_code, "is no day up to now" in other.stderr) == (1, True)


def test_the_units_of_a_streak_are_listed_with_their_events(travel: Path) -> None:
    assert _listed(_one(travel, "-a", "habit")) == {
        "e1": 'timezone is "Asia/Tokyo"',
        "e2": "day 2026-04-14: 1 of 2",
        "e4": 'timezone is "America/New_York"',
        "e5": "day 2026-04-15: 2 of 2",
    }


def test_what_it_reads_beside_the_condition_is_listed(travel: Path) -> None:
    assert _listed(_one(travel, "-a", "pro")) == {
        "e1": 'timezone is "Asia/Tokyo"',
        "e2": "counts towards habit",
        "e4": 'timezone is "America/New_York"',
        "e5": "counts: 1 of 2; earns habit",
        "e6": 'plan is "free"',
        "e7": "counts: 2 of 2",
        "e8": 'plan is "pro"; meets the last requirement outside the `when`',
    }


def test_an_occurrence_that_only_one_tier_has(travel: Path) -> None:
    low, high = json.loads(_explain(travel, "-u", "ann", "-a", "pairs", "--format", "json").stdout)["explanations"]
    assert (low["occurrence"], high["occurrence"]) == ("4", "2")
    assert _one(travel, "-a", "pairs", "--occurrence", "3")["tier"] == "low"
    ran = _explain(travel, "-u", "ann", "-a", "pairs", "--occurrence", "9")
    assert (ran.exit_code, 'there is no occurrence "9" yet' in ran.stderr) == (1, True)
