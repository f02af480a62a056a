"""Requests go where they may, to the address that was judged, and bring back no more than they must."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from tests.worker.notify.receiver import receiver, respond
from worker.notify import http_client
from worker.notify.addresses import read_network
from worker.notify.endpoints import Reach
from worker.notify.http_client import BODY_BYTES, JUDGED_SECONDS, AddressRefusedError, Requester, RequestError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from pathlib import Path

    from worker.notify.addresses import Network
    from worker.notify.http_client import Resolve

    Make = Callable[..., Requester]

pytestmark = pytest.mark.anyio

LOOPBACK = (read_network("127.0.0.0/8"), read_network("::1"))


def reach(*, timeout: int = 5000, networks: tuple[Network, ...] = LOOPBACK, ca_file: str | None = None) -> Reach:
    return Reach(timeout, networks, insecure=True, ca_file=ca_file)


def names(*rounds: Sequence[str]) -> Resolve:
    """Return a resolver that gives other addresses each time, the last ones for ever."""
    left = [*rounds]

    async def resolve(host: str, port: int) -> Sequence[str]:
        del host, port
        await anyio.lowlevel.checkpoint()
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


@pytest.fixture
async def requesters() -> AsyncGenerator[Make]:
    made: list[Requester] = []

    def make(one: Reach, *resolver: Resolve) -> Requester:
        made.append(Requester(one, *resolver))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


async def test_it_connects_to_the_address_and_says_the_name(requesters: Make) -> None:
    async with receiver(lambda _: respond(200, b"fine", x_a="1")) as there:
        one = requesters(reach(), names(["127.0.0.1"]))
        url = f"http://hooks.example:{there.port}/a%20b?c=d"
        response = await one.request("POST", url, {"x-mine": "2"}, b"body")
    assert (response.status, response.body, response.headers["x-a"]) == (200, b"fine", "1")
    (request,) = there.requests
    assert request.line == "POST /a%20b?c=d HTTP/1.1"
    assert request.headers["host"] == f"hooks.example:{there.port}"
    assert (request.headers["x-mine"], request.body) == ("2", b"body")
    assert request.headers["user-agent"].startswith("ach-notify/")


async def test_a_name_that_moves_to_loopback_gets_nothing(requesters: Make) -> None:
    """What was judged is what is connected to: the resolver is asked once a request."""
    async with receiver() as there:
        asked = 0

        async def resolve(host: str, port: int) -> list[str]:
            nonlocal asked
            asked += 1
            del host, port
            await anyio.lowlevel.checkpoint()
            return ["192.0.2.1" if asked == 1 else "127.0.0.1"]

        allowed = (read_network("192.0.2.0/24"),)
        one = requesters(reach(timeout=200, networks=allowed), resolve)
        with pytest.raises(RequestError):  # nothing listens there
            await one.request("POST", f"http://hooks.example:{there.port}/", {})
        assert asked == 1
        with pytest.raises(AddressRefusedError, match="loopback"):
            await one.request("POST", f"http://hooks.example:{there.port}/", {})
        assert there.requests == []


async def test_addresses_that_were_judged_serve_a_moment_and_no_longer(
    requesters: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that moves meanwhile changes nothing until then, and is judged again after."""
    now = 1000.0
    monkeypatch.setattr(http_client, "monotonic", lambda: now)
    async with receiver() as there:
        one = requesters(reach(), names(["127.0.0.1"], ["10.0.0.1"]))
        url = f"http://hooks.example:{there.port}/"
        for _ in range(3):
            assert (await one.request("POST", url, {})).status == 204
        now += JUDGED_SECONDS
        with pytest.raises(AddressRefusedError, match="private"):
            await one.request("POST", url, {})
        assert len(there.requests) == 3


async def test_addresses_of_one_host_serve_no_other(requesters: Make) -> None:
    async with receiver() as there:
        one = requesters(reach(), names(["127.0.0.1"], ["10.0.0.1"]))
        assert (await one.request("POST", f"http://hooks.example:{there.port}/", {})).status == 204
        with pytest.raises(AddressRefusedError, match="private"):
            await one.request("POST", f"http://other.example:{there.port}/", {})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "0", "[::1]"])
async def test_no_form_of_a_host_reaches_loopback(requesters: Make, host: str) -> None:
    async with receiver() as there:
        one = requesters(reach(networks=()))
        with pytest.raises(RequestError):
            await one.request("POST", f"http://{host}:{there.port}/", {})
        assert there.requests == []


async def test_one_refused_address_among_several_refuses_all(requesters: Make) -> None:
    async with receiver() as there:
        one = requesters(reach(), names(["127.0.0.1", "10.0.0.1"]))
        with pytest.raises(AddressRefusedError, match=r"10\.0\.0\.1 \(private\); name its network in allow_networks"):
            await one.request("POST", f"http://hooks.example:{there.port}/", {})
        assert there.requests == []


