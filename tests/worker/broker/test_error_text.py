"""What the broker says, by kind; what has no kind of its own is not lost among others."""

from __future__ import annotations

import errno
import socket

import pytest
from nats.errors import AuthorizationError, NoServersError, UnexpectedEOF
from nats.errors import TimeoutError as NatsTimeoutError

from tests.faults.interjector import CLOSING, STANDING
from worker.broker.error_text import Kind, kind_of
from worker.broker.errors import in_words

LOST = (
    ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"),
    ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    BrokenPipeError(errno.EPIPE, "Broken pipe"),
    OSError(errno.EHOSTUNREACH, "No route to host"),
    OSError(errno.ENETUNREACH, "Network is unreachable"),
    socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
    socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    TimeoutError(),
    NatsTimeoutError(),
    NoServersError(),
    UnexpectedEOF(),
)


@pytest.mark.parametrize("said", [*CLOSING, *STANDING])
def test_whatever_a_broker_says_has_a_kind(said: str) -> None:
    assert kind_of(said) not in {Kind.OTHER, Kind.LOST}
    assert kind_of(f"Error: nats: '{said.lower()}'") is kind_of(said)
    assert (kind_of(said) is Kind.PERMISSIONS) == said.startswith("Permissions Violation")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Authorization Violation", Kind.AUTHORIZATION),
        ("Authentication Timeout", Kind.AUTHORIZATION),
        ("Account Authentication Expired", Kind.AUTHORIZATION),
        ("maximum account active connections exceeded", Kind.LIMIT),
        ("Maximum Payload Violation", Kind.PAYLOAD),
        ("maximum control line exceeded", Kind.PROTOCOL),
        ("Secure Connection - TLS Required", Kind.TLS),
        ("Stale Connection", Kind.SILENT),
        ("no answer to a ping for 10 s", Kind.SILENT),
        ("the reader task of nats-py has ended", Kind.SILENT),
        ("ConnectionRefusedError: [Errno 111] Connect call failed ('127.0.0.1', 1)", Kind.LOST),
        ("UnexpectedEOF: nats: unexpected EOF", Kind.LOST),
        ("NoServersError: nats: no servers available for connection", Kind.LOST),
        ("gaierror: [Errno -2] Name or service not known", Kind.LOST),
        *((in_words(error), Kind.LOST) for error in LOST),
        (in_words(AuthorizationError()), Kind.AUTHORIZATION),
        ("The Moon Is Full", Kind.OTHER),
    ],
)
def test_kinds(said: str, kind: Kind) -> None:
    assert kind_of(said) is kind
