"""Small files that hold a secret or a certificate: read as a whole, within bounds, and never quoted.

They are replaced while a process runs (a rotated secret of Docker or Kubernetes), so they are read when needed.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

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
