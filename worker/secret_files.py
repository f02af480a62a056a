"""Small files that hold a secret or a certificate: read as a whole, within bounds, and never quoted.

They are replaced while a process runs (a rotated secret of Docker or Kubernetes), so they are read when needed.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import ssl

MOST_BYTES: Final = 1024 * 1024
"""A bundle of certificates has some 200 KiB."""


class SecretFileError(ValueError):
    """A file cannot be used; the message has its path and what is wrong, and nothing of what it holds."""


def expanded(path: str) -> str:
    """Return a path whose `~/` is the home folder.

    Raises:
        RuntimeError: the home folder is not known.
    """
    return str(Path(path).expanduser()) if path.startswith("~/") else path


def read_file(path: str) -> bytes:
    """Return what a file holds.

    Raises:
        SecretFileError: it is missing, unreadable, empty, too large, or no file.
    """
    try:
        # A pipe would let the process wait for its other end.
        number = os.open(expanded(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                raise SecretFileError(f"{path} is no regular file")
            with os.fdopen(number, "rb", closefd=False) as file:
                held = file.read(MOST_BYTES + 1)
        finally:
            os.close(number)
    except SecretFileError:
        raise
    except FileNotFoundError:
        raise SecretFileError(f"there is no file {path}") from None
    except PermissionError:
        raise SecretFileError(f"this user may not read {path}") from None
    except (OSError, ValueError, RuntimeError) as error:  # a path with a NUL, a home that is not known
        said = error.strerror if isinstance(error, OSError) else None
        raise SecretFileError(f"{path} cannot be read: {(said or 'no such path').lower()}") from None
    if not held.strip():
        raise SecretFileError(f"{path} is empty")
    if len(held) > MOST_BYTES:
        raise SecretFileError(f"{path} is larger than {MOST_BYTES // 1024} KiB")
    return held


def read_secret(path: str) -> str:
    """Return the one line that a file holds, without the newline at its end.

    Raises:
        SecretFileError: it cannot be read, or holds something else.
    """
    try:
        text = read_file(path).decode()
    except UnicodeDecodeError:
        raise SecretFileError(f"{path} is no text in UTF-8") from None
    text = text.rstrip("\r\n")
    if "\n" in text or "\r" in text or "\0" in text:
        raise SecretFileError(f"{path} holds more than one line")
    return text


# -- certificates ------------------------------------------------------------------------------------------------------


class Named(NamedTuple):
    """A file, and the setting that names it."""

    setting: str
    path: str


def readable(file: Named) -> str:
    """Return the path of a file that can be read, for a library that opens it itself.

    A library would wait for the other end of a pipe, and says of some files what it says of a server that is away.

    Raises:
        SecretFileError: it cannot.
    """
    try:
        read_file(file.path)
    except SecretFileError as error:
        raise SecretFileError(f"{file.setting}: {error}") from None
    return expanded(file.path)


def load_authorities(context: ssl.SSLContext, file: Named, *, kind: str = "certificate") -> None:
    """Let a context trust the certificates of a file, or know its revocations.

    Raises:
        SecretFileError: it cannot be read, or holds none.
    """
    try:
        context.load_verify_locations(cafile=readable(file))
    except OSError:
        raise SecretFileError(f"{file.setting}: {file.path} holds no {kind} in PEM") from None


def load_pair(context: ssl.SSLContext, cert: Named, key: Named, password: str = "") -> None:
    """Let a context show a certificate, with the chain behind it, by its private key.

    Raises:
        SecretFileError: the files cannot be read, are none, do not belong together, or another password is needed.
    """
    paths = readable(cert), readable(key)
    asked = False

    def give() -> str:  # otherwise OpenSSL asks on the terminal
        nonlocal asked
        asked = True
        return password

    try:
        context.load_cert_chain(*paths, password=give)
    except OSError as error:
        if asked:
            more = " with another password" if password else "; decrypt it (`openssl pkey` does)"
            raise SecretFileError(f"{key.setting}: {key.path} is encrypted{more}") from None
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            raise SecretFileError(f"{key.setting}: {key.path} is not the key of {cert.path}") from None
        raise SecretFileError(
            f"{cert.setting} and {key.setting}: {cert.path} and {key.path} are no certificate and key in PEM"
        ) from None
