from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.engine import event
from tests.integration.metric_tables import shown_name, written
from tests.integration.probe_client import get
from tests.structure.test_words import BANNED, pattern_of
from worker.engine.stats import Stats
from worker.probes.families import Scrape
from worker.probes.http import Probes, serve
from worker.probes.metrics import Metrics
from worker.probes.readiness import listed

if TYPE_CHECKING:
    from prometheus_client import Metric

    from tests.integration.engine import Engine
    from worker.local.servers import Servers

ROOT = Path(__file__).parents[2]
UNITS = {"seconds"}
OTHER_UNITS = {
    *("minutes", "hours", "days", "milliseconds", "microseconds", "ms", "us", "bits", "kilobytes", "kb", "mb"),
    *("percent", "quantile", "p50", "p99"),
}
HELP = re.compile(r"[A-Z][^.]* [^.]*\.")
"""One sentence, or what stands for one, of several words."""
WORDS_TO_AVOID = pattern_of((*BANNED, "anew"))

pytestmark = pytest.mark.anyio


async def test_each_path_answers_from_its_source() -> None:
    stats, missing = Stats(), ["nats"]
    stats.events = 3
    stats.dead["malformed_json"] = 2
    stats.commit_seconds.observe(0.5)

    async def ready() -> str:
        return listed(missing)

    probes = Probes(stuck=lambda: "", ready=ready, metrics=Metrics(stats, {("ach_x", "X."): lambda: 7}).render)
    async with anyio.create_task_group() as tasks:
        port = await tasks.start(serve, probes, "127.0.0.1", 0)
        assert await get(port, "/healthz") == (200, "ok\n")
        assert await get(port, "/readyz") == (503, "waiting for nats\n")
        missing.clear()
        assert await get(port, "/readyz?verbose") == (200, "ready\n")
        status, metrics = await get(port, "/metrics")
        assert status == 200
        assert "ach_events_total 3.0" in metrics
        assert 'ach_dead_letters_total{reason="malformed_json"} 2.0' in metrics
        assert 'ach_batch_commit_seconds_bucket{le="0.5"} 1.0' in metrics
        assert "ach_x 7.0" in metrics
        assert (await get(port, "/other"))[0] == 404
        assert (await get(port, "", b"nonsense\r\n\r\n"))[0] == 404
        assert (await get(port, "", b"x" * 9000))[0] == 404
        tasks.cancel_scope.cancel()


def samples_of(family: Metric, suffix: str = "") -> list[float]:
    return [sample.value for sample in family.samples if sample.name == family.name + suffix]


@pytest.fixture
async def scraped(engine: Engine, free_tcp_port: int) -> list[Metric]:
    """What a worker shows after a dead letter, three events, and two unlocks that it has announced."""
    async with engine.worker(health_port=free_tcp_port, health_host="127.0.0.1") as stats:
        await engine.publish([b"no event", event(1), event(2), event(3)])
        await stats.reach("announced", 2)
        status, text = await get(free_tcp_port, "/metrics")
    assert status == 200
    return list(text_string_to_metric_families(text))


async def test_metrics_keep_the_conventions_of_prometheus(scraped: list[Metric]) -> None:
    assert len({shown_name(one) for one in scraped}) == len(scraped)
    for family in scraped:
        name = shown_name(family)
        assert re.fullmatch(r"ach(_[a-z]+)+", name), name
        assert not OTHER_UNITS & set(name.split("_")), f"{name} is not in base units"
        assert (family.type == "counter") == name.endswith("_total"), f"{name} is a {family.type}"
        assert family.type in {"counter", "gauge", "histogram"}, f"{name} is a {family.type}"
        assert HELP.fullmatch(family.documentation), f"{name}: {family.documentation!r}"
        assert not WORDS_TO_AVOID.search(family.documentation), f"{name}: {family.documentation!r}"
        if re.match(r"Time|Duration|Age", family.documentation):
            assert name.split("_")[-1] in UNITS, f"{name} has no unit"
        assert not {label for sample in family.samples for label in sample.labels} & {"quantile", "job", "instance"}


