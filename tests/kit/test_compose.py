"""deploy/compose.yaml, started by compose on a real engine: an event goes in, an unlock comes out, and all stops.

The images are ours (tests/kit/stand_ins): no registry is reached. Grafana and the exporter of NATS are in no package of
Debian, and are not started.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import pytest

from tests.integration.engine import PATIENCE, event
from tests.kit.debian import ROOT, run
from tests.kit.docker import Docker, docker, load

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

pytestmark = [pytest.mark.operate, pytest.mark.anyio, pytest.mark.timeout(900)]

RULES: Final = """event a.done {}
achievement first { title "First" when count(event=a.done, >= 1) }
"""
STARTED: Final = ("worker", "prometheus")
HEALTHY: Final = ("nats", "postgres", "worker", "prometheus")
SCRAPE_SECONDS: Final = 60


class Composition:
    """What compose has started."""

    def __init__(self, engine: Docker, file: Path) -> None:
        self.engine = engine
        self.file = file

    def __call__(self, *args: str, given: str = "") -> str:
        return self.engine.compose(self.file, *args, given=given)

    def of(self, service: str) -> dict[str, Any]:
        """Return what the engine says of the container of a service."""
        name = self("ps", "--all", "--quiet", service).strip()
        return json.loads(self.engine.docker("inspect", name))[0]

    def get(self, path: str) -> dict[str, Any]:
        """Ask Prometheus."""
        asked = ("wget", "-q", "-O", "-", f"http://127.0.0.1:9090/api/v1/{path}")
        return json.loads(self("exec", "-T", "prometheus", *asked))["data"]


@pytest.fixture(scope="module")
def composition() -> Generator[Composition]:
    # The path of a socket is short, and the repository stays as it is.
    folder = Path(tempfile.mkdtemp(prefix="ach-d-", dir="/tmp"))
    try:
        with docker(folder) as engine:
            load(engine)
            shutil.copytree(ROOT / "deploy", folder / "deploy", ignore=shutil.ignore_patterns("secrets*"))
            shutil.copy(ROOT / "deploy/compose/secrets.sh", folder / "deploy/compose/secrets.sh")
            run(["sh", folder / "deploy/compose/secrets.sh"])
            (folder / "rules").mkdir()
            (folder / "rules" / "first.ach").write_text(RULES)
            made = Composition(engine, folder / "deploy" / "compose.yaml")
            made("up", "--detach", "--no-build", *STARTED)
            yield made
            made("down", "--volumes", "--timeout", "30")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def until(done: Callable[[], bool], seconds: float) -> None:
    with anyio.fail_after(seconds):
        # Containers do not say when something has changed inside.
        while not await anyio.to_thread.run_sync(done):  # noqa: ASYNC110
            await anyio.sleep(0.2)


async def test_an_event_becomes_an_unlock(composition: Composition) -> None:
    """With the commands of docs/deploying.md."""
    rules = f"{composition.file.parents[1] / 'rules'}:/rules:ro"
    composition("run", "--rm", "--no-deps", "-T", "--volume", rules, "operator", "apply", "/rules")
    events = "".join(f"{json.dumps(event(n, user=f'u{n}'))}\n" for n in range(3))
    published = composition("run", "--rm", "--no-deps", "-T", "operator", "emit", "-", given=events)
    assert "published 3 messages" in published

    def announced() -> bool:
        said = composition("run", "--rm", "--no-deps", "-T", "operator", "unlocks", "--json")
        return said.count('"announced"') == 3

    await until(announced, PATIENCE)


async def test_every_health_check_passes(composition: Composition) -> None:
    for service in HEALTHY:
        await until(lambda one=service: composition.of(one)["State"]["Health"]["Status"] == "healthy", PATIENCE)
    for service in ("volumes", "migrate", "grants"):
        state = composition.of(service)["State"]
        assert (state["Status"], state["ExitCode"]) == ("exited", 0), service


async def test_prometheus_scrapes_and_has_the_alerts(composition: Composition) -> None:
    def up() -> bool:
        found = composition.get("query?query=up%7Bjob%3D%22ach%22%7D")["result"]
        return [one["value"][1] for one in found] == ["1"]

    await until(up, SCRAPE_SECONDS)
    alerts = [rule["name"] for group in composition.get("rules")["groups"] for rule in group["rules"]]
    assert len(alerts) == (ROOT / "deploy/alerts.yml").read_text().count("- alert:")


def test_nothing_is_root_or_may_write(composition: Composition) -> None:
    for service in ("nats", "worker"):
        said = composition.of(service)
        assert said["Config"]["User"] == "65532:65532"
        assert said["HostConfig"]["ReadonlyRootfs"] is True
        assert said["HostConfig"]["CapAdd"] is None
    with pytest.raises(AssertionError, match="Read-only file system"):
        composition("exec", "-T", "worker", "touch", "/rules/x")


def test_it_stops_cleanly_and_starts_again(composition: Composition) -> None:
    composition("stop")
    assert {one: composition.of(one)["State"]["ExitCode"] for one in ("worker", "postgres", "nats")} == {
        "worker": 0,
        "postgres": 0,
        "nats": 0,
    }
    composition("up", "--detach", "--no-build", *STARTED)
    said = composition("run", "--rm", "--no-deps", "-T", "operator", "unlocks", "--json")
    assert said.count('"announced"') == 3
