"""What can go wrong with the broker, as the rest of the worker sees it."""

from __future__ import annotations

from typing import Final

from nats.errors import Error as NatsError
from nats.errors import NoRespondersError, NoServersError

from worker import network_errors

OUT_OF_REACH: Final = (NatsError, OSError, TimeoutError)
"""What nats-py raises while the broker is away."""
GARBLED: Final = (ValueError, AttributeError, KeyError, TypeError, AssertionError)
"""What nats-py raises when a server says what no NATS server says."""


class PlainTextError(NatsError):
    """A broker offers no TLS where we want it."""

    def __str__(self) -> str:
        return "the server offers no TLS, and NATS_URL, NATS_CA, NATS_CERT or NATS_TLS_FIRST ask for it"


class BrokerAwayError(Exception):
    """The broker did not answer, or cannot at the moment: try the same again."""


class BrokerMismatchError(Exception):
    """The broker has something else under a name that we need; the message says what."""


def in_words(error: BaseException) -> str:
    """Return an error in words."""
    if isinstance(error, NoRespondersError):
        return "no JetStream answers; it is off, or has another domain or prefix (NATS_JS_DOMAIN, NATS_JS_API_PREFIX)"
    if isinstance(error, NoServersError):
        return "none of the servers answers"
    if isinstance(error, NatsError) and not isinstance(error, TimeoutError):
        return str(error).removeprefix("nats: ") or type(error).__name__
    return network_errors.in_words(error)
