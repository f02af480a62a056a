"""deploy/kubernetes as kustomize renders it: what agrees with what, and its containers as processes on real servers."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

import anyio
import asyncpg
import pytest
import yaml

from tests.databases import psql
from tests.integration.brokers import configured
from tests.integration.engine import PATIENCE, Engine, event
from tests.integration.identities import Operator
from tests.integration.probe_client import get
from tests.kit.debian import ROOT, run
from tests.kit.processes import logged
from worker.identity import Identity
from worker.local.process_tree import free_port
from worker.local.servers import embedded
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = [pytest.mark.operate, pytest.mark.anyio]

KUBERNETES: Final = ROOT / "deploy" / "kubernetes"
OVERLAYS: Final = ("base", "overlays/production", "overlays/autoscaled")
VALIDATE: Final = ROOT / ".venv-audit" / "bin" / "kubernetes-validate"
PLACES: Final = ("secrets", "grants")
"""Folders at the root of a container, which are elsewhere here."""
PROBES: Final = ("startupProbe", "livenessProbe", "readinessProbe")
LISTEN: Final = "0A"
"""The state of a socket in /proc/net/tcp."""
Document = dict[str, Any]


@pytest.fixture(scope="module")
def rendered() -> dict[str, list[Document]]:
    """The documents of each overlay."""
    if not shutil.which("kubectl"):
        pytest.skip("no kubectl here, 1.21 or later (the package kubernetes-client of Debian 12 is older)")
    return {name: list(yaml.safe_load_all(run(["kubectl", "kustomize", KUBERNETES / name]))) for name in OVERLAYS}


def of(documents: list[Document], kind: str) -> Document:
    """Return the only document of a kind."""
    (found,) = (one for one in documents if one["kind"] == kind)
    return found


def container(documents: list[Document]) -> Document:
    (found,) = of(documents, "Deployment")["spec"]["template"]["spec"]["containers"]
    return found


def test_what_is_rendered_follows_the_schemas(rendered: dict[str, list[Document]], tmp_path: Path) -> None:
    # KEDA's own kind has no schema in Kubernetes; what is the same in two overlays is judged once.
    every = {yaml.safe_dump(one) for name in OVERLAYS for one in rendered[name] if one["kind"] != "ScaledObject"}
    for number, text in enumerate(sorted(every)):
        (tmp_path / f"{number}.yaml").write_text(text)
    run([VALIDATE, "--strict", *sorted(tmp_path.glob("*.yaml"))])


@pytest.mark.parametrize("name", OVERLAYS)
def test_documents_agree(rendered: dict[str, list[Document]], name: str) -> None:
    documents = rendered[name]
    deployment, budget, service = (of(documents, kind) for kind in ("Deployment", "PodDisruptionBudget", "Service"))
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for chosen in (deployment["spec"]["selector"]["matchLabels"], budget["spec"]["selector"]["matchLabels"]):
        assert chosen.items() <= labels.items()
    assert service["spec"]["selector"].items() <= labels.items()
    (port,) = container(documents)["ports"]
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    assert {container(documents)[probe]["httpGet"]["port"] for probe in PROBES} == {port["name"]}
    settings = of(documents, "ConfigMap")
    assert container(documents)["envFrom"] == [{"configMapRef": {"name": settings["metadata"]["name"]}}]
    assert int(settings["data"]["ACH_HEALTH_PORT"]) == port["containerPort"]
    policy = of(documents, "NetworkPolicy")["spec"]
    assert [one["port"] for one in policy["ingress"][0]["ports"]] == [port["containerPort"]]
    leaves = {one["port"] for rule in policy["egress"] for one in rule["ports"]}
    servers: set[int | None] = {urlsplit(url).port for url in settings["data"]["NATS_URL"].split(",")}
    assert leaves == {53, 5432} | servers
    for one in documents:
        assert one["kind"] == "Namespace" or one["metadata"]["namespace"] == "ach", one["kind"]


def test_a_worker_stays_while_another_is_moved(rendered: dict[str, list[Document]]) -> None:
    for name in OVERLAYS[:2]:
        away = of(rendered[name], "PodDisruptionBudget")["spec"]["maxUnavailable"]
        assert of(rendered[name], "Deployment")["spec"]["replicas"] > away
    scaled = rendered[OVERLAYS[2]]
    assert "replicas" not in of(scaled, "Deployment")["spec"]
    scaler = of(scaled, "ScaledObject")["spec"]
    assert scaler["scaleTargetRef"]["name"] == of(scaled, "Deployment")["metadata"]["name"]
    least, most = scaler["minReplicaCount"], scaler["maxReplicaCount"]
    assert of(scaled, "PodDisruptionBudget")["spec"]["maxUnavailable"] < least <= scaler["fallback"]["replicas"] <= most


def test_all_ways_of_deploying_give_a_worker_as_long_to_stop(rendered: dict[str, list[Document]]) -> None:
    pod = of(rendered["base"], "Deployment")["spec"]["template"]["spec"]
    composed = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]["worker"]
    unit = (ROOT / "deploy/systemd/ach.service").read_text()
    given = {
        f"{pod['terminationGracePeriodSeconds']}s",
        composed["stop_grace_period"],
        *re.findall(r"^TimeoutStopSec=(.*)$", unit, re.MULTILINE),
    }
    assert given == {"30s"}


# -- containers as processes -------------------------------------------------------------------------------------------


class Cluster:
    """Servers as the manifests name them, and folders in the place of volumes."""

    def __init__(self, folder: Path, documents: list[Document], nats_url: str, port: int) -> None:
        self.folder = folder
        self.documents = documents
        self.port = port
        self.data = {**of(documents, "ConfigMap")["data"], "NATS_URL": nats_url, "ACH_HEALTH_PORT": str(port)}
        for place in PLACES:
            (folder / place).mkdir()

    def here(self, text: str) -> str:
        """Return a text whose paths are ours."""
        return re.sub(rf"/({'|'.join(PLACES)})/", lambda found: f"{self.folder}/{found[1]}/", text)

    def environment(self, one: Document) -> dict[str, str]:
        programs = [Path(sys.executable).parent, psql().parent]
        path = ":".join(map(str, [*programs, "/usr/bin", "/bin"]))
        given = self.data if "envFrom" in one else {}
        return {"PATH": path, **given, **{entry["name"]: self.here(entry["value"]) for entry in one.get("env", ())}}

    def command(self, one: Document) -> list[str]:
        """Return what a container runs; its image's entry point is `ach`."""
        return [self.here(part) for part in one.get("command", ["ach"]) + one.get("args", [])]


