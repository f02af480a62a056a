"""A receiver of webhooks as a process of its own, to be killed: it notes what it has taken before it says so.

`python -m tests.faults.notify_receiver PORT FILE`: each request is one JSON line, its id, a hash of its body, and the
unlocks in it. It answers 204 to most, and 500 to some.
"""

from __future__ import annotations

import json
import os
import sys
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FAILS_EVERY = 7


class Handler(BaseHTTPRequestHandler):
    """Takes one request after another."""

    protocol_version = "HTTP/1.1"
    file = -1
    taken = 0

    def do_POST(self) -> None:
        """Take a request."""
        body = self.rfile.read(int(self.headers["content-length"]))
        Handler.taken += 1
        fails = Handler.taken % FAILS_EVERY == 0
        said = json.loads(body)
        several = said["type"] == "unlock.digest"
        unlocks = [one["id"] for one in said["data"]["unlocks"]] if several else [self.headers["webhook-id"]]
        line = {
            "path": self.path,
            "id": self.headers["webhook-id"],
            "body": blake2b(body, digest_size=16).hexdigest(),
            "unlocks": unlocks,
            "origin": said["data"].get("origin"),
            "taken": not fails,
        }
        os.write(self.file, json.dumps(line).encode() + b"\n")
        self.send_response(500 if fails else 204)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Takes the port of one that was killed."""

    allow_reuse_address = True
    daemon_threads = True


def main(port: int, path: Path) -> None:
    """Serve until killed."""
    Handler.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with Server(("127.0.0.1", port), Handler) as server:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
