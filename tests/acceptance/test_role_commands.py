"""Every command under the roles that are made for it, on servers with these roles, with ACH_MIGRATE=never.

In the database they are those of `ach grants`, at the broker those of deploy/nats.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import asyncpg
import httpx
import nats
import pytest

from tests.acceptance.conftest import Shell, read_until
from tests.databases import psql
from tests.integration.brokers import configured
from tests.integration.engine import PATIENCE, event
from worker.app import wall_clock
from worker.broker.once import connected_once
from worker.broker.streams import open_broker
from worker.console.access import token_hash
from worker.engine.stats import Stats
from worker.environment import load_settings
from worker.local.servers import embedded
from worker.pipeline.observer import Observer
from worker.pipeline.rules_in_force import load_deployed
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from tests.acceptance.herd import Herd, Ran
    from tests.integration.brokers import Configured
    from worker.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.operate]

ACCOUNTS: Final = Path(__file__).parents[2] / "deploy" / "nats" / "accounts.conf"
ROLES: Final = {"operator": "operator", "console": "operator", "worker": "worker"} | {
    one: one for one in ("serve", "notify", "ingest")
}
"""The role at the broker of a use of the database; the others have none."""
PASSWORDS: Final = ("acme_producer", "acme_reader", *ROLES)
USES: Final = ("worker", "operator", "reader", "serve", "notify", "ingest", "mirror", "console")
RULES: Final = """event a.done { team: string? }
event b.done {}
achievement first { title "First" when count(event=a.done, >= 1) }
achievement clean { title "Clean" when count(event=a.done, >= 2, unless=b.done) }
achievement crew { title "Crew" scope team when count(event=a.done, >= 2) }
"""
MORE: Final = """achievement third { title "Third" when count(event=a.done, >= 3) }
"""
TOKEN: Final = "operator-token-of-ada"
PERSONS: Final = f"""[[person]]
name = "ada"
role = "operator"
token_sha256 = "{token_hash(TOKEN)}"
"""
WHSEC: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Town(NamedTuple):
    """A deployment with a login for each use, as docs/operating.md makes them."""

    shell: Shell
    url: str
    broker: Configured

    known: dict[str, int]

    def url_as(self, use: str) -> str:
        return self.url.replace("//ach@", f"//{use}_1@")

    def be(self, use: str) -> Shell:
        """Return the shell with the logins of a use."""
        environment = self.shell.environment
        for name in [name for name in environment if name.startswith("NATS_")]:
            del environment[name]
        environment |= {"DATABASE_URL": self.url_as(use), "ACH_MIGRATE": "never", **self.variables(use)}
        return self.shell

    def variables(self, use: str) -> dict[str, str]:
        """Return the settings for the broker, as deploy/nats/README.md says them."""
        role = ROLES.get(use)
        if role is None:
            return {"NATS_URL": "nats://127.0.0.1:1"}  # it has to do without
        found = {
            "NATS_URL": self.broker.url(),
            "NATS_USER": role,
            "NATS_PASSWORD_FILE": str(self.shell.write(f"{role}.password", f"{role}-password")),
            "NATS_INBOX_PREFIX": f"_INBOX_{role}",
        }
        return found if role in {"worker", "operator"} else {**found, "NATS_JS_API_PREFIX": "JS.engine.API"}

    def ach(self, use: str, *args: str) -> Ran:
        """Run a command as a use; it ends well."""
        ran = self.be(use).ach(*args)
        assert ran.code == 0, f"{use}: ach {' '.join(args)}: {ran.out}{ran.err}"
        assert "permission denied" not in ran.out + ran.err
        assert self.refused() == [], f"{use}: ach {' '.join(args)}"
        return ran

    def refused(self) -> list[str]:
        """Return what the broker has refused since it was asked last."""
        found = [line for line in self.broker.log().splitlines() if "Violation" in line]
        new = found[self.known["refused"] :]
        self.known["refused"] = len(found)
        return new

    def settings(self, use: str) -> Settings:
        return load_settings({"DATABASE_URL": self.url_as(use), **self.variables(use)})

    async def rows(self, query: str) -> list[asyncpg.Record]:
        owner = await asyncpg.connect(self.url)
        try:
            return await owner.fetch(query)
        finally:
            await owner.close()


@pytest.fixture(scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory, commands: Herd) -> AsyncGenerator[Town]:
    """Tables of the owner, `ach grants` run by the owner, and logins for each use."""
    folder = tmp_path_factory.mktemp("town")
    (folder / "broker").mkdir()
    (folder / "broker" / "accounts.conf").write_text(ACCOUNTS.read_text())
    environment = {f"{role.upper()}_PASSWORD": f"{role}-password" for role in PASSWORDS}
    async with (
        embedded(folder / "servers", durable=False) as servers,
        configured(
            folder / "broker", 'include "accounts.conf"', jetstream=", strict: true", environment=environment
        ) as broker,
    ):
        shell = Shell(folder, commands)
        shell.environment |= {"DATABASE_URL": servers.database_url}
        made = Town(shell, servers.database_url, broker, {"refused": 0})
        assert shell.ach("migrate").code == 0
        owner = await asyncpg.connect(servers.database_url)
        await owner.execute(shell.ach("grants").out)
        for use in USES:
            await owner.execute(f"CREATE ROLE {use}_1 LOGIN IN ROLE ach_{use}")
        await owner.close()
        shell.write("rules.ach", RULES)
        events = [event(n, user=f"u{n % 5}", team="red") for n in range(20)]
        shell.write("stream.jsonl", "".join(json.dumps(one) + "\n" for one in events))
        shell.write("late.jsonl", json.dumps(event(-5, "b.done", user="u1")) + "\n")
        yield made


async def test_rules_a_stream_and_all_that_follows(town: Town) -> None:
    """The story of a deployment: each command under its own login, and what it has done."""
    town.ach("operator", "apply", "rules.ach")
    town.ach("operator", "backfill")
    # The first start of a worker makes the streams, which others may only use.
    town.ach("worker", "run", "--drain")
    # What sends and what reads streams alone needs no database.
    town.ach("operator", "emit", "stream.jsonl")
    async with connected_once(town.settings("ingest"), seconds=5) as client:
        await client.publish("events.raw", b"nonsense")
    town.ach("worker", "run", "--drain")
    granted = await town.rows("SELECT status FROM v_unlock")
    assert len(granted) == 11
    assert {row["status"] for row in granted} == {"announced"}
    # A late event contests, and the correction is announced.
    town.ach("operator", "emit", "late.jsonl")
    town.ach("worker", "run", "--drain")
    assert await town.rows("SELECT FROM correction") == []

    assert "clean" in town.ach("reader", "progress", "u2", "-t", "t1").out
    assert len(json.loads(town.ach("reader", "unlocks", "--json").out)) == 11
    assert "first" in town.ach("reader", "explain", "--from-ledger", "-u", "u1", "--tenant", "t1", "-a", "first").out
    digest = town.ach("reader", "digest").out
    town.ach("reader", "replay", "--from-ledger")
    town.ach("reader", "replay", "--from-ledger", "--twice")
    for command in (("progress", "u2", "-t", "t1"), ("unlocks",), ("digest",), ("replay", "--from-ledger")):
        town.ach("operator", *command)
    assert town.ach("operator", "digest").out == digest

    assert "malformed_json" in town.ach("operator", "dead", "list").out
    town.ach("operator", "dead", "show", "1")
    town.ach("operator", "dead", "replay", "--reason", "malformed_json", "--dry-run")
    town.ach("operator", "dead", "replay", "1")
    town.ach("worker", "run", "--drain")
    assert len(await town.rows("SELECT FROM dead_letter WHERE replayed_at IS NOT NULL")) == 1
    town.ach("operator", "dead", "purge", "--all")

    town.ach("operator", "grant", "eve", "first", "-t", "t1", "--reason", "asked")
    (unlock,) = await town.rows("SELECT unlock_id FROM v_unlock WHERE subject = 'u2' AND achievement = 'first'")
    town.ach("operator", "revoke", str(unlock["unlock_id"]), "--reason", "cheated", "--yes")
    town.ach("operator", "erase", "u3", "-t", "t1", "--yes", "--purge-streams")
    town.ach("worker", "run", "--drain")
    assert await town.rows("SELECT FROM event WHERE user_id = 'u3'") == []
    assert json.loads(town.ach("operator", "export", "-u", "u2", "-t", "t1").out)["events"]
    town.ach("operator", "erase", "u3", "-t", "t1", "--undo", "--reason", "asked", "--yes")
    town.shell.write("rules.ach", RULES + MORE)
    planned = town.be("reader").ach("plan", "rules.ach", "--format", "markdown")
    assert (planned.code, "1 new" in planned.out) == (2, True), planned
    town.ach("operator", "apply", "rules.ach")
    await town.rows("UPDATE aggregate SET status = 'building' WHERE scope = 'user' AND status <> 'retired'")
    await observed(town, building={"user"})
    town.ach("operator", "backfill")
    town.ach("worker", "run", "--drain")
    assert len(await town.rows("SELECT FROM v_unlock WHERE achievement = 'third' AND status = 'announced'")) == 4
    for use in ("operator", "console"):
        assert "outbox" in town.ach(use, "status").out
    assert json.loads(town.ach("operator", "workers", "--json").out)["groups"] == []


def test_psql_takes_what_grants_prints(town: Town) -> None:
    environment = {name: value for name, value in town.shell.environment.items() if not name.startswith("PG")}

    def run(script: str) -> tuple[int, str]:
        done = subprocess.run(
            [psql(), "--no-psqlrc", "-v", "ON_ERROR_STOP=1", town.url],
            input=script,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stderr

    tenants = ("--tenant", "a'c=m\\e=acme_analysts", "--tenant", "globex=globex_analysts")
    for args in ((), tenants, ("--worker", 'od"d $1', "--reader", "select"), ()):
        printed = town.shell.ach("grants", *args)
        assert (printed.code, printed.err) == (0, "")
        assert run(printed.out) == (0, ""), args
    code, said = run(printed.out.replace("COMMIT;", "SELECT nothing_of_this; COMMIT;"))
    assert (code, "nothing_of_this" in said) == (3, True)


async def observed(town: Town, building: set[str]) -> None:
    """See that the worker's login sees all that its metrics show."""
    settings, stats = town.settings("worker"), Stats()
    async with open_store(settings.database_url) as store, open_broker(settings) as broker:
        rules = await load_deployed(store, settings)
        await Observer(store, broker, stats, rules=lambda: rules, now=wall_clock).look()
    seen = stats.observed
    assert seen.outbox is not None
    assert seen.letters is not None
    assert seen.workers is not None
    assert seen.backlog is not None
    assert set(seen.building or ()) == building


