"""Where a mirror lies: a folder, or what is below a prefix of a bucket that speaks S3. Pure.

What a user wrote is shown only where it cannot hold a password.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote

S3: Final = "s3://"
_FILE: Final = "file:"
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PART: Final = re.compile(r"[A-Za-z0-9_=-][A-Za-z0-9_.=-]{0,254}")
"""A part of a prefix. What a glob, a shell or a URL reads as something else is left out, and so is `..`."""
_MOST_PREFIX: Final = 512
_ALMOST: Final = re.compile(r"s3[an]?:/{0,3}(?!/)|s3[an]://|s3//", re.IGNORECASE)
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")
_WEB: Final = frozenset({"http", "https"})


class PlaceNameError(ValueError):
    """What was written names no place; the message says what does."""


class Bucket(NamedTuple):
    """The place below `prefix` ("": all of it) in the bucket `name`."""

    name: str
    prefix: str

    def __str__(self) -> str:
        """Return it as a user writes it."""
        return f"{S3}{self.name}/{self.prefix}" if self.prefix else f"{S3}{self.name}"


Place = Path | Bucket


def place_of(text: str) -> Place:
    """Return the place that a text names: a path, `file:` with a path, or `s3://BUCKET/PREFIX`.

    Raises:
        PlaceNameError: it names none.
    """
    if not text or "\0" in text:
        raise PlaceNameError("expected a folder or s3://BUCKET/PREFIX")
    if text.startswith(S3):
        return _bucket(text.removeprefix(S3))
    if _ALMOST.match(text):
        raise PlaceNameError("a bucket is written s3://BUCKET/PREFIX, in small letters and with two slashes")
    if text.startswith(_FILE):
        return _folder(text.removeprefix(_FILE))
    scheme = _SCHEME.match(text)
    if scheme is None:
        return Path(text)
    if scheme[1].lower() in _WEB:
        raise PlaceNameError("a bucket is written s3://BUCKET/PREFIX; where its server is, AWS_ENDPOINT_URL says")
    raise PlaceNameError(f"{scheme[1].lower()}: is not supported: expected a folder or s3://BUCKET/PREFIX")


def _bucket(rest: str) -> Bucket:
    if "@" in rest:
        raise PlaceNameError("a bucket is written s3://BUCKET/PREFIX, without a key: AWS_ACCESS_KEY_ID and "
                             "AWS_SECRET_ACCESS_KEY are read from the environment")  # fmt: skip
    if "?" in rest or "#" in rest:
        raise PlaceNameError("a bucket is written s3://BUCKET/PREFIX, without parameters")
    name, _, prefix = rest.partition("/")
    if _BUCKET.fullmatch(name) is None or ".." in name:
        raise PlaceNameError("s3://BUCKET/PREFIX: a bucket has 3 to 63 of a-z 0-9 . - and begins and ends with a "
                             "letter or a digit")  # fmt: skip
    prefix = prefix.removesuffix("/")
    parts = prefix.split("/") if prefix else []
    if len(prefix) > _MOST_PREFIX or any(_PART.fullmatch(part) is None for part in parts):
        raise PlaceNameError("s3://BUCKET/PREFIX: each part of a prefix has A-Z a-z 0-9 . _ - = and does not "
                             "begin with a dot")  # fmt: skip
    return Bucket(name, prefix)


def _folder(rest: str) -> Path:
    """Return the path of a `file:` URL. The host may be left out, or be this one."""
    if rest.startswith("//"):
        host, slash, path = rest.removeprefix("//").partition("/")
        if host not in {"", "localhost"} or not slash:
            raise PlaceNameError("a folder is written file:///PATH, or as a path")
        rest = f"/{path}"
    path = unquote(rest)
    if not path or "\0" in path:
        raise PlaceNameError("a folder is written file:///PATH, or as a path")
    return Path(path)
