"""Each way to prove to a broker who we are, on real brokers that ask for it, with both clients."""

from __future__ import annotations

import json
import re
import time
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import anyio
import anyio.abc
import msgspec
import pytest
import structlog

from tests.integration.brokers import Configured, configured
from tests.integration.engine import PATIENCE
from tests.integration.identities import Authority, NKey, Operator
from worker.broker import connection as connecting
from worker.broker import private
from worker.broker.announce import Announcement
from worker.broker.api import ask
from worker.broker.choice import client_class
from worker.broker.client import BrokerClient
from worker.broker.durable import DurableConsumer, read_since
from worker.broker.errors import BrokerAwayError, BrokerMismatchError, PlainTextError
from worker.broker.follow import Followed, Follower
from worker.broker.once import connected_once
from worker.broker.private import FastClient
from worker.broker.streams import open_broker
from worker.environment import load_settings
from worker.local.process_tree import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from pathlib import Path

    from worker.settings import Settings

pytestmark = pytest.mark.anyio

PASSWORD, TOKEN = "p@s/w:rd?#,% [é", "t0k/en,@:x"


class World(NamedTuple):
    """Brokers that ask for identities, and the files that they take."""

    folder: Path
    verifying: Configured
    """Wants client certificates; its users have an nkey, a password, or the API of another account."""
    operated: Configured
    """Takes JWTs, begins with TLS, and has a JetStream domain."""
    simple: Configured
    """Takes a token; TLS is offered there, and not asked for."""
    operator: Operator
    mine: Authority
    theirs: Authority


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[World]:
    folder = tmp_path_factory.mktemp("identities")
    mine, theirs, operator = Authority(folder, "mine"), Authority(folder, "theirs"), Operator()
    server, key = mine.issue("server", "localhost"), NKey("user")
    mine.issue("client")
    theirs.issue("stranger")
    mine.issue("locked", password="x")
    (folder / "user.nk").write_text(f"{key.seed}\n")
    (folder / "wrong.nk").write_text(NKey("user").seed)
    (folder / "password").write_text(f"{PASSWORD}\n", "utf-8")
    (folder / "token").write_text(TOKEN, "utf-8")
    operator.credentials(folder / "user.creds")
    token, seed = operator.user()
    bearer, _ = operator.user(bearer_token=True)
    for name, fields in {"texts": {"user_jwt": token, "user_seed": seed}, "bearer": {"user_jwt": bearer}}.items():
        more = {"ca": str(mine.ca), "tls_first": True, "jetstream_domain": "hub"}
        (folder / f"{name}.json").write_text(json.dumps({**fields, **more}), "utf-8")
    operator.credentials(folder / "expired.creds", expires=int(time.time()) - 60)
    Operator().credentials(folder / "foreign.creds")
    tls = f'cert_file: "{server.cert}", key_file: "{server.key}"'
    async with AsyncExitStack() as stack:

        async def start(name: str, more: str, jetstream: str = "") -> Configured:
            return await stack.enter_async_context(configured(folder / name, more, jetstream=jetstream))

        yield World(
            folder,
            await start("verifying", f'tls {{ {tls}, ca_file: "{mine.ca}", verify: true }}\n{_accounts(key.public)}'),
            await start(
                "operated",
                f"tls {{ {tls}, handshake_first: true }}\n{operator.configuration()}",
                ", domain: hub",
            ),
            await start("simple", f'tls {{ {tls} }}\nallow_non_tls: true\nauthorization {{ token: "{TOKEN}" }}'),
            operator,
            mine,
            theirs,
        )


def _accounts(public: str) -> str:
    """Return the accounts of the first broker: APP uses the JetStream of ENGINE under another name."""
    services = (
        ("$JS.API.>", "JS.engine.API.>", "stream"),
        ("$JS.ACK.>", "$JS.ACK.>", ""),
        ("$JS.FC.>", "$JS.FC.>", ""),
        ("events.>", "events.>", ""),
        ("unlocks.>", "unlocks.>", ""),
    )
    exports = ", ".join(
        f'{{ service: "{name}"{f", response_type: {kind}" if kind else ""} }}' for name, _, kind in services
    )
    imports = ", ".join(
        f'{{ service: {{ account: ENGINE, subject: "{name}" }}, to: "{to}" }}' for name, to, _ in services
    )
    users = (
        f'{{ nkey: {public} }}, {{ user: ann, password: "{PASSWORD}" }}, '
        '{ user: bob, password: x, permissions: { subscribe: "_INBOX_bob.>" } }'
    )
    return (
        f"accounts {{ ENGINE: {{ jetstream: enabled, users: [ {users} ],\n"
        f'exports: [ {exports}, {{ stream: "_INBOX_app.>" }} ] }}\n'
        f"APP: {{ users: [ {{ user: app, password: x }} ],\n"
        f'imports: [ {imports}, {{ stream: {{ account: ENGINE, subject: "_INBOX_app.>" }} }} ] }} }}'
    )


