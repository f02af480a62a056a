"""Commands on real servers: apply, emit, run, digest, dead, demo; signals, crashes, servers that are down."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING

import asyncpg
import nats
import pytest

from tests.acceptance.conftest import ROOT, read_until
from worker.commands.servers import whoami

if TYPE_CHECKING:
    from tests.acceptance.conftest import Shell

pytestmark = pytest.mark.anyio

RULES = ROOT / "fixtures" / "rules" / "commits.ach"
LARK = ROOT / "fixtures" / "streams" / "lark.jsonl.gz"


@pytest.fixture
def deployed(on_servers: Shell) -> Shell:
    """A shell whose environment names servers with the rules applied."""
    on_servers.environment.update(ACH_BATCH_SIZE="100", ACH_ACK_WAIT="2")
    ran = on_servers.ach("apply", RULES)
    assert ran.code == 0, ran.err
    assert "in force: epoch 1" in ran.out
    return on_servers


async def test_a_worker_gives_the_digest_of_a_replay(deployed: Shell) -> None:
    expected = json.loads(deployed.ach("replay", LARK, "-r", RULES, "--json").out)
    assert deployed.ach("emit", LARK).out.startswith("published 2,699 messages, 1,243 known")
    assert deployed.ach("run", "--drain").code == 0
    stored = json.loads(deployed.ach("digest", "--json").out)
    assert stored["digest"] == expected["digest"]
    assert stored["unlocks"] == expected["unlocks"]
    assert stored["contested"] == []


async def test_the_ledger_is_replayed_and_compared(deployed: Shell, database_url: str) -> None:
    deployed.ach("emit", LARK)
    deployed.ach("run", "--drain")
    ran = deployed.ach("replay", "--from-ledger", "--twice")
    first, second = re.findall(r"^digest (.+)$", ran.out, re.MULTILINE)
    assert (ran.code, first) == (0, second)
    assert f"digest {first}\n" in deployed.ach("digest").out
    assert "production has exactly what the events earn by the rules in force (epoch 1)" in ran.out
    day = deployed.ach("replay", "--from-ledger", "--since", "2018-03-01T00:00:00Z", "--json")
    assert (day.code, json.loads(day.out)["compared"]) == (0, False)
    assert "nothing was folded" in deployed.ach("replay", "--from-ledger", "--day", "1999-01-01").err

    connection = await asyncpg.connect(database_url)
    await connection.execute("DELETE FROM unlock WHERE unlock_id = (SELECT min(unlock_id::text)::uuid FROM unlock)")
    await connection.close()
    broken = deployed.ach("replay", "--from-ledger")
    assert broken.code == 1
    assert "1  missing  earned by the events, not granted in production" in broken.out
    tried = deployed.ach("replay", "--from-ledger", "-r", RULES, "-t", "lark-parser/lark")
    assert tried.code == 0
    assert "by these rules" in tried.out


async def test_a_replay_says_what_is_wrong(shell: Shell) -> None:
    instant = "2026-05-01T00:00:00Z"
    for words, said in (
        (("--from-ledger", LARK), "--from-ledger takes no STREAM"),
        (("--day", "2026-05-01", LARK, "-r", RULES), "--day goes with --from-ledger"),
        (("--from-ledger", "--day", "yesterday"), "'yesterday' is no date, such as 2026-05-01"),
        (("--from-ledger", "--user", "ann"), "--user needs --tenant"),
        (("--from-ledger", "--since", instant, "--until", instant), "the window is empty"),
        ((LARK,), "name a STREAM and --rules, or --from-ledger"),
    ):
        ran = shell.ach("replay", *words)
        assert (ran.code, said in " ".join(ran.err.split())) == (2, True), ran.err


async def test_progress_of_a_user(deployed: Shell) -> None:
    deployed.ach("emit", LARK)
    deployed.ach("run", "--drain")
    rows = json.loads(deployed.ach("progress", "u_02d24007efaf7a00", "-t", "lark-parser/lark", "--json").out)
    by_name = {(row["achievement"], row["tier"]): row for row in rows}
    assert by_name["committer", "bronze"]["earned"]
    silver = by_name["committer", "silver"]
    assert (silver["target"], silver["earned"]) == ("100", False)
    assert 0 < silver["percent"] < 100
    assert int(silver["current"]) == silver["percent"]
    shown = deployed.ach("progress", "u_02d24007efaf7a00", "-t", "lark-parser/lark").out
    assert f"{silver['current']}/100" in shown
    unknown = deployed.ach("progress", "stranger", "-t", "lark-parser/lark")
    assert (unknown.code, "0/100" in unknown.out) == (0, True)
    assert "is not known: the rules have heard no event of it" in unknown.err


async def test_unlocks_are_listed_and_revoked_and_users_erased(deployed: Shell) -> None:
    deployed.ach("emit", LARK)
    deployed.ach("run", "--drain")
    whose = ("--tenant", "lark-parser/lark", "--subject", "u_02d24007efaf7a00")
    listed = deployed.ach("unlocks", *whose).out
    line = next(line for line in listed.splitlines() if "committer.bronze" in line)
    assert "announced" in line
    unlock = line.split()[0]
    asked = deployed.ach("revoke", unlock)  # and got no answer
    assert asked.code == 1
    assert asked.out.startswith("1 unlock to revoke:\n  committer.bronze of u_02d24007efaf7a00 in lark-parser/lark\n")
    assert deployed.ach("revoke", unlock, stdin=b"n\n").code == 1
    assert deployed.ach("revoke", unlock, stdin=b"y\n").out.endswith("revoked 1 unlock\n")
    assert deployed.ach("revoke", unlock, "--yes").code == 1
    assert "committer.bronze" in deployed.ach("unlocks", "--status", "revoked").out
    assert deployed.ach("erase", "u_02d24007efaf7a00", "-t", "lark-parser/lark").code == 1  # without confirmation
    erased = deployed.ach("erase", "u_02d24007efaf7a00", "-t", "lark-parser/lark", "--yes")
    assert erased.code == 0
    assert "EVENTS events.lark-parser%2Flark.u_02d24007efaf7a00.>" in erased.out
    assert "backups" in erased.out
    assert deployed.ach("unlocks", *whose).out.startswith("0 unlocks")
    deployed.environment["ACH_CONSUMER"] = "again"
    deployed.ach("run", "--drain")
    assert deployed.ach("unlocks", *whose).out.startswith("0 unlocks")


async def test_unlocks_are_revoked_by_achievement(deployed: Shell) -> None:
    deployed.ach("emit", LARK)
    deployed.ach("run", "--drain")
    assert deployed.ach("revoke").code == 2
    assert deployed.ach("revoke", "-a", "committer", "00000000-0000-0000-0000-000000000000").code == 2
    assert deployed.ach("revoke", "00000000-0000-0000-0000-000000000000", "-t", "t").code == 2
    assert deployed.ach("revoke", "-a", "committer", "--reason", "x" * 1001).code == 2
    assert deployed.ach("revoke", "-a", "committer", "-t", "nowhere", "--yes").code == 1
    asked = deployed.ach("revoke", "-a", "committer.bronze").out
    number = int(asked.split()[0].replace(",", ""))
    assert len([line for line in asked.splitlines() if line.startswith("  committer.bronze of ")]) == min(number, 20)
    done = deployed.ach("revoke", "-a", "committer.bronze", "--yes", "--by", "the boss", "--reason", "a bad rule")
    assert (done.code, done.out.splitlines()[-1]) == (0, f"revoked {number} unlocks")
    assert deployed.ach("revoke", "-a", "committer.bronze", "--yes").code == 1


async def test_an_achievement_is_granted_by_hand(deployed: Shell) -> None:
    whose = ("ann", "committer.bronze", "--tenant", "t")
    refused = deployed.ach("grant", "ann", "commiter.bronze", "-t", "t", "--reason", "a prize")
    assert (refused.code, "did you mean committer?" in refused.err) == (1, True)
    assert deployed.ach("grant", *whose).code == 2  # without a reason
    granted = deployed.ach("grant", *whose, "--reason", "a prize", "--by", "the boss")
    assert granted.out.startswith("granted committer.bronze of ann in t: unlock ")
    unlock = granted.out.split()[-1]
    assert deployed.ach("run", "--drain").code == 0
    listed = deployed.ach("unlocks", "--tenant", "t").out
    assert (unlock in listed, "announced, by hand" in listed) == (True, True)
    assert "nothing changed" in deployed.ach("grant", *whose, "--reason", "again").out
    assert deployed.ach("revoke", unlock, "--reason", "a mistake", "--by", "the boss", "--yes").code == 0
    again = deployed.ach("grant", *whose, "--reason", "no mistake")
    assert again.out.startswith("granted committer.bronze of ann in t again, which had been revoked")
    connection = await asyncpg.connect(deployed.environment["DATABASE_URL"])
    try:
        rows = await connection.fetch("SELECT decision, actor, reason FROM evaluation ORDER BY evaluation_id")
    finally:
        await connection.close()
    assert [tuple(row) for row in rows] == [
        ("granted_by_hand", "the boss", "a prize"),
        ("revoked", "the boss", "a mistake"),
        ("granted_by_hand", whoami(), "no mistake"),
    ]
    assert json.loads(deployed.ach("digest", "--json").out)["unlocks"] == []


REWARDED = 'event a.done {}\nachievement vast { title "Vast" when count(event=a.done, >= 1) reward { x: "%s" } }\n'


async def test_rewards_that_cannot_be_announced_are_not_applied(deployed: Shell) -> None:
    deployed.write("vast.ach", REWARDED % ("x" * 70_000))
    assert "ACH423" in deployed.ach("check", "vast.ach").out
    ran = deployed.ach("apply", "vast.ach")
    assert (ran.code, "ACH423" in ran.out, "nothing was done" in ran.err) == (1, True, True)
    client = await nats.connect(deployed.environment["NATS_URL"])
    try:
        # Deployed before: the stream of announcements is an operator's.
        await client.jetstream().add_stream(name="UNLOCKS", subjects=["unlocks.>"], max_msg_size=10_000)
    finally:
        await client.close()
    deployed.write("vast.ach", REWARDED % ("x" * 9_800))
    ran = deployed.ach("apply", "vast.ach")
    assert (ran.code, "an announcement of vast version 1" in ran.err, "10,000" in ran.err) == (1, True, True)
    deployed.write("vast.ach", REWARDED % ("x" * 2_000))
    ran = deployed.ach("apply", "vast.ach")
    assert (ran.code, "where ids are long" in ran.err) == (0, True)
    deployed.environment["NATS_URL"] = "nats://127.0.0.1:1"
    ran = deployed.ach("apply", "vast.ach")
    assert (ran.code, "did not answer" in ran.err) == (0, True)


async def test_an_unknown_user_is_not_erased_by_mistake(deployed: Shell) -> None:
    asked = deployed.ach("erase", "ann", "-t", "t", stdin=b"y\n")
    assert asked.code == 1
    assert "nothing is known of 'ann' in tenant 't'" in asked.err
    assert "--yes" in asked.err
    sure = deployed.ach("erase", "ann", "-t", "t", "--yes")
    assert (sure.code, sure.out.splitlines()[0]) == (
        0,
        "erased 0 events, 0 unlocks, 0 dead letters; their events stay out for ever",
    )
    again = deployed.ach("erase", "ann", "-t", "t", stdin=b"y\n")  # the tombstone is known
    assert again.code == 0
    assert "was erased before; erased now: 0 events, 0 unlocks, 0 dead letters; their" in again.out


async def test_streams_are_purged_where_that_is_asked(deployed: Shell) -> None:
    deployed.ach("emit", LARK)
    deployed.ach("run", "--drain")
    user = ("erase", "u_02d24007efaf7a00", "-t", "lark-parser/lark", "--yes", "--purge-streams")
    nats_url, deployed.environment["NATS_URL"] = deployed.environment["NATS_URL"], "nats://127.0.0.1:1"
    away = deployed.ach(*user)
    assert away.code == 1
    assert "for ever" in away.out
    assert "the streams were not purged" in away.err
    assert "Traceback" not in away.err
    deployed.environment["NATS_URL"] = nats_url
    again = deployed.ach(*user)
    assert again.code == 0, again.err
    (line,) = [line for line in again.out.splitlines() if line.startswith("purged")]
    assert re.fullmatch(r"purged [1-9]\d* messages from EVENTS, [1-9]\d* announcements from UNLOCKS", line)
    assert "--purge-streams" not in again.out
    assert "purged 0 messages from EVENTS, 0 announcements from UNLOCKS" in deployed.ach(*user).out


DONE = 'achievement done { title "Done" when count(event=lesson.done, >= 5) }\n'


async def test_dead_letters_are_replayed_by_kind(deployed: Shell) -> None:
    events = [
        {
            "event_id": f"e{n}",
            "event_type": "lesson.done",
            "user_id": "ann",
            "tenant_id": "t",
            "occurred_at": "2026-04-13T09:00:00Z",
            "payload": {"score": 97.5},
        }
        for n in range(3)
    ]
    deployed.write("bad.jsonl", "".join(json.dumps(one) + "\n" for one in events) + "nonsense\n")
    deployed.write("rules.ach", f"event lesson.done {{ score: int }}\n{DONE}")
    assert deployed.ach("apply", "rules.ach").code == 0
    deployed.ach("emit", "bad.jsonl")
    deployed.ach("run", "--drain")
    assert deployed.ach("dead", "replay").code == 2
    dry = deployed.ach("dead", "replay", "--type", "lesson.done", "--dry-run")
    assert "would die again: contract: 3" in dry.out
    assert deployed.ach("dead", "list").out.startswith("4 dead letters")
    sent = deployed.ach("dead", "replay", "--reason", "contract", "--since", "2026-01-01T00:00:00Z")
    assert "3 dead letters to send again" in sent.out
    assert "sent 3 dead letters again" in sent.out
    deployed.ach("run", "--drain")
    listed = deployed.ach("dead", "list", "--all").out
    assert listed.startswith("7 dead letters")
    first = min(int(line.split()[0]) for line in listed.splitlines() if " contract " in line)
    assert re.search(r"died again as +\d+", deployed.ach("dead", "show", str(first)).out)
    deployed.write("rules.ach", f"event lesson.done {{ score: decimal }}\n{DONE}")
    assert deployed.ach("apply", "rules.ach").code == 0
    dry = deployed.ach("dead", "replay", "--type", "lesson.done", "--dry-run")
    assert "would be accepted: 3" in dry.out
    assert "sent 3 dead letters again" in deployed.ach("dead", "replay", "--type", "lesson.done").out
    deployed.ach("run", "--drain")
    assert deployed.ach("dead", "list").out.startswith("1 dead letter")


async def test_killed_in_mid_stream_a_restart_gives_the_same_digest(deployed: Shell) -> None:
    expected = json.loads(deployed.ach("replay", LARK, "-r", RULES, "--json").out)
    deployed.environment["ACH_BATCH_SIZE"] = "20"
    with deployed.running("run") as worker:
        read_until(worker, "working")
        # The worker takes batches while they come; killed as soon as all is published, it is somewhere amid them.
        deployed.ach("emit", LARK)
        worker.send_signal(signal.SIGKILL)
    assert deployed.ach("run", "--drain").code == 0
    assert json.loads(deployed.ach("digest", "--json").out)["digest"] == expected["digest"]


async def test_a_worker_exits_with_zero_on_sigterm(deployed: Shell) -> None:
    with deployed.running("run") as worker:
        read_until(worker, "working")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=30) == 0


async def test_rules_with_errors_are_not_applied(deployed: Shell) -> None:
    deployed.write("rules.ach", "achievement x { when count(event=nothing, >= 1) }")
    ran = deployed.ach("apply", "rules.ach")
    assert ran.code == 1
    assert "nothing was done" in ran.err
    assert "nothing changed" in deployed.ach("apply", RULES).out


async def test_a_changed_meaning_is_refused(deployed: Shell) -> None:
    # Without the examples: one fails then.
    bare = re.sub(r"^example .*?^}$", "", RULES.read_text(), flags=re.MULTILINE | re.DOTALL)
    deployed.write("rules.ach", bare.replace(">= 3)", ">= 4)"))
    ran = deployed.ach("apply", "rules.ach")
    assert ran.code == 1
    assert "new version" in ran.err
    assert "Traceback" not in ran.err


async def test_dead_letters_are_listed_shown_mended_and_purged(deployed: Shell) -> None:
    good = {
        "event_id": "e1",
        "event_type": "commit.created",
        "user_id": "ann",
        "tenant_id": "t",
        "occurred_at": "2026-04-13T09:00:00Z",
        "payload": {"insertions": 5},
    }
    bad = {**good, "payload": {"insertions": "five"}}
    deployed.write("bad.jsonl", json.dumps(bad) + "\nnonsense\n")
    deployed.ach("emit", "bad.jsonl")
    assert deployed.ach("run", "--drain").code == 0
    listed = deployed.ach("dead", "list").out
    assert "contract" in listed
    assert "payload.insertions" in listed
    assert "malformed_json" in listed
    number = next(line.split()[0] for line in listed.splitlines() if "contract" in line)
    assert '"five"' in deployed.ach("dead", "show", number).out
    deployed.write("good.json", json.dumps(good))
    assert deployed.ach("dead", "replay", number, "--body", "good.json").code == 0
    assert deployed.ach("run", "--drain").code == 0
    assert [unlock["achievement"] for unlock in json.loads(deployed.ach("digest", "--json").out)["unlocks"]] == [
        "first_commit"
    ]
    assert deployed.ach("dead", "purge", "--all").out.startswith("deleted 2 dead letters")


async def test_a_server_that_is_down_is_named_without_a_stack_trace(deployed: Shell) -> None:
    deployed.environment["NATS_URL"] = "nats://127.0.0.1:1"
    with deployed.running("run") as worker:
        said = read_until(worker, "nats cannot be reached")
        assert "127.0.0.1:1" in said
        assert "Traceback" not in said
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=30) == 0


CHANGING = """
event a.done { n: int >= 0 }
event b.done {}

