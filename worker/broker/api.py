"""Requests to JetStream's API: a question in JSON, and an answer or a numbered error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from worker.broker.errors import BrokerAwayError

if TYPE_CHECKING:
    from worker.broker.client import BrokerClient

T = TypeVar("T")

REQUEST_SECONDS: Final = 5.0
"""For one request to the API, and for the acknowledgement of one message."""
SERVER_AT_FAULT: Final = 500
"""From this code on an error is about the server, and not about the request: as in HTTP."""
CONSUMER_EXISTS: Final = 10148
WRONG_LAST_SEQUENCE: Final = 10071
_NOT_FOUND: Final = 404


class Fault(msgspec.Struct):
    """An error of JetStream: `code` is as in HTTP, `err_code` says which one it is."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class ApiError(Exception):
    """JetStream refused a request."""

    def __init__(self, what: str, fault: Fault) -> None:
        super().__init__(f"{what}: {fault.description} (error {fault.err_code})")
        self.what = what
        self.fault = fault

    @property
    def is_missing(self) -> bool:
        """Whether there is no such stream, consumer or message."""
        return self.fault.code == _NOT_FOUND


class StoredMessage(msgspec.Struct):
    """A message in a stream; `hdrs` is its block of headers."""

    seq: int = 0
    hdrs: bytes = b""
    data: bytes = b""
    time: str = ""
    """When it was stored, in RFC 3339."""


class _Failure(msgspec.Struct):
    error: Fault | None = None


class _Found(msgspec.Struct):
    message: StoredMessage


async def ask(client: BrokerClient, what: str, shape: type[T], asked: object = None) -> T:
    """Send a request to `<api>.<what>` and return the answer in a shape that msgspec decodes to.

    The API is `$JS.API`, or where the client's identity has it.

    Raises:
        ApiError: JetStream refused it.
        BrokerAwayError: the answer is no JSON of that shape.
        nats.errors.Error, TimeoutError, OSError: no answer.
    """
    body = b"" if asked is None else msgspec.json.encode(asked)
    said = await client.request(f"{client.api}.{what}", body, timeout=REQUEST_SECONDS)
    try:
        fault = msgspec.json.decode(said.data, type=_Failure).error
        if fault is None:
            return msgspec.json.decode(said.data, type=shape)
    except msgspec.DecodeError as error:
        raise BrokerAwayError(f"an answer of JetStream cannot be read: {error}") from error
    raise ApiError(what, fault)


async def stored_message(client: BrokerClient, stream: str, asked: object) -> StoredMessage | None:
    """Return the message that is asked for (`last_by_subj`, or `next_by_subj` from `seq` on); None where there is none.

    Raises:
        ApiError, BrokerAwayError, nats.errors.Error, TimeoutError, OSError: as `ask` does.
    """
    try:
        return (await ask(client, f"STREAM.MSG.GET.{stream}", _Found, asked)).message
    except ApiError as error:
        if error.is_missing:
            return None
        raise


async def last_message(client: BrokerClient, stream: str, subject: str) -> StoredMessage | None:
    """Return the last message on a subject, None where the stream has none.

    Raises:
        ApiError, BrokerAwayError, nats.errors.Error, TimeoutError, OSError: as `ask` does.
    """
    return await stored_message(client, stream, {"last_by_subj": subject})
