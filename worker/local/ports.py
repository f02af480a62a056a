"""The ports of private servers that are to be found again: those of the last run, at first the usual ones."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

import msgspec

from worker.local.process_tree import LOOPBACK

if TYPE_CHECKING:
    from pathlib import Path

    from worker.local.servers import Servers

_FILE: Final = "ports.json"


class _Ports(msgspec.Struct):
    nats: int = 4222
    postgres: int = 5432


def usual_ports(folder: Path) -> tuple[int | None, int | None]:
    """Return the ports of nats-server and PostgreSQL; None for one that another program has."""
    try:
        known = msgspec.json.decode((folder / _FILE).read_bytes(), type=_Ports)
    except (OSError, msgspec.DecodeError):
        known = _Ports()
    return _if_free(known.nats), _if_free(known.postgres)


def note_ports(folder: Path, servers: Servers) -> None:
    """Remember where servers listen."""
    (folder / _FILE).write_bytes(msgspec.json.encode(_Ports(*servers.ports)))


def _if_free(port: int) -> int | None:
    if not 0 < port <= 65535:  # noqa: PLR2004 - the last port there is
        return None
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return None
    return port