async def test_the_doctor_finds_all_rights_of_a_worker(town: Town) -> None:
    found = json.loads(town.be("worker").ach("doctor", "--json").out)
    assert [one["level"] for one in found if one["check"] == "engine rights"] == ["ok"]
    assert [one for one in found if "permission denied" in one["said"]] == []
    assert [one["level"] for one in found if one["check"] == "nats rights"] == ["ok"]
    assert [one["check"] for one in found if one["level"] == "error"] == ["postgresql fsync"]
    # It asks for the account, which a worker does not need, and says that it may not.
    assert [line for line in town.refused() if "$JS.API.INFO" not in line] == []


async def test_a_mirror_and_what_is_asked_of_it(town: Town) -> None:
    town.ach("mirror", "mirror", "--to", "copy")
    town.ach("mirror", "mirror", "--to", "copy")
    for source in (("--from", "copy"), ()):
        assert "first" in town.ach("mirror", "analyze", "completion", *source, "--fewest", "1").out


async def test_serve_gives_an_answer(town: Town) -> None:
    made = town.shell.ach("serve", "key", "--tenant", "t1").out
    town.shell.write("serve.toml", "reveal = true\nservice = true\n" + made).chmod(0o600)
    (key,) = re.findall(r"ach_[\w-]{43}", made)
    with town.be("serve").running("serve", "--port", "0") as process:
        (address,) = re.findall(r"http://127\.0\.0\.1:\d+", read_until(process, "serving"))
        async with httpx.AsyncClient(base_url=address, headers={"Authorization": f"Bearer {key}"}) as client:
            for path in ("users/u4/achievements", "catalogue", "unlocks"):
                answer = await client.get(f"/v1/tenants/t1/{path}")
                assert (answer.status_code, "first" in answer.text) == (200, True), answer.text
        async with httpx.AsyncClient(base_url=address, timeout=PATIENCE) as client:
            while (await client.get("/v1/health")).status_code != 200:  # noqa: ASYNC110 - it has no other way
                await anyio.sleep(0.05)
        reader = await nats.connect(
            town.broker.url("acme_reader:acme_reader-password"), inbox_prefix="_INBOX_acme_reader"
        )
        said = await reader.request("ach.v1.acme.progress", b'{"user": "ann"}', timeout=PATIENCE)
        assert json.loads(said.data)["tenant_id"] == "acme"
        await reader.close()
        stopped(process)
    assert town.refused() == []


