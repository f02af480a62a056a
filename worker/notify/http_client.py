"""Requests to endpoints: the only module that knows httpx, behind one function.

The name of the host is resolved, each address is judged, and the connection goes to that very address, with the name in
TLS and in the header `Host`: a name that resolves to something else a moment later changes nothing. What was judged and
has answered serves the requests of the next seconds. No proxy and no other setting is taken from the environment, no
redirect is followed, and no cookie is kept.
"""

from __future__ import annotations

import logging
import socket
import ssl
import sys
from functools import lru_cache, partial
from importlib.util import find_spec
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import anyio.to_thread
import httpx

from worker.distribution import release
from worker.notify.addresses import why_refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from worker.notify.endpoints import Reach

    Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
    """Returns the addresses of a host, for a port."""

BODY_BYTES: Final = 64 * 1024
"""Of a response that are read; what is beyond is dropped with the connection."""
IDLE_SECONDS: Final = 4.0
"""For which a connection without a request is kept: shorter than the five seconds after which Node.js closes it."""
LOOKUPS: Final = 64
"""Of names, side by side."""
KEPT_URLS: Final = 256
JUDGED_SECONDS: Final = 2.0
"""For which the addresses of a host are not looked up again, from the lookup on: a backlog spares a thread's work for
each request, and a name that has moved is noticed soon."""
JUDGED_HOSTS: Final = 64
_AGENT: Final = f"ach-notify/{release()}"

if find_spec("sniffio") is None:
    # httpx and httpcore import it with every request; of what is missing, Python searches the disk each time.
    sys.modules["sniffio"] = None  # pyright: ignore[reportArgumentType]
for _name in ("httpx", "httpcore"):  # they log URLs
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class Response(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """By name in small letters."""
    body: bytes
    """The first BODY_BYTES of it, as sent: what is compressed stays so."""


class RequestError(Exception):
    """No response: the message says why, and quotes no URL."""


class AddressRefusedError(RequestError):
    """The host has an address that no request may go to."""


class SystemResolver:
    """The resolver of the system, in threads of its own.

    A lookup cannot be stopped: those of an endpoint whose name server is silent must not take the threads of others.
    """

    def __init__(self) -> None:
        self._threads = anyio.CapacityLimiter(LOOKUPS)

    async def __call__(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host.

        Raises:
            OSError, UnicodeError: it has none, or none that can be found.
        """
        lookup = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await anyio.to_thread.run_sync(lookup, abandon_on_cancel=True, limiter=self._threads)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _Judged(NamedTuple):
    """The addresses of a host that a request may go to."""

    addresses: Sequence[str]
    until: float


class _Call(NamedTuple):
    method: str
    url: httpx.URL
    headers: Mapping[str, str]
    body: bytes
    read: int

    @property
    def host(self) -> str:
        return self.url.raw_host.decode("ascii")

    @property
    def authority(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.url.port is None else f"{name}:{self.url.port}"


class Requester:
    """Makes requests for one endpoint, over connections of its own: none is shared with another name."""

    def __init__(self, reach: Reach, resolver: Resolve | None = None) -> None:
        """Make one that has no connection yet.

        Raises:
            OSError: the file of certificates cannot be read (`ssl.SSLError`: it holds none).
        """
        self._reach = reach
        self._resolve = resolver or SystemResolver()
        self._judged: dict[tuple[str, int], _Judged] = {}
        """By host and port; only what has answered."""
        context = httpx.create_ssl_context(verify=True, trust_env=False)
        if reach.ca_file is not None:
            context.load_verify_locations(reach.ca_file)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=8, keepalive_expiry=IDLE_SECONDS)
        self._transport = httpx.AsyncHTTPTransport(verify=context, trust_env=False, limits=limits)

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, read: int = BODY_BYTES
    ) -> Response:
        """Send one request and return the response, with up to `read` bytes of its body.

        Raises:
            AddressRefusedError: the host has an address that no request may go to; none was sent.
            RequestError: no response within the time of the endpoint.
        """
        seconds = self._reach.timeout / 1000
        try:
            with anyio.fail_after(seconds):
                return await self._send(_Call(method, _url(url), headers, body, read))
        except TimeoutError:
            raise RequestError(f"no response within {seconds:g} s") from None

    async def _send(self, call: _Call) -> Response:
        port = call.url.port or (443 if call.url.scheme == "https" else 80)
        failure = RequestError("the name of the host has no address")
        judged = await self._addresses(call.host, port)
        for address in judged.addresses:
            try:
                response = await self._send_to(address, call)
            except httpx.ConnectError as error:
                failure = RequestError(_in_words(error))
            except httpx.HTTPError as error:
                raise RequestError(_in_words(error)) from None
            else:
                self._keep(call.host, port, judged)
                return response
        raise failure from None

    def _keep(self, host: str, port: int, judged: _Judged) -> None:
        if len(self._judged) >= JUDGED_HOSTS:
            self._judged.clear()
        self._judged[host, port] = judged

    async def _addresses(self, host: str, port: int) -> _Judged:
        """Return the addresses of a host, if a request may go to every one of them."""
        known = self._judged.get((host, port))
        if known is not None and monotonic() < known.until:
            return known
        until = monotonic() + JUDGED_SECONDS
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError):
            raise RequestError("the name of the host cannot be resolved") from None
        for address in addresses:
            if why := why_refused(address, self._reach.networks):
                raise AddressRefusedError(
                    f"the host has the address {address} ({why}); name its network in allow_networks if it is meant"
                )
        return _Judged(addresses, until)

    async def _send_to(self, address: str, call: _Call) -> Response:
        request = httpx.Request(
            call.method,
            _url_at(call.url, address),
            headers={"host": call.authority, "user-agent": _AGENT, "accept-encoding": "identity", **call.headers},
            content=call.body,
            extensions={"sni_hostname": call.host},
        )
        response = await self._transport.handle_async_request(request)
        try:
            found = bytearray()
            async for chunk in response.aiter_raw():
                found += chunk
                if len(found) >= call.read:
                    break
            said = {name.lower(): value for name, value in response.headers.items()}
            return Response(response.status_code, said, bytes(found[: call.read]))
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(1):
                await response.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()


@lru_cache(KEPT_URLS)
def _url(text: str) -> httpx.URL:
    return httpx.URL(text)


@lru_cache(KEPT_URLS)
def _url_at(url: httpx.URL, address: str) -> httpx.URL:
    """Return a URL with an address in place of its host."""
    return url.copy_with(host=address)


def _in_words(error: BaseException) -> str:
    """Return why there is no response. What a library says may quote what it was given, so none of it is passed on."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"TLS: the certificate is not accepted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"TLS: {cause.reason or 'the handshake failed'}"
        if isinstance(cause, ConnectionRefusedError):
            return "the connection was refused"
        if isinstance(cause, OSError) and cause.strerror:
            return f"no connection: {cause.strerror}"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectError):
        return "no connection"
    return f"the connection ended before a response ({type(error).__name__})"
