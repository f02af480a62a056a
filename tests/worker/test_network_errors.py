"""Errors of a network, in words."""

from __future__ import annotations

import errno
import socket

import pytest

from worker.network_errors import in_words

REFUSED = f"[Errno {errno.ECONNREFUSED}] Connect call failed"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed"), "the connection was refused"),
        (
            OSError(f"Multiple exceptions: {REFUSED} ('::1', 1, 0, 0), {REFUSED} ('127.0.0.1', 1)"),
            "the connection was refused",
        ),
        (OSError(f"Multiple exceptions: {REFUSED}, [Errno 101] Network is unreachable"), None),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), "no such socket"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "no such host"),
        (socket.gaierror(socket.EAI_AGAIN, "Try again"), "the name of the host cannot be looked up at the moment"),
        (TimeoutError(), "no reply before the timeout"),
        (TimeoutError(errno.ETIMEDOUT, "Connection timed out"), "no reply before the timeout"),
        (OSError(errno.EMFILE, "Too many open files"), "OSError: [Errno 24] Too many open files"),
        (ValueError("odd"), "ValueError: odd"),
        (KeyError(), "KeyError"),
    ],
)
def test_in_words(error: Exception, words: str | None) -> None:
    assert in_words(error) == (words or f"{type(error).__name__}: {error}")
