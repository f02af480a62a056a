"""A server that speaks S3, buckets on it, and a proxy before it that lets things go wrong."""

from __future__ import annotations

import logging
import os
import ssl
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import uuid4

import boto3  # pyright: ignore[reportMissingTypeStubs] - it has none
from moto.server import ThreadedMotoServer

from worker.mirror.access import Access
from worker.mirror.objects import Objects, Patience
from worker.mirror.place import Bucket

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from tests.integration.identities import Pair

KEY: Final = "test-key-3f5a"
SECRET: Final = "test-secret-91c7e2"
SHORT: Final = Patience(connect=5, silence=1, all=4, tries=1)
_DROPPED: Final = frozenset({"connection", "transfer-encoding", "keep-alive", "content-length"})


class Store(NamedTuple):
    """A bucket of its own on a running server; `s3` is a client that has nothing to do with ours."""

    endpoint: str
    bucket: str
    s3: Any

    @property
    def url(self) -> str:
        """Where a mirror goes."""
        return f"s3://{self.bucket}/some/mirror"

    def environment(self, endpoint: str | None = None) -> dict[str, str]:
        """What the environment says of it, with nothing else that has to do with S3."""
        others = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {
            **others,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "eu-central-1",
            "AWS_ENDPOINT_URL": endpoint or self.endpoint,
        }

    def objects(self, endpoint: str | None = None, *, patience: Patience = SHORT, authorities: bytes = b"") -> Objects:
        """The objects of the mirror, by our client."""
        access = Access(KEY, SECRET, "", "eu-central-1", endpoint or self.endpoint, True, authorities)
        return Objects(Bucket(self.bucket, "some/mirror"), access, patience)

    def keys(self) -> set[str]:
        """The names of all objects, below the mirror."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        found = {one["Key"] for page in pages for one in page.get("Contents", [])}
        assert all(key.startswith("some/mirror/") for key in found)
        return {key.removeprefix("some/mirror/") for key in found}

    def body(self, key: str) -> bytes:
        """What an object holds."""
        body: bytes = self.s3.get_object(Bucket=self.bucket, Key=f"some/mirror/{key}")["Body"].read()
        return body

    def download(self, folder: Path) -> Path:
        """Bring all objects here, whether a manifest names them or not."""
        for key in self.keys():
            target = folder / key
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.body(key))
        return folder


@contextmanager
def s3_server() -> Generator[str]:
    """Run a server for a while; its address is that of this machine alone."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def bucket_on(endpoint: str) -> Store:
    """Make a bucket."""
    client: Any = boto3.client  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    s3: Any = client(
        "s3", endpoint_url=endpoint, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1"
    )
    store = Store(endpoint, f"books-{uuid4().hex[:12]}", s3)
    s3.create_bucket(Bucket=store.bucket)
    return store


class Asked(NamedTuple):
    """One request: its method, the path below the mirror (or the query of a list), its headers."""

    method: str
    path: str
    headers: dict[str, str]


class Answer(NamedTuple):
    """What the proxy says in the place of the server. `cut` sends that many bytes of the body less than it says."""

    status: int
    body: bytes = b""
    cut: int = 0


SILENT: Final = Answer(0)
"""No answer at all, until the test ends."""
LOST: Final = Answer(-1)
"""The server takes the request, and the connection ends before its answer."""
BROKEN: Final = Answer(-2)
"""The connection ends before the server has the request."""


@contextmanager
def meddling(store: Store, meddle: Callable[[Asked], Answer | None], pair: Pair | None = None) -> Generator[str]:
    """Run a proxy before the server. What `meddle` answers None to goes on, with the headers that it has left.

    With a certificate and its key it speaks TLS.
    """
    ended = Event()
    host = store.endpoint.removeprefix("http://")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            self.close_connection = True
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.removeprefix(f"/{store.bucket}").removeprefix("/some/mirror/")
            asked = Asked(self.command, path, dict(self.headers.items()))
            answer = meddle(asked)
            if answer is None or answer == LOST:
                upstream = HTTPConnection(host, timeout=20)
                upstream.request(self.command, self.path, body, asked.headers)
                got = upstream.getresponse()
                held = got.read()
                if answer is None:
                    self.send_response(got.status)
                    for name, value in got.getheaders():
                        if name.lower() not in _DROPPED:
                            self.send_header(name, value)
                    length = got.getheader("Content-Length") if self.command == "HEAD" else str(len(held))
                    self.send_header("Content-Length", length or "0")
                    self.end_headers()
                    self.wfile.write(held)
                upstream.close()
            elif answer == SILENT:
                ended.wait(30)
            elif answer != BROKEN:
                self.send_response(answer.status)
                self.send_header("Content-Length", str(len(answer.body) + answer.cut))
                self.end_headers()
                self.wfile.write(answer.body)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _any  # noqa: N815 - their names are given

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name is given
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if pair is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        # The handshake is made by the thread of the connection.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"{'https' if pair else 'http'}://127.0.0.1:{server.server_address[1]}"
    finally:
        ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


def error(status: int, code: str) -> Answer:
    """An error as S3 says it, with words that no message may show."""
    xml = f"<?xml version='1.0'?>\n<Error><Code>{code}</Code><Message>\x1b[31mHOSTILE {SECRET}\n</Message></Error>"
    return Answer(status, xml.encode())
