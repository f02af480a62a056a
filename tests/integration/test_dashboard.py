"""The dashboard, the playbooks and the alerts, asked of a real Prometheus that scrapes a real worker under load.

Grafana itself is in no archive that a test can install it from. So each panel's query is asked as Grafana asks it, and
must return series that have the labels of its legend.
"""

from __future__ import annotations

import json
import re
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import pytest

from tests.integration.engine import RULES, event
from tests.integration.prometheus import Prometheus, prometheus
from worker.local.process_tree import free_port
from worker.pipeline import observer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.integration.engine import Engine
    from worker.local.servers import Servers

pytestmark = [pytest.mark.anyio, pytest.mark.operate, pytest.mark.timeout(300)]

ROOT: Final = Path(__file__).parents[2]
BOARD: Final = json.loads((ROOT / "deploy" / "grafana" / "dashboards" / "ach.json").read_text("utf-8"))
SPREAD: Final = """
UPDATE evaluation SET decided_at = decided_at - make_interval(hours => (evaluation_id % 8)::integer)
WHERE decision = 'granted'
"""
"""Grants of one moment become those of eight hours: an achievement has a usual gap from five on."""
CHANGED: Final = RULES + 'achievement more { title "More" when count(event=a.done, >= 2, unless=c.done) }'


def targets() -> list[tuple[str, str, str]]:
    """Return title, expression and legend of everything that the dashboard asks."""
    return [
        (panel["title"], target["expr"], target.get("legendFormat", ""))
        for panel in BOARD["panels"]
        for target in panel.get("targets", ())
    ]


def in_pages() -> list[str]:
    pages = [ROOT / "docs" / "operating.md", *sorted((ROOT / "docs" / "playbooks").glob("*.md"))]
    blocks = (block for page in pages for block in re.findall(r"```promql\n(.*?)```", page.read_text(), re.DOTALL))
    queries = (re.sub(r"^#.*\n", "", one, flags=re.MULTILINE) for block in blocks for one in block.split("\n\n"))
    return [one for one in queries if one.strip()]


async def load(engine: Engine, stop: anyio.Event) -> None:
    """Send what makes each metric move, over and over."""
    for number in count():
        if stop.is_set():
            return
        await engine.publish([*news(f"{number}"), *news(f"{number}")[:3], b"no event"])
        await anyio.sleep(0.05)


def news(name: str) -> list[dict[str, Any]]:
    """Return events that earn unlocks, and one that contests one."""
    users = [f"u{name}-{n}" for n in range(10)]
    earning = [event(n + 1, user=user, tenant=f"t{at}") for at, user in enumerate(users) for n in range(3)]
    return [*earning, event(0, "b.done", user=users[0], tenant="t0")]


@asynccontextmanager
async def observed(engine: Engine, servers: Servers, folder: Path) -> AsyncGenerator[Prometheus]:
    """Give a Prometheus that has seen a worker under load, a backfill, and a broker that went and came back."""
    port, stop = free_port(), anyio.Event()
    await engine.publish(news("before") + news("then"))
    await engine.drain()
    await engine.rows(SPREAD)
    async with (
        prometheus(folder, port, ROOT / "deploy" / "alerts.yml") as asked,
        engine.worker(health_port=port, health_host="127.0.0.1") as stats,
    ):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(load, engine, stop)
            await stats.reach("announced", 200)
            await asked.until(
                "sum(rate(ach_unlock_latency_seconds_count[5m])) > 0 and sum(rate(ach_duplicates_total[5m])) > 0"
            )
            await asked.until("ach_achievement_usual_gap_seconds")
            stop.set()
        await engine.apply(CHANGED)
        await asked.until("ach_backfill_subjects")
        await engine.backfill()
        await asked.until("ach_backfill_duration_seconds")
        await servers.kill_nats()
        await servers.start_nats()
        await asked.until("sum(rate(ach_nats_errors_total[8s])) > 0")
        yield asked


async def test_every_query_returns_series(
    own_engine: Engine, own_servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # History is read a day at each look: five minutes of looks in a few seconds.
    monkeypatch.setattr(observer, "EVERY_SECONDS", 0.1)
    monkeypatch.setattr(observer, "SLOWLY_SECONDS", 1.0)
    async with observed(own_engine, own_servers, tmp_path) as asked:
        empty: list[tuple[str, str]] = []
        for title, expr, legend in targets():
            found = await asked.series(expr)
            empty += [] if found else [(title, expr)]
            for label in re.findall(r"{{\s*(\w+)\s*}}", legend):
                assert all(label in one for one in found), f"{title}: {expr} has no label {label}"
        assert empty == []
        assert [expr for expr in in_pages() if not await asked.series(expr)] == []
        groups = (await asked.asked("rules"))["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert len(rules) >= 19
        assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []
        assert [one["health"] for one in (await asked.asked("targets"))["activeTargets"]] == ["up"]
