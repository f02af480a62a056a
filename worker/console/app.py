"""The console as an application: routes, logins, and what becomes of errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from worker.console import deeds, views
from worker.console.access import Person, Role
from worker.console.actions import NotDoneError
from worker.console.now import page_of
from worker.console.pulse import EVERY_SECONDS
from worker.console.sessions import Session, Tries
from worker.console.web import (
    Guard,
    RefusedFormError,
    address_of,
    html,
    is_our_form,
    link,
    local_path,
    read_form,
)
from worker.engine.rule_set import RulesRefusedError
from worker.store import RefusedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from worker.console.desk import Desk

STATIC: Final = Path(__file__).parent / "static"
MOST_STREAMS: Final = 1000
"""Open streams of the first page; who comes later gets a page that does not move."""
KEEP_SECONDS: Final = 15
"""Of silence on a stream, after which a comment goes out: proxies end what is silent for long."""
KEPT_FRAGMENTS: Final = 50

Look = Callable[["Desk", Person, "Request"], Awaitable[views.Values]]
Ask = Callable[["Desk", Person, "Request", "Mapping[str, str]"], Awaitable[views.Values]]
Do = Callable[["Desk", Person, "Request", "Mapping[str, str]"], Awaitable[deeds.Done]]
Handler = Callable[["Request"], Awaitable[Response]]


class Trouble(NamedTuple):
    """An error as a page says it."""

    status: int
    title: str
    text: str


NOT_FOUND: Final = Trouble(404, "Not found", "There is nothing here, or nothing that you may see.")
ONLY_LOOK: Final = Trouble(
    403, "You may only look", "This needs the role operator. The operator of the console can give it to you."
)
STALE_FORM: Final = Trouble(
    403,
    "This form is out of date",
    "It is of another session, or was sent from another site. Go back, and load it again.",
)


class Console:
    """Answers requests. `streams` are those that are open."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.streams = 0
        self.stopping = anyio.Event()
        self._tries = Tries()

    def app(self) -> ASGIApp:
        """Return the application."""
        routes = [
            Route("/", self._page("now", views.now)),
            Route("/now/live", self._guarded(self._live)),
            Route("/rules", self._page("rules", views.rule_list)),
            Route("/rules/{name}", self._page("rule", views.rule_page)),
            Route("/subjects", self._page("subjects", views.subject_list, fragment="_found")),
            Route("/subject", self._page("subject", views.subject_page)),
            Route("/subject/why", self._page("why", views.why_page)),
            self._deed("/subject/grant", "grant", deeds.ask_grant, deeds.do_grant),
            self._deed("/unlocks/{unlock_id:uuid}/revoke", "revoke", deeds.ask_revoke, deeds.do_revoke),
            Route("/letters", self._page("letters", views.letter_list)),
            Route("/letters/{letter_id:int}", self._page("letter", views.letter_page)),
            self._deed("/letters/{letter_id:int}/replay", "replay", deeds.ask_replay, deeds.do_replay),
            Route("/changes", self._page("changes", views.change_list)),
            Route("/changes/{epoch:int}", self._page("change", views.change_page)),
            Route("/cohorts", self._page("cohorts", views.cohort_page)),
            Route("/tenants", self._page("tenants", views.tenant_list)),
            Route("/tenant", self._page("tenant", views.tenant_page)),
            Route("/actions", self._page("actions", views.action_list)),
            Route("/login", self._login, methods=["GET", "POST"]),
            Route("/logout", self._guarded(self._logout), methods=["POST"]),
            Route("/healthz", self._healthz),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
        app = Starlette(routes=routes, exception_handlers={404: self._unknown, 405: self._unknown})
        # It would lead to wherever the request's Host says.
        app.router.redirect_slashes = False
        return Guard(app, self.desk.entrance.door)

    # -- who asks ------------------------------------------------------------------------------------------------------

    def _session(self, request: Request) -> Session | None:
        return self.desk.entrance.session(request, self.desk.now())

    def _guarded(self, handler: Callable[[Request, Session], Awaitable[Response]]) -> Handler:
        """Return a handler that asks who it is, and says in words what goes wrong."""

        async def guarded(request: Request) -> Response:
            session = self._session(request)
            if session is None:
                return self._stranger(request)
            try:
                return await handler(request, session)
            except views.NotFoundError:
                return self._trouble(session, NOT_FOUND)
            except RefusedFormError as error:
                return self._trouble(session, Trouble(400, "This form is not taken", f"{error}."))
            except UnavailableError as error:
                return self._trouble(session, _away(error))
            except RefusedError as error:
                return self._trouble(session, Trouble(400, "The database does not take this", str(error)))
            except RulesRefusedError as error:
                title = "The rules in force cannot be read"
                return self._trouble(session, Trouble(500, title, f"This release finds errors in them. {error}"))

        return guarded

    def _stranger(self, request: Request) -> Response:
        if self.desk.entrance.door.header is not None:
            text = "The proxy in front of the console names no person who may see it."
            return self._trouble(None, Trouble(403, "You are not known here", text))
        if request.method not in {"GET", "HEAD"} or request.url.path == "/now/live":
            return self._trouble(None, Trouble(403, "You are not logged in", "Log in, and try again."))
        to = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(link("/login", next=None if to == "/" else to), status_code=303)

    async def _login(self, request: Request) -> Response:
        entrance, at = self.desk.entrance, self.desk.now()
        to = local_path(request.query_params.get("next", "/"))
        if entrance.door.header is not None or self._session(request) is not None:
            return RedirectResponse(to, status_code=303)
        if request.method != "POST":
            # A page of another site must not log anyone in with a token of its own choice.
            by_link = request.headers.get("sec-fetch-site", "none") in {"none", "same-origin"}
            return self._login_form(to, "", by_link=by_link)
        if not is_our_form(request):
            return self._trouble(None, STALE_FORM)
        try:
            form = await read_form(request)
        except RefusedFormError as error:
            return self._login_form(to, f"{error}.", 400)
        address = address_of(request)
        if self._tries.exhausted(address, at):
            return self._login_form(to, "Too many wrong tokens: wait a minute, and try again.", 429)
        person = entrance.access.of_token(form.get("token", "").strip())
        if person is None:
            self._tries.wrong(address, at)
            return self._login_form(to, "No person has this token.", 403)
        return entrance.welcome(person, to, at)

    def _login_form(self, to: str, wrong: str, status: int = 200, *, by_link: bool = False) -> Response:
        return html(self._render("login", None, {"to": to, "wrong": wrong, "by_link": by_link}), status)

    async def _logout(self, request: Request, session: Session) -> Response:
        if not is_our_form(request) or (await read_form(request)).get("form_token") != session.form_token:
            return self._trouble(session, STALE_FORM)
        return self.desk.entrance.goodbye()

    # -- pages ---------------------------------------------------------------------------------------------------------

    def _page(self, template: str, look: Look, *, fragment: str | None = None) -> Handler:
        """Return the handler of a page; `fragment` is the template for a script that asks for a part of it."""

        async def handler(request: Request, session: Session) -> Response:
            values = await look(self.desk, session.person, request)
            part = fragment is not None and request.headers.get("hx-request") == "true"
            return html(self._render(fragment if part and fragment else template, session, values))

        return self._guarded(handler)

    def _deed(self, path: str, template: str, ask: Ask, do: Do) -> Route:
        """Return the route of an action: GET asks, as does a form without `sure`; a form with it does it."""

        async def handler(request: Request, session: Session) -> Response:
            if session.person.role is not Role.OPERATOR:
                return self._trouble(session, ONLY_LOOK)
            form: dict[str, str] = {}
            if request.method == "POST":
                form = await read_form(request)
                if not is_our_form(request) or form.get("form_token") != session.form_token:
                    return self._trouble(session, STALE_FORM)
            wrong = ""
            try:
                if form.get("sure") == "yes":
                    done = await do(self.desk, session.person, request, form)
                    return RedirectResponse(done.to, status_code=303)
                values = await ask(self.desk, session.person, request, form)
            except NotDoneError as error:
                wrong = str(error)
                values = await ask(self.desk, session.person, request, {**form, "sure": ""})
            return html(self._render(template, session, {**values, "wrong": wrong}), 409 if wrong else 200)

        return Route(path, self._guarded(handler), methods=["GET", "POST"])

    def _render(self, template: str, session: Session | None, values: Mapping[str, object]) -> str:
        common = {
            "person": None if session is None else session.person,
            "form_token": "" if session is None else session.form_token,
            "by_proxy": self.desk.entrance.door.header is not None,
            "at": self.desk.now(),
            "link": link,
        }
        return self.desk.pages.render(template, {**common, **values})

    def _trouble(self, session: Session | None, trouble: Trouble) -> Response:
        return html(self._render("trouble", session, {"trouble": trouble}), trouble.status)

    async def _unknown(self, request: Request, error: Exception) -> Response:
        del error
        return self._trouble(self._session(request), NOT_FOUND)

    async def _healthz(self, request: Request) -> Response:
        del request
        return PlainTextResponse("ok\n")

    # -- the stream of the first page ----------------------------------------------------------------------------------

    async def _live(self, request: Request, session: Session) -> Response:
        if self.streams >= MOST_STREAMS:
            return PlainTextResponse("too many streams\n", 503, headers={"Retry-After": "60"})
        body = self._stream(request, session)
        return StreamingResponse(
            body, media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )

    async def _stream(self, request: Request, session: Session) -> AsyncGenerator[str]:
        """Yield the moving part of the first page whenever it changes, until the session ends."""
        self.streams += 1
        said, silent = "", 0
        try:
            while not self.stopping.is_set() and self._session(request) is not None:
                try:
                    fragment = await self._fragment(session.person)
                except UnavailableError:
                    fragment = said  # the page says how old it is
                if fragment != said:
                    said, silent = fragment, 0
                    yield "".join(f"data: {line}\n" for line in fragment.splitlines()) + "\n"
                elif (silent := silent + 1) % KEEP_SECONDS == 0:
                    yield ": still here\n\n"
                with anyio.move_on_after(EVERY_SECONDS):
                    await self.stopping.wait()
        finally:
            self.streams -= 1

    async def _fragment(self, person: Person) -> str:
        snapshot = await self.desk.snapshot(person)
        key = snapshot.at, snapshot.away_since, person.tenants
        known = self.desk.fragments.get(key)
        if known is None:
            values = {"now": page_of(snapshot), "link": link, "at": snapshot.at}
            known = self.desk.fragments[key] = self.desk.pages.render("_now", values)
            while len(self.desk.fragments) > KEPT_FRAGMENTS:
                self.desk.fragments.popitem(last=False)
        return known


def _away(error: UnavailableError) -> Trouble:
    said = str(error)
    if "statement timeout" in said or "QueryCanceled" in said:
        text = "The database took too long for this page. Ask for one tenant, or ask again when it has less to do."
        return Trouble(503, "This took too long", text)
    return Trouble(
        503, "PostgreSQL does not answer", f"Nothing can be shown without it; try again soon. It said: {said}"
    )
