"""What every page has in common: who asks, which headers an answer has, and how forms are read.

An answer never depends on what a request claims of itself: a cookie is signed, a form has the token of its session,
and the header of a proxy counts only where it is named, and comes from an address of a proxy.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qsl, urlencode

from starlette.responses import HTMLResponse, RedirectResponse, Response

from worker.console.sessions import COOKIE, LASTS_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from worker.console.access import Access, Person
    from worker.console.sessions import Session, Sessions

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
MOST_BYTES: Final = 3 * 1024 * 1024
"""Of a form: a mended body of a MiB, with every byte escaped."""
MOST_FIELDS: Final = 50
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Door(NamedTuple):
    """How people come in.

    `header` is that in which a reverse proxy names the person, None for none; `proxies` are the addresses from which it
    is believed. `hosts` are the names under which the console is reached, None for any. `https` says that browsers
    reach it by HTTPS.
    """

    header: str | None = None
    proxies: frozenset[str] = frozenset({"127.0.0.1", "::1"})
    hosts: frozenset[str] | None = LOOPBACK_NAMES
    https: bool = False


class RefusedFormError(Exception):
    """A form is not taken; the message says why."""


class Entrance:
    """Tells who asks."""

    def __init__(self, access: Access, sessions: Sessions, door: Door) -> None:
        self.access = access
        self.sessions = sessions
        self.door = door

    def session(self, request: Request, now: int) -> Session | None:
        """Return the session of a request; None without a login. `now` is in microseconds."""
        if self.door.header is not None:
            return self._of_proxy(request, now)
        cookie = request.cookies.get(COOKIE)
        return None if cookie is None else self.sessions.read(cookie, now)

    def _of_proxy(self, request: Request, now: int) -> Session | None:
        names = request.headers.getlist(self.door.header or "")
        if len(names) != 1 or address_of(request) not in self.door.proxies:
            return None
        person = self.access.of_name(names[0])
        return None if person is None else self.sessions.of_proxy(person, now)

    def welcome(self, person: Person, to: str, now: int) -> Response:
        """Return the answer to a person who has just logged in."""
        answer = RedirectResponse(to, status_code=303)
        answer.set_cookie(
            COOKIE,
            self.sessions.begin(person, now),
            max_age=LASTS_SECONDS,
            httponly=True,
            samesite="strict",
            secure=self.door.https,
        )
        return answer

    def goodbye(self) -> Response:
        """Return the answer to a person who logs out."""
        answer = RedirectResponse("/login", status_code=303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=self.door.https)
        return answer


def address_of(request: Request) -> str:
    """Return the address that a request comes from, in its canonical form."""
    host = "" if request.client is None else request.client.host
    try:
        return str(ip_address(host))
    except ValueError:
        return host


def local_path(text: str) -> str:
    """Return where to go after the login: a path of ours, whatever was asked for."""
    safe = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable() and "\\" not in text
    return text if safe else "/"


def is_our_form(request: Request) -> bool:
    """Tell whether a browser says that a form was sent from one of our pages; old ones say nothing."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin is None or origin.partition("://")[2] == request.headers.get("host")


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form, the last of each name.

    Raises:
        RefusedFormError: it is none, or too large.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise RefusedFormError("expected a form")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            raise RefusedFormError(f"the form is larger than {MOST_BYTES // 1024 // 1024} MiB")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise RefusedFormError("the form cannot be read") from error
    return dict(pairs)


def link(path: str, /, **asked: object) -> str:
    """Return a path with a query; what is None or empty is left out."""
    given = {name: str(value) for name, value in asked.items() if value not in (None, "", False)}
    return f"{path}?{urlencode(given, errors='replace')}" if given else path


def html(text: str, status: int = 200) -> HTMLResponse:
    """Return a page that no cache keeps."""
    return HTMLResponse(text, status_code=status, headers={"Cache-Control": "no-store", "Vary": "Cookie"})


class Guard:
    """Adds the headers to every answer, and turns away requests for other hosts.

    A name of another site may lead here.
    """

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._hosts = door.hosts
        headers: Mapping[str, str] = HEADERS
        if door.https:
            headers = {**HEADERS, "Strict-Transport-Security": "max-age=31536000"}
        self._headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._headers]
            await send(message)

        app = self._app if self._is_ours(scope) else Response("unknown host\n", 421, media_type="text/plain")
        await app(scope, receive, with_headers)

    def _is_ours(self, scope: Scope) -> bool:
        if self._hosts is None:
            return True
        named = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
        host = named if named.endswith("]") else named.rpartition(":")[0] or named
        return host.lower() in self._hosts
