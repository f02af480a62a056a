"""The distribution that this is installed as. Its name on package indexes is not that of the command.

`ach` there is a library for bank files that has nothing to do with this project: no hint may name it.
"""

from __future__ import annotations

from typing import Any, Final

NAME: Final = "ach-engine"


def release() -> str:
    """Return the version that is installed."""
    from importlib.metadata import version  # noqa: PLC0415 - most commands do not ask

    return version(NAME)


def install(extra: str) -> str:
    """Return the command that installs this with an extra: from where it came, which may be a clone or a file."""
    place, editable = _source()
    option = "-e " if editable else ""
    return f"pip install {option}'{place}[{extra}]'"


def _source() -> tuple[str, bool]:
    """Return what pip was asked to install, a folder, a file or a name, and whether it is used where it lies."""
    import json  # noqa: PLC0415 - as above
    from importlib.metadata import PackageNotFoundError, distribution  # noqa: PLC0415
    from urllib.parse import unquote, urlsplit  # noqa: PLC0415
    from urllib.request import url2pathname  # noqa: PLC0415

    try:
        text = distribution(NAME).read_text("direct_url.json")
    except PackageNotFoundError:  # one file of Python's, such as ach.pyz
        text = None
    if text is None:
        return NAME, False
    origin: dict[str, Any] = json.loads(text)
    url = urlsplit(str(origin["url"]))
    if url.scheme != "file":
        return NAME, False
    return url2pathname(unquote(url.path)), bool(origin.get("dir_info", {}).get("editable"))