async def test_histograms_count_what_the_worker_has_done(scraped: list[Metric]) -> None:
    families = {shown_name(one): one for one in scraped}
    histograms = {name for name, family in families.items() if family.type == "histogram"}
    times = {"ach_unlock_latency_seconds", "ach_batch_commit_seconds", "ach_rule_evaluation_seconds"}
    assert histograms == {*times, "ach_batch_events"}
    for name in histograms:
        buckets = samples_of(families[name], "_bucket")
        assert buckets == sorted(buckets)
        assert samples_of(families[name], "_count") == [buckets[-1]]
    (unlocks,), (seconds,) = (samples_of(families["ach_unlock_latency_seconds"], part) for part in ("_count", "_sum"))
    assert unlocks == 2
    assert 0 < seconds < 60
    assert samples_of(families["ach_batch_commit_seconds"], "_count") == samples_of(
        families["ach_batches_total"], "_total"
    )
    assert samples_of(families["ach_batch_events"], "_sum") == samples_of(families["ach_events_total"], "_total") == [3]


async def test_the_documents_name_exactly_the_metrics_that_are_shown(scraped: list[Metric]) -> None:
    said = written("operating.md")
    assert sorted((name, kind) for name, (kind, _) in said.items()) == sorted(
        (shown_name(one), one.type) for one in scraped
    )
    # What waits nowhere has no sample, so no label is shown.
    labels = {
        shown_name(one): {label for sample in one.samples for label in sample.labels if label != "le"}
        for one in scraped
        if one.samples
    }
    assert {name: labels_of for name, (_, labels_of) in said.items() if name in labels} == labels


async def test_alerts_and_queries_ask_for_metrics_that_are_shown(scraped: list[Metric]) -> None:
    shown = {sample.name for family in scraped for sample in family.samples} | {shown_name(one) for one in scraped}
    page = (ROOT / "docs" / "operating.md").read_text()
    asked = (ROOT / "deploy" / "alerts.yml").read_text() + "".join(re.findall(r"```promql\n(.*?)```", page, re.DOTALL))
    assert set(re.findall(r"\bach_\w+", asked)) <= shown


async def test_readiness_names_the_server_that_is_away(
    own_engine: Engine, own_servers: Servers, free_tcp_port: int
) -> None:
    async with own_engine.worker(health_port=free_tcp_port, health_host="127.0.0.1") as stats:
        await own_engine.publish([event(1)])
        await stats.reach("events", 1)
        assert await get(free_tcp_port, "/readyz") == (200, "ready\n")
        await own_servers.kill_postgres()
        assert await get(free_tcp_port, "/readyz") == (503, "waiting for postgresql\n")
        assert (await get(free_tcp_port, "/healthz"))[0] == 200
        await own_servers.start_postgres()
        assert await get(free_tcp_port, "/readyz") == (200, "ready\n")
        assert "ach_events_total 1.0" in (await get(free_tcp_port, "/metrics"))[1]


async def test_answers_are_http() -> None:
    def metrics(_accept: str) -> Scrape:
        return Scrape("text/plain", b"m 1\n")

    async def ready() -> str:
        return "waiting for nats"

    async def ask(port: int, request: str) -> bytes:
        async with await anyio.connect_tcp("127.0.0.1", port) as client:
            await client.send(f"{request} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            answer = b""
            with anyio.fail_after(5):
                while True:
                    try:
                        answer += await client.receive()
                    except anyio.EndOfStream:
                        return answer

    async with anyio.create_task_group() as tasks:
        port = await tasks.start(serve, Probes(stuck=str, ready=ready, metrics=metrics), "127.0.0.1", 0)
        for path, status in (
            ("/healthz", b"200 OK"),
            ("/readyz", b"503 Service Unavailable"),
            ("/metrics", b"200 OK"),
            ("/other", b"404 Not Found"),
        ):
            got, head = await ask(port, f"GET {path}"), await ask(port, f"HEAD {path}")
            assert got.partition(b"\r\n")[0] == b"HTTP/1.1 " + status
            assert head == got.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
            assert f"Content-Length: {len(got) - len(head)}\r\n".encode() in head
        tasks.cancel_scope.cancel()
