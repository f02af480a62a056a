"""What goes wrong on the way to a server, in words."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from typing import Final

_BY_NUMBER: Final = {
    errno.ECONNREFUSED: "the connection was refused",
    errno.ECONNRESET: "the connection was reset",
    errno.ECONNABORTED: "the connection was closed",
    errno.EPIPE: "the connection was closed",
    errno.EHOSTUNREACH: "the host cannot be reached",
    errno.ENETUNREACH: "the network cannot be reached",
    errno.ETIMEDOUT: "no reply before the timeout",
    errno.ENOENT: "no such socket",
    errno.EACCES: "no permission to use the socket",
}
_NUMBER: Final = re.compile(r"\[Errno (\d+)\]")


def in_words(error: BaseException) -> str:
    """Return a network's error in words, and any other as its type and text."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"the certificate of the server is not trusted: {error.verify_message.rstrip('.')}"
        case ssl.SSLError(reason=str(reason)):
            return f"TLS: {reason.replace('_', ' ').lower()}"
        case socket.gaierror(errno=socket.EAI_AGAIN):
            return "the name of the host cannot be looked up at the moment"
        case socket.gaierror():
            return "no such host"
        case OSError() if (number := _number(error)) in _BY_NUMBER:
            return _BY_NUMBER[number]
        case TimeoutError():
            return "no reply before the timeout"
        case _:
            return f"{type(error).__name__}: {error}".removesuffix(": ")


def _number(error: OSError) -> int:
    """Return the number of an error; of several addresses' errors, which come as one text, that of all of them."""
    if error.errno is not None:
        return error.errno
    numbers = {int(found) for found in _NUMBER.findall(str(error))}
    return numbers.pop() if len(numbers) == 1 else 0
