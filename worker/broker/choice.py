"""Which client is used: the fast one where nats-py is as it needs it, else the one on the public interface.

The check is made once, before the first connection. Its price is a millisecond.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Final

import structlog

from worker.broker.client import BrokerClient
from worker.broker.errors import in_words

if TYPE_CHECKING:
    from types import ModuleType

    from worker.identity import Identity

PRIVATE: Final = f"{__package__}.private"

log = structlog.get_logger()


def new_client(before: BrokerClient | None = None, identity: Identity | None = None) -> BrokerClient:
    """Return a client that is not connected yet.

    It knows the servers that the one before it has learned of, and has its identity unless another one is given.
    """
    return client_class()(before, identity)


@cache
def client_class() -> type[BrokerClient]:
    """Return the class of all clients of this process; warn once where it is not the fast one."""
    private: ModuleType | None = None
    try:
        private = import_module(PRIVATE)
        missing: str = private.flaw()
    except Exception as error:  # noqa: BLE001 - whatever has changed, the other client works
        missing = in_words(error)
    if private is None or missing:
        version = metadata.version("nats-py")
        log.warning(
            "nats-py has changed inside, so messages take its public interface and are slower",
            version=version,
            missing=missing,
            hint="install a release of nats-py that ach's requirements allow",
        )
        return BrokerClient
    private.prepare()
    return private.FastClient