async def test_console_shows_its_pages(town: Town) -> None:
    with town.be("console").running("console", "--port", "0") as process:
        seen = read_until(process, "link:")
        (address,) = re.findall(r"console: (http://127\.0\.0\.1:\d+)", seen)
        (token,) = re.findall(r"token: +(\S+)", seen)
        async with httpx.AsyncClient(base_url=address, timeout=PATIENCE) as client:
            assert (await client.post("/login", data={"token": token})).status_code == 303
            for page in ("/", "/rules", "/rules/first", "/subjects", "/letters", "/changes", "/tenants", "/actions"):
                answer = await client.get(page)
                assert (answer.status_code, "permission denied" in answer.text) == (200, False), page
        stopped(process)
    assert town.refused() == []


async def test_console_acts_for_an_operator(town: Town) -> None:
    async with connected_once(town.settings("ingest"), seconds=5) as client:
        await client.publish("events.raw", b"nonsense again")
    town.ach("worker", "run", "--drain")
    (letter,) = await town.rows("SELECT dead_letter_id FROM dead_letter WHERE replayed_at IS NULL")
    town.shell.write("persons.toml", PERSONS)
    with town.be("operator").running("console", "--port", "0", "--persons", "persons.toml") as process:
        (address,) = re.findall(r"console: (http://127\.0\.0\.1:\d+)", read_until(process, "console:"))
        async with httpx.AsyncClient(base_url=address, timeout=PATIENCE) as client:
            assert (await client.post("/login", data={"token": TOKEN})).status_code == 303
            (token,) = set(re.findall(r'name="form_token" value="([0-9a-f]+)"', (await client.get("/")).text))
            form = {"form_token": token, "sure": "yes", "reason": "asked"}
            mended = json.dumps(event(70, user="mended"))
            replay, grant = f"/letters/{letter['dead_letter_id']}/replay", "/subject/grant?tenant=t1&id=fay"
            for path, more in ((replay, {"body": mended}), (grant, {"achievement": "first"})):
                answer = await client.post(path, data={**form, **more})
                assert answer.status_code == 303, answer.text
            (unlock,) = await town.rows("SELECT unlock_id FROM v_unlock WHERE subject = 'fay'")
            answer = await client.post(f"/unlocks/{unlock['unlock_id']}/revoke", data=form)
            assert answer.status_code == 303, answer.text
            for page in ("/", "/letters", "/changes", "/actions"):
                assert (await client.get(page)).status_code == 200, page
        stopped(process)
    assert town.refused() == []
    town.ach("worker", "run", "--drain")
    assert len(await town.rows("SELECT FROM event WHERE user_id = 'mended'")) == 1


