"""`ach notify` as an operator runs it, on real servers."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import to_thread
from standardwebhooks import Webhook

from tests.integration.engine import Engine
from tests.integration.notices import ENVIRONMENT, SECRET, claimed, make_stream, publish, until_state
from tests.worker.notify.receiver import receiver, respond
from worker.notify.health import DISABLED
from worker.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.herd import Herd

pytestmark = pytest.mark.anyio

ACH = [sys.executable, "-c", "from worker.cli import main; main()", "notify"]


class Operator:
    """Runs commands against one file of endpoints."""

    def __init__(self, settings: Settings, folder: Path, commands: Herd) -> None:
        self.settings = settings
        self._folder = folder
        self._commands = commands
        self._path = folder / "notify.toml"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ACH_")},
            **ENVIRONMENT,
            "NATS_URL": settings.nats_url,
            "DATABASE_URL": settings.database_url,
            "ACH_NOTIFY_CONFIG": str(self._path),
            "COLUMNS": "300",
        }

    def write(self, port: int, more: str = "") -> None:
        self._path.write_text(
            f"""
            [endpoint.app]
            url = "http://127.0.0.1:{port}/sesame"
            secret = {{ env = "SECRET" }}
            insecure = true
            allow_networks = ["127.0.0.0/8"]
            schedule = ["100ms"]
            {more}
            """
        )

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        # In a thread, since the receiver of what it sends is in this one.
        done = await to_thread.run_sync(self._commands.run, ("notify", *arguments), self.environment, self._folder)
        return done.code, done.out, done.err


@pytest.fixture
async def operator(database_url: str, nats_url: str, tmp_path: Path, commands: Herd) -> Operator:
    settings = Settings(nats_url=nats_url, database_url=database_url)
    await Engine(settings).migrate()
    await make_stream(settings)
    return Operator(settings, tmp_path, commands)


async def test_a_signed_sample(operator: Operator) -> None:
    answers = [respond(), respond(403)]
    async with receiver(lambda _: answers.pop(0)) as there:
        operator.write(there.port)
        code, out, err = await operator.run("test", "app")
        assert (code, err) == (0, "")
        (request,) = there.requests
        said = Webhook(SECRET).verify(request.body, request.headers)
        assert said["type"] == "unlock.test"
        assert request.headers["webhook-id"].startswith("test_")
        assert request.headers["webhook-id"] in out
        code, _, err = await operator.run("test", "app")
        assert code == 1
        assert "app did not take it: HTTP 403" in err
        code, _, err = await operator.run("test", "other")
        assert code == 2
        assert "no endpoint 'other'; the file has app" in err


async def test_replay_sends_what_was_sent_under_the_same_ids(operator: Operator) -> None:
    await publish(operator.settings, claimed(1), claimed(2, origin="backfill"), claimed(3))
    async with receiver() as there:
        operator.write(there.port)
        for _ in range(2):
            code, out, _ = await operator.run("replay", "app", "--since", "2026-01-01T00:00:00Z")
            assert code == 0
            assert "delivered 2" in out
        code, out, _ = await operator.run("replay", "app", "--since", "2126-01-01T00:00:00Z")
        assert (code, "delivered 0" in out) == (0, True)
    one, two, *again = [(request.headers["webhook-id"], request.body) for request in there.requests]
    assert [one[0], two[0]] == [str(claimed(1).unlock_id), str(claimed(3).unlock_id)]
    assert again == [one, two]


async def test_a_replay_that_fails_says_how_to_go_on(operator: Operator) -> None:
    await publish(operator.settings, claimed(1))
    async with receiver(lambda _: respond(410)) as there:
        operator.write(there.port)
        code, _, err = await operator.run("replay", "app", "--since", "2026-01-01T00:00:00Z")
        assert code == 1
        assert "stopped: 410 Gone" in err
        assert "ach notify replay app --since 2026-01-01T00:00:00" in err
        code, _, err = await operator.run("replay", "app", "--since", "yesterday")
        assert (code, "no RFC 3339 instant" in err) == (2, True)


async def test_a_running_notifier_its_list_and_its_account(operator: Operator) -> None:
    answers = [respond(500), respond(410)]
    async with receiver(lambda _: answers.pop(0) if answers else respond()) as there:
        operator.write(there.port)
        code, out, _ = await operator.run("list")
        assert code == 0
        assert "no notifier has served it yet" in out
        environment = {**operator.environment, "ACH_ACK_WAIT": "2"}
        async with await anyio.open_process([*ACH, "run"], env=environment, stderr=None) as process:
            await until_state(operator.settings, lambda state: not state.waiting)
            await publish(operator.settings, claimed(1))
            await there.until(2)
            await until_state(operator.settings, lambda state: DISABLED in state.metadata)
            _, out, _ = await operator.run("list", "--json")
            (said,) = json.loads(out)
            assert said["state"] == "disabled"
            assert said["detail"].endswith("410 Gone")
            assert "sesame" not in out
            code, out, _ = await operator.run("enable", "app")
            assert (code, "app is enabled" in out) == (0, True)
            await there.until(3)
            await until_state(operator.settings, lambda state: not state.unacknowledged)
            process.terminate()
            assert await process.wait() == 0  # the account is complete by then
    _, out, _ = await operator.run("deliveries", "--json", "--outcome", "delivered")
    (row,) = json.loads(out)
    assert (row["webhook_id"], row["status"], row["subject"]) == (str(claimed(1).unlock_id), 204, "u1")
    _, out, _ = await operator.run("deliveries", "--endpoint", "app")
    assert "3 attempts" in out


async def test_servers_that_are_away(operator: Operator) -> None:
    operator.write(1)
    operator.environment["NATS_URL"] = "nats://127.0.0.1:1"
    code, _, err = await operator.run("list")
    assert code == 1
    assert "NATS at nats://127.0.0.1:1" in err


async def test_what_an_endpoint_needs_and_is_missing(operator: Operator) -> None:
    operator.write(1, 'ca_file = "none.pem"')
    for arguments in (["run"], ["test", "app"], ["replay", "app", "--since", "2026-01-01T00:00:00Z"]):
        code, _, err = await operator.run(*arguments)
        assert code == 1
        assert "endpoint app: ca_file " in err
        assert "none.pem: No such file or directory" in err
