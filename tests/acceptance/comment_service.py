"""The comments of one pull request, over HTTP, as GitHub and GitLab serve them."""

from __future__ import annotations

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Generator

TOKEN: Final = "correct-horse"
BOT: Final = "github-actions[bot]"


class Comments(ThreadingHTTPServer):
    """`kept` are the comments; what a program writes is by BOT, or by the user 1 of GitLab."""

    kept: list[dict[str, Any]]
    refuses: int | None
    """The status with which it answers, whatever is asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.kept = []
        self.refuses = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, body: str, login: str = BOT, user: int = 1) -> None:
        about = {"login": login, "id": user}
        self.kept.append({"id": len(self.kept) + 1, "body": body, "user": about, "author": about})


class _Handler(BaseHTTPRequestHandler):
    server: Comments  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        if asked.path == "/user":
            self._answer({"id": 1})
            return
        query = parse_qs(asked.query)
        size, page = int(query["per_page"][0]), int(query["page"][0])
        self._answer(self.server.kept[size * (page - 1) : size * page])

    def do_POST(self) -> None:
        self.server.add(self._body())
        self._answer({})

    def do_PATCH(self) -> None:
        number = int(self.path.rpartition("/")[2])
        self.server.kept[number - 1]["body"] = self._body()
        self._answer({})

    def do_PUT(self) -> None:
        self.do_PATCH()

    def _body(self) -> str:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))["body"]

    def _answer(self, value: object) -> None:
        given = {self.headers["Authorization"], self.headers["PRIVATE-TOKEN"]}
        known = given & {f"Bearer {TOKEN}", TOKEN}
        content = json.dumps(value).encode()
        self.send_response(self.server.refuses or (200 if known else 401))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""


@contextmanager
def comment_service() -> Generator[Comments]:
    with Comments() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