async def test_the_next_address_is_tried_where_nothing_listens(requesters: Make) -> None:
    async with receiver() as there:
        one = requesters(reach(), names(["127.0.0.2", "127.0.0.1"]))
        assert (await one.request("POST", f"http://hooks.example:{there.port}/", {})).status == 204


async def test_no_redirect_is_followed_and_no_cookie_is_kept(requesters: Make) -> None:
    async with receiver(lambda _: respond(307, location="http://127.0.0.1:1/", set_cookie="a=b")) as there:
        one = requesters(reach(), names(["127.0.0.1"]))
        for _ in range(2):
            assert (await one.request("POST", f"http://hooks.example:{there.port}/", {})).status == 307
        assert len(there.requests) == 2
        assert "cookie" not in there.requests[1].headers


async def test_no_proxy_is_taken_from_the_environment(requesters: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with receiver() as there:
        one = requesters(reach(), names(["127.0.0.1"]))
        assert (await one.request("POST", f"http://hooks.example:{there.port}/", {})).status == 204


async def test_a_long_answer_is_cut(requesters: Make) -> None:
    async with receiver(lambda _: respond(200, b"x" * 8 * BODY_BYTES)) as there:
        one = requesters(reach(), names(["127.0.0.1"]))
        assert len((await one.request("POST", f"http://h.example:{there.port}/", {})).body) == BODY_BYTES


async def test_a_bomb_is_not_unpacked(requesters: Make) -> None:
    async with receiver(lambda _: respond(200, b"\x1f\x8b rest", content_encoding="gzip")) as there:
        one = requesters(reach(), names(["127.0.0.1"]))
        assert (await one.request("POST", f"http://h.example:{there.port}/", {})).body == b"\x1f\x8b rest"


async def test_silence_ends_in_time(requesters: Make) -> None:
    async with receiver(lambda _: None) as there:
        one = requesters(reach(timeout=200), names(["127.0.0.1"]))
        with pytest.raises(RequestError, match=r"no response within 0\.2 s"):
            await one.request("POST", f"http://h.example:{there.port}/", {})


async def test_an_endless_drip_ends_in_time(requesters: Make) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        del host, port
        await anyio.sleep_forever()
        raise AssertionError

    one = requesters(reach(timeout=100), resolve)
    with pytest.raises(RequestError, match="no response within"):
        await one.request("POST", "http://h.example/", {})


@pytest.mark.parametrize(
    ("answer", "said"),
    [(b"", "before a response"), (b"nonsense\r\n\r\n", "before a response"), (b"HTTP/1.1 200 OK\r\nx", "before a")],
)
async def test_an_answer_that_is_none(requesters: Make, answer: bytes, said: str) -> None:
    async with receiver(lambda _: answer) as there:
        one = requesters(reach(), names(["127.0.0.1"]))
        with pytest.raises(RequestError, match=said):
            await one.request("POST", f"http://h.example:{there.port}/secret-path", {})


async def test_nothing_listens(requesters: Make) -> None:
    async with receiver() as there:
        pass
    one = requesters(reach(), names(["127.0.0.1"]))
    with pytest.raises(RequestError, match="the connection was refused") as refused:
        await one.request("POST", f"http://h.example:{there.port}/secret-path", {})
    assert "secret-path" not in str(refused.value)
    with pytest.raises(RequestError, match="has no address"):
        await requesters(reach(), names([])).request("POST", "http://h.example/", {})


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for hooks.example, and its key, in one file."""
    path = tmp_path / "both.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made += ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert"), "-days", "2", "-subj", "/CN=hooks"]
    made += ["-addext", "subjectAltName=DNS:hooks.example"]
    subprocess.run(made, check=True, capture_output=True)
    path.write_bytes((tmp_path / "cert").read_bytes() + (tmp_path / "key").read_bytes())
    return path


async def test_tls_is_for_the_name_and_not_for_the_address(requesters: Make, certificate: Path) -> None:
    async with receiver(certificate=certificate) as there:
        one = requesters(reach(ca_file=str(certificate)), names(["127.0.0.1"]))
        assert (await one.request("POST", f"https://hooks.example:{there.port}/", {})).status == 204
        assert there.names == ["hooks.example"]
        with pytest.raises(RequestError, match="TLS: the certificate is not accepted: Hostname mismatch"):
            await one.request("POST", f"https://other.example:{there.port}/", {})
        strict = requesters(reach(), names(["127.0.0.1"]))
        with pytest.raises(RequestError, match="TLS: the certificate is not accepted: self-signed"):
            await strict.request("POST", f"https://hooks.example:{there.port}/", {})
        assert len(there.requests) == 1