async def test_ingest_takes_an_event_and_validates_it(town: Town) -> None:
    made = town.shell.ach("ingest", "key", "--tenant", "t1", "--validate").out
    town.shell.write("ingest.toml", made)
    (key,) = re.findall(r"ach_[\w-]{43}", made)
    with town.be("ingest").running("ingest", "--port", "0") as process:
        (address,) = re.findall(r"http://127\.0\.0\.1:\d+", read_until(process, "taking events"))
        async with httpx.AsyncClient(base_url=address, headers={"Authorization": f"Bearer {key}"}) as client:
            with anyio.fail_after(PATIENCE):
                while (await client.get("/v1/health")).status_code != 200:  # noqa: ASYNC110 - it has no other way
                    await anyio.sleep(0.05)
            one = event(60, user="new", team="red")
            assert (await client.post("/v1/events", json=one)).status_code == 202
            wrong = await client.post("/v1/events", json=one | {"payload": {"team": 9}})
            assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "payload.team")
        stopped(process)
    assert town.refused() == []


async def test_notify_delivers_a_webhook(town: Town) -> None:
    with receiver() as (port, received):
        town.shell.environment["SECRET"] = WHSEC
        town.shell.write(
            "notify.toml",
            f'[endpoint.app]\nurl = "http://127.0.0.1:{port}/app"\nsecret = {{ env = "SECRET" }}\n'
            'insecure = true\nallow_networks = ["127.0.0.0/8"]\n',
        )
        with town.be("notify").running("notify", "run", "--config", "notify.toml") as process:
            read_until(process, "notifying")
            with anyio.fail_after(PATIENCE):
                while not received:
                    town.ach("notify", "notify", "list", "--config", "notify.toml")
                    number = len(await town.rows("SELECT FROM unlock"))
                    town.ach("operator", "grant", f"n{number}", "first", "-t", "t1", "--reason", "r")
                    town.ach("worker", "run", "--drain")
            stopped(process)
    assert b"unlock.granted" in received[0]
    assert "app" in town.ach("notify", "notify", "deliveries").out


class _Receiver(BaseHTTPRequestHandler):
    """Takes webhooks and keeps their bodies."""

    received: list[bytes]

    def do_POST(self) -> None:
        self.received.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it is named there
        """Say nothing."""


@contextmanager
def receiver() -> Generator[tuple[int, list[bytes]]]:
    """Receive webhooks beside a block; give the port, and the bodies that came."""
    received: list[bytes] = []
    handler = type("Receiver", (_Receiver,), {"received": received})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port, received
        finally:
            server.shutdown()
            thread.join()


def stopped(process: subprocess.Popen[str]) -> None:
    """End a service by its signal, and see that it had all its rights."""
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, out
    assert "permission denied" not in out
