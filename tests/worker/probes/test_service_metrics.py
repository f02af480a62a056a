"""The documents of services name exactly the metrics that these show, with their labels."""

from __future__ import annotations

from tests.integration.metric_tables import shown, written
from worker.broker.connection import Connection
from worker.ingest import metrics as of_ingest
from worker.ingest.bodies import Memory
from worker.ingest.publisher import Publisher
from worker.serve import metrics as of_serve
from worker.serve.config import Config
from worker.serve.hub import Hub
from worker.settings import Settings


def test_of_ingest() -> None:
    stats, connection = of_ingest.IngestStats(), Connection(Settings())
    stats.requests["events", "202"] += 1
    stats.refused["malformed-events"] += 1
    scrape = of_ingest.render_of(stats, Publisher(connection, 1), Memory(1), connection)("")
    assert shown(scrape.body.decode()) == written("ingest.md")


def test_of_the_read_api() -> None:
    stats = of_serve.ServeStats()
    stats.count(None, 404, 0.1)
    scrape = of_serve.render_of(stats, Hub(Config("k" * 44, {})), Connection(Settings()))("")
    assert shown(scrape.body.decode()) == written("serve.md")
