"""Records of a queue, as messages of the pipeline: bytes in, and whose they may be. Pure.

A record is the envelope as bytes or text, or the dictionary in which AWS Lambda hands over a message of SQS
(`messageId`, `body`) or Kinesis (`kinesis.sequenceNumber`, `kinesis.data` in base64). A record that is none of these is
kept as a dead letter, as any other message that is no event.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast

import msgspec

from worker.contract.message import Message
from worker.contract.partition import raw_subject, shared_subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Record: TypeAlias = "bytes | str | dict[str, Any]"
Records: TypeAlias = "dict[str, Any] | Iterable[Record]"
"""Records one by one, or the whole `{"Records": [...]}` of an invocation."""


class AnyTenant:
    """The type of `ANY_TENANT`."""

    def __repr__(self) -> str:
        return "ach.ANY_TENANT"


ANY_TENANT: Final = AnyTenant()
"""Says that whatever can write to the queue may write events of every tenant."""
Tenant: TypeAlias = "str | AnyTenant | Callable[[Record], str | AnyTenant | None]"
"""The tenant that the events of a queue belong to, or what says it of a record; None: of no tenant."""

RECORD_ID: Final = "Ach-Record"
"""Header of a dead letter that names the record."""
STREAM: Final = "function"
"""In the place of a stream, for dead letters that came this way."""
_UNBOUND: Final = "unbound"
"""A subject outside of the prefix of events: no tenant's events may come on it."""
_PLAIN: Final = re.compile(r"[\x21-\x7e]{1,200}")
_BITS: Final = 62
MOST_DELIVERIES: Final = 1_000_000
_DIGITS: Final = re.compile(r"[0-9]{1,13}")


class Read(NamedTuple):
    """A record: the id that its queue knows it by, and its message."""

    id: str
    message: Message


def read_records(records: Records, tenant: Tenant, *, prefix: str) -> list[Read]:
    """Return records as messages on a subject that binds them to their tenant; `prefix` is that of events.

    The sequence of a message is negative: it is made of the id of the record, so that a record which comes again leaves
    no second dead letter.
    """
    return [_read(str(place), record, tenant, prefix) for place, record in enumerate(_listed(records))]


def _listed(records: Records) -> Sequence[Record]:
    if not isinstance(records, dict):
        return [*records]
    listed: object = cast("dict[str, Any]", records).get("Records")
    if not isinstance(listed, list):
        raise TypeError('expected records, or an object with the list "Records"; pass [record] for a single one')
    return cast("list[Record]", listed)


def _read(place: str, record: Record, tenant: Tenant, prefix: str) -> Read:
    own, body = _parts(record)
    name = own or blake2b(body, digest_size=16).hexdigest()
    deliveries, sent = _history(record)
    said = name if _PLAIN.fullmatch(name) else "unprintable"
    block = f"NATS/1.0\r\n{RECORD_ID}: {said}\r\n\r\n".encode()
    whose = tenant(record) if callable(tenant) else tenant
    # Read by `Message.deliveries`, as JetStream writes it.
    reply = f"$JS.ACK.{STREAM}.record.{deliveries}.0.0.0.0"
    return Read(own or place, Message(_subject(prefix, whose), body, block, _sequence(name), reply, sent))


def _parts(record: Record) -> tuple[str | None, bytes]:
    """Return the id of a record, where its queue gives it one, and the bytes that it holds."""
    if isinstance(record, bytes):
        return None, record
    if isinstance(record, str):
        return None, _encoded(record)
    kinesis = record.get("kinesis")
    if isinstance(kinesis, dict):
        held = cast("dict[str, Any]", kinesis)
        return _id(held.get("sequenceNumber")), _unpacked(held.get("data"))
    body = record.get("body")
    text = body if isinstance(body, str) else msgspec.json.encode(record, enc_hook=repr).decode()
    return _id(record.get("messageId")), _encoded(text)


def _history(record: Record) -> tuple[int, str]:
    """Return how often a record was delivered, from 1, and when its queue took it, in nanoseconds; "" if unknown."""
    said = record.get("attributes") if isinstance(record, dict) else None
    if not isinstance(said, dict):
        return 1, ""
    attributes = cast("dict[str, Any]", said)
    sent_at = _number(attributes.get("SentTimestamp"), 0) * 1_000_000
    deliveries = min(_number(attributes.get("ApproximateReceiveCount"), 1), MOST_DELIVERIES)
    return max(1, deliveries), str(sent_at) if sent_at else ""


def _number(given: object, otherwise: int) -> int:
    return int(given) if isinstance(given, str) and _DIGITS.fullmatch(given) else otherwise


def _id(given: object) -> str | None:
    return given if isinstance(given, str) and given else None


def _encoded(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _unpacked(data: object) -> bytes:
    """Return what base64 stands for; what is no base64 is no event either, and is kept as it is."""
    text = data if isinstance(data, str) else repr(data)
    try:
        return b64decode(text, validate=True)
    except (Error, ValueError):
        return _encoded(text)


def _subject(prefix: str, tenant: str | AnyTenant | None) -> str:
    if isinstance(tenant, AnyTenant):
        return raw_subject(prefix)
    return shared_subject(prefix, tenant) if tenant else _UNBOUND


def _sequence(name: str) -> int:
    digest = blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest()
    return -1 - (int.from_bytes(digest, "big") >> (64 - _BITS))
