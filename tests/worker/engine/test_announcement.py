"""What announcements say, against the schema of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import pytest

from worker.engine.announcement import (
    Claimed,
    Correction,
    announcement,
    correction,
    correction_subject,
    schema,
    schema_text,
    unlock_subject,
    withheld,
)
from worker.engine.rule_set import Deployed, RuleFile, read_rules

ROOT = Path(__file__).parents[3]
RULES = """
event a.done {}
achievement plain { title "Plain" when count(event=a.done, >= 1) }
achievement ladder {
  title { en: "Ladder", "pt-BR": "Escada" } about "Climb" family climbing
  tier low { when count(event=a.done, >= 1) reward { xp: 1.50 } }
  tier high { title "High" when count(event=a.done, >= 2, unless=a.done) }
}
"""
NAME = str(UUID(int=7))
KINDS = ("amended", "contested", "restored", "revoked", "granted_by_hand", "erased")
STATUS = {"contested": "contested", "revoked": "revoked", "erased": "erased"}


def rules() -> Deployed:
    return Deployed(1, read_rules([RuleFile("rules.ach", RULES)]), since={}, prefix="events", skew=0)


def claimed(origin: str = "live") -> Claimed:
    return Claimed(UUID(int=7), "t", "user", "u.1", "ladder", "low", "", 1, 0, "e1", 5, '{"xp": 1.50}', origin)


def change(kind: str) -> Correction:
    return Correction(
        UUID(int=7),
        2,
        kind,
        "t",
        "user",
        "u.1",
        "ladder",
        "low",
        "",
        "live",
        5,
        '{"xp": 1.50}',
        "granted",
        STATUS.get(kind, "granted"),
        1,
        1,
        0,
        3,
        "e1",
        "e2",
        False,
        kind == "granted_by_hand",
        "ann",
        "why",
        9,
        False,
    )


def valid(body: bytes) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(body)
    jsonschema.Draft202012Validator(schema()).validate(said)
    return said


def test_the_schema_is_the_one_that_is_kept() -> None:
    """`ach schema unlock > docs/unlock.schema.json`."""
    assert (ROOT / "docs" / "unlock.schema.json").read_bytes() == schema_text()
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("origin", ["live", "backfill", "settled", "replayed", "by_hand"])
def test_a_grant_fits_the_schema(origin: str) -> None:
    said = valid(announcement(claimed(origin), NAME, rules().words("ladder", 1, "low")))
    assert (said["kind"], said["revision"], said["origin"]) == ("granted", 1, origin)
    assert said["by_hand"] == (origin == "by_hand")


@pytest.mark.parametrize("kind", KINDS)
def test_a_correction_fits_the_schema(kind: str) -> None:
    said = valid(correction(change(kind), rules().words("ladder", 1, "low")))
    assert (said["kind"], said["revision"], said["status"]) == (kind, 2, STATUS.get(kind, "granted"))
    assert said["actor"] == "ann"
    if kind == "erased":
        assert not {"earned_at", "event_id", "reward", "title", "reason"} & said.keys()
        return
    assert said["changed"]["event_id"] == {"from": "e1", "to": "e2"}
    assert said["changed"]["earned_at"]["to"] == said["earned_at"]
    assert "version" not in said["changed"]
    assert said.get("reward_to_take_back") == ({"xp": 1.5} if kind == "revoked" else None)


def test_what_takes_the_place_of_a_grant_fits_the_schema() -> None:
    said = valid(withheld(change("revoked")))
    assert (said["kind"], said["revision"]) == ("withheld", 1)


def test_what_the_rules_say_is_said() -> None:
    low, high, plain = (
        json.loads(announcement(claimed(), "x", rules().words(name, 1, tier)))
        for name, tier in (("ladder", "low"), ("ladder", "high"), ("plain", None))
    )
    assert low["title"] == {"en": "Ladder", "pt-BR": "Escada"}
    assert (low["about"], low["family"], low["final"]) == ("Climb", "climbing", False)
    assert high["title"] == {"und": "High"}
    assert (plain["title"], plain["about"], plain["family"], plain["final"]) == ({"und": "Plain"}, None, None, True)


def test_of_a_version_that_is_not_in_force_nothing_is_said() -> None:
    said = valid(announcement(claimed(), NAME, rules().words("ladder", 9, "low")))
    assert (said["title"], said["about"], said["family"], said["final"]) == (None, None, None, None)


def test_what_an_operator_granted_is_final() -> None:
    words = rules().words("ladder", 1, "high")
    assert json.loads(announcement(claimed("by_hand"), "x", words))["final"] is True
    assert json.loads(announcement(claimed(), "x", words))["final"] is False
    assert json.loads(correction(change("granted_by_hand"), words))["final"] is True


def test_each_revision_has_a_subject_of_its_own() -> None:
    one = change("amended")
    name = str(one.unlock_id)
    assert unlock_subject("unlocks", claimed(), name) == unlock_subject("unlocks", one, name)
    assert correction_subject("unlocks", one) == f"{unlock_subject('unlocks', one, name)}.2"
    assert correction_subject("unlocks", one._replace(revision=3)).endswith(f"{name}.3")
