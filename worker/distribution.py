"""The distribution that this is installed as. Its name on package indexes is not that of the command.

`ach` there is a library for bank files that has nothing to do with this project: no hint may name it.
"""

from __future__ import annotations

from typing import Final

NAME: Final = "ach-engine"


def release() -> str:
    """Return the version that is installed."""
    from importlib.metadata import version  # noqa: PLC0415 - most commands do not ask

    return version(NAME)


def install(extra: str) -> str:
    """Return the command that installs this with an extra."""
    return f"pip install '{NAME}[{extra}]'"
