"""The trace that an event belongs to, as W3C Trace Context has it. Pure, and total: no bytes raise anything.

A producer says it in the header `traceparent` of its message, with `tracestate` beside it. A CloudEvent says it in its
extension `traceparent`, which goes first: it is the event's own, and those who pass the event on may set the header. A
trace tells who waits for what. It gives no rights, earns nothing, and is not kept in the ledger.

What is malformed is no trace; it costs no event. Nothing of it is passed on as received: a trace is made of hexadecimal
digits, and of a `tracestate` that keeps its grammar.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from worker.contract.cloudevents import looks_structured
from worker.contract.fields import is_array
from worker.contract.strict_reader import element_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.contract.message import Message

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
_EXTENSION: Final = "ce-"
"""Before the name of an extension of a CloudEvent, in a header."""
TRACE_HEADERS: Final = tuple(prefix + name for prefix in ("", _EXTENSION) for name in (TRACEPARENT, TRACESTATE))
SAMPLED: Final = 1
"""The flag of a trace that its producer records."""
_KNOWN_FLAGS: Final = 3
"""Sampled, and that the id of the trace is random: those of level 2. Others have no meaning yet."""
MOST_HEADER_BYTES: Final = 8192
"""Of a block of headers, that are looked at."""
MOST_STATE: Final = 512
"""Characters of a `tracestate`; of a longer one nothing is passed on."""

_PARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.{0,200})?", re.ASCII)
_ZEROS: Final = re.compile(r"0+")
_KEY: Final = r"(?:[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13}|[a-z][a-z0-9_\-*/]{0,255})"
_VALUE: Final = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_MEMBER: Final = re.compile(f"{_KEY}={_VALUE}", re.ASCII)
_MOST_MEMBERS: Final = 32
_HEADER: Final = re.compile(rb"\r\n((?:ce-)?trace(?:parent|state)):[ \t]*([^\r\n]*)(?=\r\n)", re.IGNORECASE)
_QUOTED: Final = b'"traceparent"'


class Trace(NamedTuple):
    """Where a span stands in a trace: hexadecimal ids, flags, and what vendors say beside them ("" for nothing)."""

    trace_id: str
    span_id: str
    flags: int
    state: str = ""

    @property
    def is_sampled(self) -> bool:
        """Whether the one who says it records the trace."""
        return bool(self.flags & SAMPLED)

    @property
    def parent(self) -> str:
        """The value of `traceparent`."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"

    @property
    def ids(self) -> dict[str, str]:
        """The ids of the span, by the names that log collectors know."""
        return {"trace_id": self.trace_id, "span_id": self.span_id}

    @property
    def headers(self) -> dict[str, str]:
        """The headers that say it."""
        return {TRACEPARENT: self.parent, **({TRACESTATE: self.state} if self.state else {})}

    @property
    def lines(self) -> str:
        """The same as lines of a block of headers."""
        return "".join([f"{name}: {value}\r\n" for name, value in self.headers.items()])


def read_trace(parent: str, state: str = "") -> Trace | None:
    """Return the trace that two headers say; None if the first is malformed. A malformed second one is left out."""
    found = _PARENT.fullmatch(parent)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or _ZEROS.fullmatch(trace_id) or _ZEROS.fullmatch(span_id):
        return None
    return Trace(trace_id, span_id, int(flags, 16) & _KNOWN_FLAGS, _state(state))


def _state(text: str) -> str:
    """Return a `tracestate` in its shortest form, "" for one that breaks the grammar."""
    if len(text) > MOST_STATE:
        return ""
    members = [one for part in text.split(",") if (one := part.strip(" \t"))]
    names = {member.partition("=")[0] for member in members}
    fits = len(members) == len(names) <= _MOST_MEMBERS and all(map(_MEMBER.fullmatch, members))
    return ",".join(members) if fits else ""


def trace_of(message: Message, element: int) -> Trace | None:
    """Return the trace of an event by its message and its index in it; None if it has none."""
    body = message.as_sent
    own = _attribute(element_of(body, element) if is_array(body) else body) if _QUOTED in body else None
    return own or trace_of_headers(message.block)


def trace_in(headers: Mapping[str, str], element: bytes = b"") -> Trace | None:
    """Return the trace of an event that came over HTTP: headers with names in lower case, and its text."""
    own = _attribute(element) if _QUOTED in element else None
    return own or _named(headers, _EXTENSION) or _named(headers, "")


def _named(headers: Mapping[str, str], prefix: str) -> Trace | None:
    parent = headers.get(prefix + TRACEPARENT)
    return None if parent is None else read_trace(parent, headers.get(prefix + TRACESTATE, ""))


def trace_of_headers(block: bytes) -> Trace | None:
    """Return the trace that a block of headers says; None if it says it twice, as one of the two may be forged."""
    found: dict[str, str] = {}
    for name, value in _HEADER.findall(block, 0, MOST_HEADER_BYTES):
        key = name.decode().lower()
        # A value that is given twice is none: the empty text fits no grammar.
        found[key] = "" if key in found else value[: MOST_STATE + 1].decode("latin-1").strip()
    return _named(found, _EXTENSION) or _named(found, "") if found else None


class _Extension(msgspec.Struct, frozen=True, gc=False):
    traceparent: str
    tracestate: str = ""


_decode: Final = msgspec.json.Decoder(_Extension).decode


def _attribute(body: bytes) -> Trace | None:
    """Return the trace that the extension of a structured CloudEvent says."""
    if not looks_structured(body):
        return None
    try:
        said = _decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    return read_trace(said.traceparent, said.tracestate)