class Servers(NamedTuple):
    """What runs beside the containers."""

    cluster: Cluster
    engine: Engine
    monitor: int
    """The port on which nats-server says what it does."""
    operator: Operator


@pytest.fixture(scope="module")
async def running(
    rendered: dict[str, list[Document]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Servers]:
    """A broker of an operator, and a database with a login for the worker. No test kills them."""
    folder, operator, monitor = tmp_path_factory.mktemp("cluster"), Operator(), free_port()
    more = f'{operator.configuration()}\nhttp: "127.0.0.1:{monitor}"'
    # Roles belong to all databases of a server, so it is not the one that other tests share.
    async with (
        configured(folder / "nats", more, jetstream=", strict: true") as server,
        embedded(folder / "own", durable=False) as own,
    ):
        made = Cluster(folder, rendered["base"], server.url(), free_port())
        creds = operator.credentials(folder / "secrets" / "nats.creds")
        owner = own.database_tcp_url
        connection = await asyncpg.connect(owner)
        await connection.execute("CREATE ROLE ach_worker LOGIN PASSWORD 'w'")
        await connection.close()
        settings = Settings(nats_url=server.url(), database_url=owner, identity=Identity(creds=str(creds)))
        yield Servers(made, Engine(settings), monitor, operator)


def as_worker(owner: str) -> str:
    """Return the URL of a database with the login of the worker."""
    parts = urlsplit(owner)
    return parts._replace(netloc=f"ach_worker:w@{parts.hostname}:{parts.port}").geturl()


async def test_containers_run_as_the_manifests_say(running: Servers) -> None:
    """The job migrates and gives the rights; the worker is ready, listens on its port alone, grants, and stops."""
    cluster, engine = running.cluster, running.engine
    secret = cluster.folder / "secrets" / "database-url"
    secret.write_text(engine.settings.database_url)
    job = of(cluster.documents, "Job")["spec"]["template"]["spec"]
    for one in (*job["initContainers"], *job["containers"]):
        done = await anyio.run_process(cluster.command(one), env=cluster.environment(one), check=False)
        assert done.returncode == 0, done.stderr
    await engine.apply()
    secret.write_text(as_worker(engine.settings.database_url))
    one = container(cluster.documents)
    async with await anyio.open_process(
        cluster.command(one), env=cluster.environment(one), stdout=subprocess.DEVNULL
    ) as worker:
        try:
            with anyio.fail_after(PATIENCE):
                log = await logged(worker, '"working"')
                assert '"working"' in log, log
                for probe in PROBES:
                    path = one[probe]["httpGet"]["path"]
                    # Ready as soon as both servers have answered.
                    while (await get(cluster.port, path))[0] != HTTPStatus.OK:  # noqa: ASYNC110 - as Kubernetes does
                        await anyio.sleep(0.05)
                assert listening(worker.pid) == {cluster.port}
                await engine.publish(event(n) for n in range(3))
                while {*(await engine.unlocks()).values()} != {"announced"}:  # noqa: ASYNC110 - by the books
                    await anyio.sleep(0.05)
                worker.send_signal(signal.SIGTERM)
                assert await worker.wait() == 0
        finally:
            if worker.returncode is None:
                worker.kill()


def listening(pid: int) -> set[int]:
    """Return the ports of TCP that a process listens on."""
    links = [link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir()]
    inodes = {name.removeprefix("socket:[").rstrip("]") for name in links if name.startswith("socket:")}
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    ]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == LISTEN and row[9] in inodes}