achievement big { title "Big" when sum(event=a.done, of=n, >= 8) }
achievement two { title "Two" when count(event=b.done, >= 2) }
"""


async def test_rules_that_change_are_refused_accepted_and_retired(deployed: Shell) -> None:
    deployed.write("rules.ach", CHANGING)
    assert deployed.ach("apply", "rules.ach").code == 0
    lines = [
        json.dumps(
            {
                "event_id": f"e{number}",
                "event_type": "a.done",
                "user_id": "u1",
                "tenant_id": "t1",
                "occurred_at": f"2026-04-13T09:00:0{number}Z",
                "payload": {"n": 4},
            }
        )
        for number in range(2)
    ]
    deployed.write("events.jsonl", "\n".join(lines) + "\n")
    deployed.ach("emit", "events.jsonl")
    assert deployed.ach("run", "--drain").code == 0
    assert "big" in deployed.ach("unlocks").out
    # The contract is tightened.
    deployed.write("rules.ach", CHANGING.replace("int >= 0", "int >= 5"))
    refused = deployed.ach("apply", "rules.ach")
    assert refused.code == 1
    assert "rules.ach:5:13: error[ACH422]" in refused.err + refused.out
    said = "event a.done: n was `int >= 0`, is `int >= 5`"
    assert said in refused.err + refused.out
    assert "ach apply --accept-contracts" in refused.err + refused.out
    accepted = deployed.ach("apply", "--accept-contracts", "rules.ach")
    assert accepted.code == 0, accepted.err
    assert f"changed: big version 1 ({said})" in accepted.out
    assert "backfill: 1 subject folded again" in accepted.out
    assert "1 unlock" in deployed.ach("unlocks", "--status", "contested").out
    # No rule hears the user any more.
    deployed.write("rules.ach", 'event b.done {}\nachievement two { title "Two" when count(event=b.done, >= 2) }\n')
    retired = deployed.ach("apply", "rules.ach")
    assert "retired: big version 1" in retired.out
    assert "0 unlocks, 0 contested, 0 subjects" in deployed.ach("digest").out
    assert "besides, 1 unlock of achievements that are retired" in deployed.ach("digest").out
    assert [one["achievement"] for one in json.loads(deployed.ach("digest", "--json").out)["retired"]] == ["big"]
    assert "0/2" in deployed.ach("progress", "u1", "-t", "t1").out
