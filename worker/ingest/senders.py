"""Who sends: a tenant's key, or a webhook of others; another configuration may take the place of the present one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from worker.serve.access import LONGEST_TOKEN, Keys
from worker.serve.problems import UnauthorizedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.ingest.config import Config, Webhook


class Sender(NamedTuple):
    """Who sends, known for sure."""

    tenant: str
    id: str
    """For limits and logs; says nothing that is secret."""
    validate: bool = False
    """Whether its events are always held to the rules' contracts."""


class Senders:
    """Knows the keys and webhooks of all tenants, as the configuration has them now."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._keys, self._webhooks = _known(config)

    def take(self, config: Config) -> None:
        """Put another configuration in the place of the present one. Address and limits stay."""
        self.config = config
        self._keys, self._webhooks = _known(config)

    def sender(self, credential: str) -> Sender:
        """Return whose key it is.

        Raises:
            UnauthorizedError: no such key is known.
        """
        if len(credential) > LONGEST_TOKEN or not credential.isascii():
            raise UnauthorizedError("the credential is not valid here")
        (tenant, validate), name = self._keys.find(credential)
        return Sender(tenant, name, validate)

    def webhook(self, name: str) -> Webhook | None:
        """Return the webhook of a name."""
        return self._webhooks.get(name)


def _known(config: Config) -> tuple[Keys[tuple[str, bool]], Mapping[str, Webhook]]:
    keys = {one.hash: (name, one.validate) for name, tenant in config.tenants.items() for one in tenant.each()}
    return Keys(keys), dict(config.webhooks)