# -- what KEDA reads ---------------------------------------------------------------------------------------------------


def lag(trigger: dict[str, str], port: int) -> int | None:
    """Return what KEDA's scaler reads of what its trigger names; None where it finds no such consumer.

    It asks for an account by the name that it also compares in the answer.
    """
    with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as client:
        client.request("GET", f"/jsz?acc={trigger['account']}&consumers=true&config=true")
        said = json.loads(client.getresponse().read())
    for account in said.get("account_details", ()):
        for stream in account["stream_detail"] if account["name"] == trigger["account"] else ():
            for one in stream["consumer_detail"] if stream["name"] == trigger["stream"] else ():
                if one["name"] == trigger["consumer"]:
                    return one["num_pending"] + one["num_ack_pending"]
    return None


def trigger_of(rendered: dict[str, list[Document]], kind: str) -> dict[str, str]:
    (found,) = (
        one["metadata"] for one in of(rendered[OVERLAYS[2]], "ScaledObject")["spec"]["triggers"] if one["type"] == kind
    )
    return found


async def test_the_scaler_finds_what_waits(
    rendered: dict[str, list[Document]], tmp_path: Path, database_url: str
) -> None:
    """On a server with the accounts of deploy/nats: their names are what KEDA looks for."""
    trigger, monitor = trigger_of(rendered, "nats-jetstream"), free_port()
    account = "jetstream: enabled, users: [{ user: w, password: w }]"
    more = f'http: "127.0.0.1:{monitor}"\naccounts {{ ENGINE: {{ {account} }} }}'
    async with configured(tmp_path / "nats", more) as server:
        engine = Engine(Settings(nats_url=server.url("w:w"), database_url=database_url))
        await engine.apply()
        await engine.drain()
        assert lag(trigger, monitor) == 0
        await engine.publish(event(n) for n in range(7))
        assert lag(trigger, monitor) == 7
        assert trigger["natsServerMonitoringEndpoint"].endswith(":8222")
        assert lag({**trigger, "account": "OTHER"}, monitor) is None


async def test_the_scaler_does_not_find_accounts_of_jwts(rendered: dict[str, list[Document]], running: Servers) -> None:
    """The server finds them by their key, and answers with their name. docs/deploying.md says what to do instead."""
    trigger = trigger_of(rendered, "nats-jetstream")
    await running.engine.apply()
    await running.engine.drain()
    await running.engine.publish([event(1)])
    for account in ("ENGINE", running.operator.account.public):
        assert lag({**trigger, "account": account}, running.monitor) is None
