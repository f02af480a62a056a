"""Which servers a client tries, and with which login."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from nats.aio.client import Client

from worker.broker.client import BrokerClient
from worker.broker.private import FastClient


def after(client: type[BrokerClient], *urls: str, monkeypatch: pytest.MonkeyPatch) -> BrokerClient:
    """Return a client behind one whose pool has these servers."""
    before = client()
    monkeypatch.setattr(Client, "servers", [urlsplit(url) for url in urls])
    return client(before)


@pytest.mark.parametrize("client", [BrokerClient, FastClient])
def test_servers_that_the_broker_has_named(client: type[BrokerClient], monkeypatch: pytest.MonkeyPatch) -> None:
    named = ["tls://ann:p%40ss@one:4222", "tls://[::1]"]
    made = after(client, "tls://ann:x@one:4222", "tls://[::1]:4222", "nats://two:4223", monkeypatch=monkeypatch)
    assert made.servers_to_try(named) == [*named, "tls://ann:p%40ss@two:4223"]
    assert made.servers_to_try(["ws://one"]) == ["ws://one"]


def test_a_login_is_decoded_where_nats_py_does_not() -> None:
    servers = ["nats://one", "nats://o%40d:p%2Fw@two", "nats://other:x@three"]
    assert BrokerClient().login_of(servers) == {"user": "o@d", "password": "p/w"}
    assert BrokerClient().login_of(["nats://s%2Fecret@one"]) == {"token": "s/ecret"}
    assert BrokerClient().login_of(["nats://one"]) == {}
    assert FastClient().login_of(servers) == {}
