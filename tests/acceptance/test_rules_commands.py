"""`ach rules`, `ach rollback` and `ach revoke` of many unlocks, as an operator uses them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from tests.acceptance.conftest import said

if TYPE_CHECKING:
    from tests.acceptance.conftest import Shell
    from tests.acceptance.herd import Ran

pytestmark = pytest.mark.anyio

RULES = """event a.done {}
achievement x { title "X" when count(event=a.done, >= 2) }
"""
ONE = """
# For a start.
achievement one { title "One" when count(event=a.done, >= 1) }
example "both" {
  at 2026-05-01T10:00:00Z ada a.done {}
  at 2026-05-01T11:00:00Z ada a.done {}
  expect ada x
  expect ada one
}
example "one alone" {
  at 2026-05-01T10:00:00Z ada a.done {}
  expect ada one
}
"""
AFTER = 'achievement last { title "Last" after one when count(event=a.done, >= 2) }\n'


def read(ran: Ran) -> Any:  # noqa: ANN401 - JSON
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def emit(shell: Shell, *users: str, at: str = "2026-05-01T10:00:00Z") -> None:
    events = [
        {"event_id": f"{user}{at}", "tenant_id": "t", "user_id": user, "event_type": "a.done", "occurred_at": at}
        for user in users
    ]
    stream = shell.write("stream.jsonl", "".join(json.dumps(one) + "\n" for one in events))
    assert shell.ach("emit", stream, "--quiet").code == 0


async def test_rules_are_listed_shown_and_retired(on_servers: Shell) -> None:
    ach = on_servers.ach
    assert ach("migrate").code == 0
    said(ach("rules", "list"), 1, "no rules are in force")
    said(ach("apply", on_servers.write("rules.ach", RULES), "-m", "to begin with"), 0)
    emit(on_servers, "ann", "bob")
    assert ach("run", "--drain").code == 0
    said(ach("apply", on_servers.write("rules.ach", RULES + ONE + AFTER), "-m", "one and last"), 0, "in force: epoch 2")
    held = {one["achievement"]: (one["version"], one["holders"]) for one in read(ach("rules", "list", "--json"))}
    assert held == {"last": (1, 0), "one": (1, 2), "x": (1, 0)}
    said(ach("rules", "list"), 0, "3 achievements", "One")
    said(ach("rules", "show", "one"), 0, "one version 1: since epoch 2", '\n\nachievement one { title "One"')
    said(ach("rules", "show", "two"), 1, "no achievement two was ever in force")
    for named, said_of in ((("-t", "nope"), "of tenant 'nope'"), (("-u", "eve", "-t", "t"), "of 'eve' in tenant 't'")):
        for how in ((), ("--dry-run",), ("--json",)):
            said(ach("rebuild", *named, *how), 1, f"no event {said_of} is heard", "is the name right?")
    said(ach("rebuild", "-u", "ann", "-t", "t"), 0, "1 subject folded again, 1 event read")

    refused = said(ach("rules", "retire", "one", "--reason", "a mistake"), 1, "do not stand without one")
    assert "rules.ach:" in refused
    said(ach("rules", "retire", "two", "--reason", "a mistake"), 1, "no achievement two is in force")
    said(ach("rules", "retire", "last", "--reason", "first of all", "--dry-run"), 0, "retired: last version 1")
    assert len(read(ach("rules", "list", "--json"))) == 3
    said(ach("rules", "retire", "last", "--reason", "first of all"), 0, "epoch 3", "out of your rule files too")
    retired = read(ach("rules", "retire", "one", "--reason", "a mistake", "--json"))
    assert (retired["epoch"], retired["retired"]) == (4, [{"achievement": "one", "version": 1}])
    assert [one["achievement"] for one in read(ach("rules", "list", "--json"))] == ["x"]
    assert {one["status"] for one in read(ach("unlocks", "--json"))} <= {"granted", "announced"}
    said(ach("replay", "--from-ledger"), 0, "2  retired  granted in", "epoch 4), and what operators have decided")
    said(ach("rebuild", "--dry-run"), 0, "unlocks that would be corrected: none")
    (shown,) = read(ach("rules", "show", "one", "--json"))
    assert (shown["epoch"], shown["retired_at"] is None) == (2, False)

    epochs = read(ach("rules", "history", "--json"))
    assert [(one["epoch"], one["message"]) for one in epochs] == [
        (4, "a mistake"),
        (3, "first of all"),
        (2, "one and last"),
        (1, "to begin with"),
    ]
    of_one = read(ach("rules", "history", "one", "--json"))
    assert [(one["epoch"], len(one["new"]), len(one["retired"])) for one in of_one] == [(4, 0, 1), (2, 1, 0)]
    said(ach("rules", "history", "two"), 1, "was ever in force")
    said(ach("rules", "history", "--limit", "1"), 0, "1 epoch", "a mistake")


async def test_rules_are_rolled_back(on_servers: Shell) -> None:
    ach = on_servers.ach
    first = on_servers.write("rules.ach", RULES)
    said(ach("apply", first), 0, "epoch 1")
    emit(on_servers, "ann", "bob")
    assert ach("run", "--drain").code == 0
    said(ach("apply", on_servers.write("rules.ach", RULES + ONE)), 0, "in force: epoch 2")

    said(ach("rollback", "7", "--yes"), 1, "there is no epoch 7", "ach rules history")
    said(ach("rollback", "2", "--yes"), 1, "epoch 2 is in force; nothing was done")
    said(ach("rollback", "1", "--json"), 2, "--json goes with --yes")
    assert read(ach("rollback", "1", "--dry-run", "--json"))["retired"] == [{"achievement": "one", "version": 1}]
    asked = said(ach("rollback", "1", stdin=b"n\n"), 1, "would be in force: epoch 3, with the rules of epoch 1")
    assert "retired: one version 1" in asked
    assert read(ach("rules", "history", "--json"))[0]["epoch"] == 2
    done = said(ach("rollback", "1", "-m", "a mistake", stdin=b"y\n"), 0, "in force: epoch 3", "silenced: 2 unlocks")
    assert "retired: one version 1" in done
    said(ach("rollback", "1", "--yes"), 1, "epoch 3 is in force, with the rules of epoch 1")
    listed = {one["epoch"]: (one["state"], one["message"]) for one in read(ach("rules", "history", "--json"))}
    assert listed == {3: ("done", "a mistake"), 2: ("rolled_back", ""), 1: ("done", "")}
    assert ach("run", "--drain").code == 0
    assert {one["status"] for one in read(ach("unlocks", "--json"))} == {"silent"}
    said(ach("change", "announce", "2"), 1, "change 2 is rolled back", "ach grant")
    # And forth again.
    forth = read(ach("rollback", "2", "--yes", "--json"))
    assert (forth["epoch"], forth["silenced"], forth["backfill"]["epoch"]) == (4, 0, 4)
    assert len(read(ach("rules", "list", "--json"))) == 2


async def test_a_change_that_is_built_is_not_rolled_back(on_servers: Shell, database_url: str) -> None:
    ach = on_servers.ach
    said(ach("apply", on_servers.write("rules.ach", RULES)), 0)
    said(ach("apply", on_servers.write("rules.ach", RULES + ONE)), 0)
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE change SET state = 'building', ended_at = NULL WHERE change_id = 2")
    await connection.close()
    said(ach("rollback", "1", "--yes"), 1, "change 2 is building; nothing was done", "ach change cancel 2")
    said(ach("change", "cancel", "2"), 0)
    said(ach("rollback", "1", "--yes"), 0, "in force: epoch 3")


async def test_what_a_change_has_granted_is_revoked(on_servers: Shell) -> None:
    ach = on_servers.ach
    said(ach("apply", on_servers.write("rules.ach", RULES)), 0)
    emit(on_servers, "ann", "bob")
    assert ach("run", "--drain").code == 0
    said(ach("apply", on_servers.write("rules.ach", RULES + ONE)), 0)
    emit(on_servers, "cy")
    assert ach("run", "--drain").code == 0
    said(ach("revoke", "--change", "9", "--yes"), 1, "there is no change 9")
    said(ach("revoke", "--change", "1", "--yes"), 1, "change 1 has granted nothing that is not revoked")
    said(ach("revoke", "--change", "2", "--version", "1"), 2, "--version, --tenant and --subject go with --achievement")
    said(ach("revoke", "--change", "2", "-a", "one"), 2, "either by their ids, or by --achievement, or by --change")
    said(ach("revoke", "--change", "2", stdin=b"n\n"), 1, "2 unlocks to revoke", "one of ann in t", "one of bob in t")
    assert read(ach("revoke", "--change", "2", "--reason", "a mistake", "--yes", "--json"))["revoked"] == 2
    states = {one["subject"]: one["status"] for one in read(ach("unlocks", "--json"))}
    assert states == {"ann": "revoked", "bob": "revoked", "cy": "announced"}
    said(ach("revoke", "-a", "one", "--version", "2", "--yes"), 1, "there is no such unlock of one to revoke")
    said(ach("revoke", "-a", "one", "--version", "1", "--yes"), 0, "revoked 1 unlock")