@pytest.fixture(params=[FastClient, BrokerClient], ids=["fast", "public"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Generator[type[BrokerClient]]:
    """Each of the two clients."""
    client_class.cache_clear()
    if request.param is BrokerClient:
        monkeypatch.setattr(private, "flaw", lambda: "Client._ps")
    yield request.param
    client_class.cache_clear()


def settings_of(world: World, **variables: str) -> Settings:
    """Return the settings of variables, in which F stands for the folder; the streams are its own."""
    filled = {name: value.replace("F/", f"{world.folder}/") for name, value in variables.items()}
    name = uuid4().hex[:8]
    return msgspec.structs.replace(
        load_settings(filled),
        input_stream=f"E{name}",
        input_prefix=f"events.{name}",
        unlock_stream=f"U{name}",
        unlock_prefix=f"unlocks.{name}",
    )


VERIFYING = {"NATS_CA": "F/mine.pem", "NATS_CERT": "F/client-cert.pem", "NATS_KEY": "F/client-key.pem"}
WAYS = {
    "nkey": ("verifying", {**VERIFYING, "NATS_NKEY": "F/user.nk"}),
    "password": ("verifying", {**VERIFYING, "NATS_USER": "ann", "NATS_PASSWORD": PASSWORD}),
    "password_file": ("verifying", {**VERIFYING, "NATS_USER": "ann", "NATS_PASSWORD_FILE": "F/password"}),
    "inbox": ("verifying", {**VERIFYING, "NATS_USER": "bob", "NATS_PASSWORD": "x", "NATS_INBOX_PREFIX": "_INBOX_bob"}),
    "imported": (
        "verifying",
        {
            **VERIFYING,
            "NATS_USER": "app",
            "NATS_PASSWORD": "x",
            "NATS_JS_API_PREFIX": "JS.engine.API",
            "NATS_INBOX_PREFIX": "_INBOX_app",
        },
    ),
    "creds": (
        "operated",
        {"NATS_CREDS": "F/user.creds", "NATS_CA": "F/mine.pem", "NATS_TLS_FIRST": "true", "NATS_JS_DOMAIN": "hub"},
    ),
    "context": ("operated", {"NATS_CONTEXT": "F/texts.json"}),
    "bearer": ("operated", {"NATS_CONTEXT": "F/bearer.json"}),
    "token": ("simple", {"NATS_TOKEN": TOKEN}),
    "token_file": ("simple", {"NATS_TOKEN_FILE": "F/token"}),
}


async def expect_all(settings: Settings, client: type[BrokerClient]) -> None:
    """Expect that all that we ask of a broker works: as the worker, the notifier, the API and the commands do."""
    with anyio.fail_after(PATIENCE):
        async with open_broker(settings) as broker:
            assert type(broker.client.client) is client
            assert await broker.publish(f"{settings.input_prefix}.t.u.a", b"{}", message_id="1")
            await broker.subscribe()
            messages = await broker.next_batch() or []
            assert [one.body for one in messages] == [b"{}"]
            seen, arrived = list[Followed](), anyio.Event()

            def deliver(one: Followed) -> None:
                seen.append(one)
                arrived.set()

            now = lambda: broker.client.client  # noqa: E731 - the client of the moment
            subject = f"{settings.unlock_prefix}.>"
            durable = DurableConsumer(now, settings.unlock_stream, "d", subjects=subject, ack_seconds=9, most_pending=9)
            await durable.ensure()
            async with anyio.create_task_group() as tasks:
                follower = Follower(broker.client, settings.unlock_stream, deliver)
                tasks.start_soon(follower.run)
                while follower.seq is None:
                    await anyio.lowlevel.checkpoint()
                said = await broker.announce([Announcement(f"{settings.unlock_prefix}.t.u", b"hi", "1")])
                assert said.new == {"1": True}
                await arrived.wait()
                tasks.cancel_scope.cancel()
            assert [one.body for one in seen] == [b"hi"]
            (one,) = await durable.fetch(1, 5)
            await durable.ack(one)
            await broker.ack(messages)
            while await broker.backlog():
                await anyio.lowlevel.checkpoint()
            assert [one.body async for one in read_since(now, settings.unlock_stream, subject, 0)] == [b"hi"]
            while (state := await durable.state()) is None or state.unacknowledged:
                await anyio.lowlevel.checkpoint()
        async with connected_once(settings, seconds=5) as once:
            assert type(once) is client


@pytest.mark.parametrize("way", WAYS)
async def test_each_identity_does_all(world: World, client: type[BrokerClient], way: str) -> None:
    where, variables = WAYS[way]
    server: Configured = getattr(world, where)
    await expect_all(settings_of(world, NATS_URL=f"nats://localhost:{server.port}", **variables), client)


# -- what changes while a process runs ---------------------------------------------------------------------------------


async def test_a_file_that_was_replaced_is_read_at_the_next_connection(
    tmp_path: Path, client: type[BrokerClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(connecting, "LOOK_SECONDS", 0.05)
    users = "authorization {{ users: [ {{ user: ann, password: {} }} ] }}".format
    secret = tmp_path / "password"
    secret.write_text("old-secret\n")
    with structlog.testing.capture_logs() as logs, anyio.fail_after(PATIENCE):
        async with configured(tmp_path / "nats", users("old-secret")) as server:
            settings = load_settings({"NATS_URL": server.url(), "NATS_USER": "ann", "NATS_PASSWORD_FILE": str(secret)})
            async with open_broker(settings) as broker:
                assert type(broker.client.client) is client
                before = broker.client.clients
                secret.unlink()
                await server.reload(users("new-secret"))  # which ends connections of the password before
                # Only its state shows it.
                while broker.client.connected or "there is no file" not in broker.client.said:  # noqa: ASYNC110
                    await anyio.sleep(0.01)
                # As Kubernetes does it: another file takes the place at once.
                other = tmp_path / "other"
                other.write_text("new-secret\n")
                other.rename(secret)
                while broker.client.clients == before:  # noqa: ASYNC110
                    await anyio.sleep(0.01)
                assert await broker.publish("events.t.u.a", b"{}", message_id="1")
    assert "secret" not in re.sub(r"NATS_PASSWORD_FILE|[^ ]*/password", "", json.dumps(logs, default=repr))


# -- what the broker refuses -------------------------------------------------------------------------------------------

REFUSED = {
    "expired": (
        "operated",
        {"NATS_CREDS": "F/expired.creds", "NATS_CA": "F/mine.pem", "NATS_TLS_FIRST": "1"},
        r"refuses the login: .*; the JWT of .*/expired.creds has expired at 20",
    ),
    "foreign": (
        "operated",
        {"NATS_CREDS": "F/foreign.creds", "NATS_CA": "F/mine.pem", "NATS_TLS_FIRST": "1"},
        r"refuses the login: .*; is NATS_CREDS right\?",
    ),
    "key": (
        "verifying",
        {**VERIFYING, "NATS_NKEY": "F/wrong.nk"},
        r"refuses the login: .*; is NATS_NKEY right\?",
    ),
    "password": (
        "verifying",
        {**VERIFYING, "NATS_USER": "ann", "NATS_PASSWORD": "s3cr3t-one"},
        r"refuses the login: .*; is NATS_USER right\?",
    ),
    "token": ("simple", {"NATS_TOKEN": "s3cr3t-one"}, r"refuses the login: .*; is NATS_TOKEN right\?"),
    "authority": (
        "verifying",
        {**VERIFYING, "NATS_CA": "F/theirs.pem"},
        r"the certificate of the server is not trusted: .*; are NATS_URL, NATS_CA, NATS_CERT and NATS_KEY right\?",
    ),
    "no_authority": (
        "operated",
        {"NATS_CREDS": "F/user.creds", "NATS_TLS_FIRST": "1"},
        r"the certificate of the server is not trusted: unable to get",
    ),
    "host": (
        "verifying",
        {**VERIFYING, "NATS_USER": "ann", "NATS_PASSWORD": PASSWORD, "HOST": "127.0.0.1"},
        r"the certificate of the server is not trusted: IP address mismatch",
    ),
    "no_certificate": (
        "verifying",
        {"NATS_CA": "F/mine.pem", "NATS_USER": "ann", "NATS_PASSWORD": PASSWORD},
        r"TLS|certificate",
    ),
    "strangers_certificate": (
        "verifying",
        {**VERIFYING, "NATS_CERT": "F/stranger-cert.pem", "NATS_KEY": "F/stranger-key.pem"},
        r"TLS|certificate",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.usefixtures("client")
async def test_what_is_refused_ends_in_one_sentence(world: World, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "REFUSED_SECONDS", 0.0)
    monkeypatch.setattr(connecting, "LONGEST_PAUSE", 0.05)
    where, variables, sentence = REFUSED[case]
    server: Configured = getattr(world, where)
    variables = {"NATS_URL": f"nats://{variables.get('HOST', 'localhost')}:{server.port}", **variables}
    with (
        structlog.testing.capture_logs() as logs,
        anyio.fail_after(PATIENCE),
        pytest.raises(BrokerMismatchError) as said,
    ):
        async with open_broker(settings_of(world, **variables)):
            pass
    assert re.search(sentence, str(said.value)), said.value
    assert "\n" not in str(said.value)
    for secret in ("s3cr3t-one", PASSWORD):
        assert secret not in f"{said.value} {logs}"


@pytest.mark.parametrize(("where", "first"), [("verifying", "true"), ("operated", "false")])
async def test_a_handshake_that_only_one_side_begins_with(
    world: World, where: str, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each waits for the other, and the message says what to look at."""
    monkeypatch.setattr(connecting, "CONNECT_SECONDS", 0.3)
    server: Configured = getattr(world, where)
    url = f"nats://localhost:{server.port}"
    settings = settings_of(world, NATS_URL=url, **{**VERIFYING, "NATS_TLS_FIRST": first})
    with anyio.fail_after(PATIENCE), pytest.raises(BrokerAwayError, match=r"handshake_first|wrong version"):
        async with open_broker(settings, patience=0.6):
            pass


# -- plain text --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("login", [{"NATS_TOKEN": TOKEN}, {}, {"USER": "s3cr3t-one:x@"}])
async def test_nothing_of_ours_goes_to_a_server_without_tls_where_it_is_wanted(
    world: World, client: type[BrokerClient], login: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server in between can leave TLS out of the greeting, which nats-py would take."""
    monkeypatch.setattr(connecting, "REFUSED_SECONDS", 0.0)
    heard = bytearray()

    async def greet(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.send(b'INFO {"server_id": "x", "auth_required": true, "nonce": "x", "headers": true}\r\n')
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    heard.extend(await stream.receive())
                    if b"PING\r\n" in heard:
                        await stream.send(b"PONG\r\n")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - not Django's
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, greet)
        url = f"tls://{login.get('USER', '')}localhost:{port}"
        with anyio.fail_after(PATIENCE), pytest.raises(BrokerMismatchError, match="offers no TLS"):
            async with open_broker(settings_of(world, NATS_URL=url, **login)):
                pass
        tasks.cancel_scope.cancel()
    assert TOKEN.encode() not in heard
    assert b"s3cr3t-one" not in heard
    if client is FastClient:
        assert not heard


async def test_tls_that_is_offered_and_not_asked_for(world: World, client: type[BrokerClient]) -> None:
    variables = {"NATS_URL": f"nats://localhost:{world.simple.port}", "NATS_TOKEN": TOKEN, "NATS_CA": "F/mine.pem"}
    settings = settings_of(world, **variables)
    if client is FastClient:
        await expect_all(settings, client)
    else:
        with pytest.raises(PlainTextError):
            async with connected_once(settings, seconds=5):
                pass


async def test_a_domain_behind_a_leaf_node(tmp_path: Path, client: type[BrokerClient]) -> None:
    """The nearer broker has a JetStream too, and it gets nothing."""
    port = free_port()
    hub = f'leafnodes {{ listen: "127.0.0.1:{port}" }}'
    leaf = f'leafnodes {{ remotes [ {{ url: "nats://127.0.0.1:{port}" }} ] }}'
    async with (
        configured(tmp_path / "hub", hub, jetstream=", domain: hub") as far,
        configured(tmp_path / "leaf", leaf, jetstream=", domain: leaf") as near,
    ):
        await expect_all(load_settings({"NATS_URL": near.url(), "NATS_JS_DOMAIN": "hub"}), client)
        for server, streams in ((far, 2), (near, 0)):
            async with connected_once(load_settings({"NATS_URL": server.url()}), seconds=5) as once:
                assert (await ask(once, "STREAM.NAMES", dict[str, Any]))["total"] == streams
