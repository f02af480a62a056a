"""The objects below a prefix of a bucket: the only module that knows obstore.

What a server says never gets into a message but for its status and the name of its error.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import S3Store

from worker.mirror.stores import GoneError, StoreError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from pathlib import Path

    from obstore import ObjectMeta, PutMode
    from obstore.store import ClientConfig, S3Config

    from worker.mirror.access import Access
    from worker.mirror.place import Bucket

PART_BYTES: Final = 8 << 20
"""What is sent or taken at a time: a larger object comes in several parts."""
AT_ONCE: Final = 4
"""Parts or objects under way at a time: memory is bounded by `PART_BYTES` for each."""
_STATUS: Final = re.compile(r"status code: (\d{3})")
_CODE: Final = re.compile(r"<Code>([A-Za-z0-9.]{1,64})</Code>")
_HINTS: Final = {
    "NoSuchBucket": "is its name right, and AWS_ENDPOINT_URL? `ach mirror` makes no buckets",
    "InvalidAccessKeyId": "is AWS_ACCESS_KEY_ID right?",
    "SignatureDoesNotMatch": "is AWS_SECRET_ACCESS_KEY right?",
    "ExpiredToken": "AWS_SESSION_TOKEN has run out",
    "AccessDenied": "it takes the rights to list, get, put and delete objects there (docs/mirror.md)",
    "RequestTimeTooSkewed": "is the clock of this machine right?",
    "PermanentRedirect": "is the bucket in another region? set AWS_REGION",
    "AuthorizationHeaderMalformed": "is the bucket in another region? set AWS_REGION",
}
_REFUSED: Final = "401", "403"
_METADATA: Final = re.compile(r"169\.254\.\d+\.\d+|fd00:ec2|/latest/(?:api/token|meta-data)")


class Patience(NamedTuple):
    """How long a server may take: seconds to connect, between two pieces, and until it is given up; tries again."""

    connect: float = 5.0
    silence: float = 30.0
    all: float = 60.0
    tries: int = 5


PAGE: Final = Patience(3, 5, 10, 1)
"""For what a page waits for."""


class Held(NamedTuple):
    """What an object holds, and the tag of this version of it."""

    body: bytes
    tag: str


class Objects:
    """The objects of one place. All methods block."""

    def __init__(self, bucket: Bucket, access: Access, patience: Patience = Patience()) -> None:  # noqa: B008 - immutable
        self.bucket = bucket
        self._shown = str(bucket)
        said = {
            "access_key_id": access.key,
            "secret_access_key": access.secret,
            "session_token": access.token,
            "region": access.region,
            "endpoint": access.endpoint,
        }
        config: S3Config = {name: value for name, value in said.items() if value}  # pyright: ignore[reportAssignmentType] - built by name
        client: ClientConfig = {
            "allow_http": access.allow_http,
            "connect_timeout": timedelta(seconds=patience.connect),
            "read_timeout": timedelta(seconds=patience.silence),
            # Of a whole part; the default would end a slow one.
            "timeout": timedelta(seconds=10 * patience.silence),
        }
        if access.authorities:
            client["root_certificate"] = access.authorities
        with self._in_words():
            self._store = S3Store(
                bucket.name,
                prefix=bucket.prefix or None,
                config=config,
                client_options=client,
                retry_config={
                    "max_retries": patience.tries,
                    "retry_timeout": timedelta(seconds=patience.all),
                    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5)},
                },
            )
        self.versioned = False
        """Whether the bucket keeps what is deleted or written over, as far as answers have said so."""

    def __str__(self) -> str:
        """Return where they are, as a user writes it."""
        return self._shown

    def read(self, path: str) -> Held | None:
        """Return a small object; None where there is none.

        Raises:
            StoreError: the store does not say.
        """
        try:
            with self._in_words():
                found = obstore.get(self._store, path)
                return Held(found.bytes().to_bytes(), found.meta["e_tag"] or "")
        except GoneError:
            return None

    def create(self, path: str, body: bytes) -> str | None:
        """Make an object and return its tag; None where there is one already.

        Raises:
            StoreError: the store does not say that it has.
        """
        return self._put_if(path, body, "create")

    def replace(self, path: str, body: bytes, tag: str) -> str | None:
        """Put an object in the place of the version with this tag, and return its tag; None where it is another one.

        Raises:
            StoreError: the store does not say that it has.
        """
        return self._put_if(path, body, {"e_tag": tag})

    def _put_if(self, path: str, body: bytes, mode: PutMode) -> str | None:
        try:
            with self._in_words():
                put = obstore.put(self._store, path, body, mode=mode)
        except (_OtherwiseError, GoneError):
            # A try that the store took, but whose answer was lost, is refused when it is made again.
            held = self.read(path)
            return None if held is None or held.body != body or mode == "create" else held.tag
        self.versioned = self.versioned or put["version"] not in {None, "null"}
        return put["e_tag"] or ""

    def refuses(self, path: str, body: bytes, tag: str | None) -> bool:
        """Tell whether the store minds conditions: `tag` is of a version that is not there any more, None: of none.

        A store that does not writes `body`, which should be what the object holds.

        Raises:
            StoreError: the store does not say.
        """
        try:
            with self._in_words():
                obstore.put(self._store, path, body, mode="create" if tag is None else {"e_tag": tag})
        except _OtherwiseError:
            return True
        return False

    def put(self, path: str, file: Path) -> int:
        """Send a file as an object, which is there as a whole or not at all; return its bytes.

        Raises:
            StoreError: the store does not say that it has it.
            OSError: the file cannot be read.
        """
        size = file.stat().st_size
        with self._in_words():
            obstore.put(self._store, path, file, chunk_size=PART_BYTES, max_concurrency=AT_ONCE)
        return size

    def fetch(self, wanted: Sequence[tuple[str, int, Path]]) -> None:
        """Bring objects here: path, bytes, and where to. A file is there as a whole or not at all.

        Raises:
            GoneError: one is not there.
            StoreError: the store does not give one, or not all of it.
            OSError: the disk cannot take one.
        """
        with ThreadPoolExecutor(AT_ONCE) as threads:
            for done in [threads.submit(self._fetch, *one) for one in wanted]:
                done.result()

    def _fetch(self, path: str, size: int, target: Path) -> None:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}")
        with beside.open("wb") as file:
            for start in range(0, size, PART_BYTES):
                length = min(PART_BYTES, size - start)
                with self._in_words():
                    piece = obstore.get_range(self._store, path, start=start, length=length).to_bytes()
                if len(piece) != length:
                    raise StoreError(f"{self._shown}: the server gave {len(piece)} of {length} bytes of {path}")
                file.write(piece)
        beside.replace(target)

    def sizes(self) -> dict[str, int]:
        """Return the bytes of all objects, by their paths.

        Raises:
            StoreError: the store does not say.
        """
        with self._in_words():
            pages: Iterable[Sequence[ObjectMeta]] = obstore.list(self._store, chunk_size=1000)  # pyright: ignore[reportUnknownMemberType] - its other forms need arrow
            return {one["path"]: one["size"] for page in pages for one in page}

    def is_empty(self) -> bool:
        """Tell whether there is no object.

        Raises:
            StoreError: the store does not say.
        """
        with self._in_words():
            pages: Iterable[Sequence[ObjectMeta]] = obstore.list(self._store, chunk_size=1)  # pyright: ignore[reportUnknownMemberType] - as above
            return not any(pages)

    def delete(self, paths: Iterable[str]) -> None:
        """Delete objects; those that are gone already are no error.

        Raises:
            StoreError: the store does not say that they are gone.
        """
        gone = list(paths)
        if gone:
            with self._in_words():
                obstore.delete(self._store, gone)

    @contextmanager
    def _in_words(self) -> Generator[None]:
        try:
            yield
        except (AlreadyExistsError, PreconditionError, FileNotFoundError) as error:
            if "NoSuchBucket" in str(error):
                raise _said(self._shown, str(error)) from None
            if isinstance(error, FileNotFoundError):
                raise GoneError(f"{self._shown}: an object is gone") from None
            raise _OtherwiseError(self._shown) from None
        except (BaseError, ValueError) as error:
            raise _said(self._shown, str(error)) from None
        except BaseException as error:
            # The library panics where it cannot read the address of a server; that is no kind of `Exception`.
            if type(error).__name__ != "PanicException":
                raise
            raise _unanswered(self._shown, "builder error") from None


class _OtherwiseError(Exception):
    """An object is not what a request takes for granted."""


def _said(shown: str, text: str) -> StoreError:
    """Return what went wrong in words: the status and the name of the error, nothing else that came from outside."""
    status, code = _STATUS.search(text), _CODE.search(text)
    if _METADATA.search(text):
        hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for a profile: `aws configure export-credentials`"
        return StoreError(f"{shown}: there is no key for it", hint=hint)
    if status is None:
        return _unanswered(shown, text)
    name = code[1] if code else ""
    words = {"301": "it is in another region", "401": "access is denied", "403": "access is denied"}
    said = words.get(status[1], "no such bucket" if name == "NoSuchBucket" else f"its server says {status[1]}")
    away = status[1].startswith("5") or status[1] in {"408", "429"}
    fallback = "AccessDenied" if status[1] in _REFUSED else "PermanentRedirect" if status[1] == "301" else ""
    hint = _HINTS.get(name) or _HINTS.get(fallback)
    return StoreError(f"{shown}: {said}{f' ({name})' if name else ''}", away=away, hint=hint)


def _unanswered(shown: str, text: str) -> StoreError:
    if "builder error" in text:
        return StoreError(f"{shown}: the settings of its server cannot be used", hint="is AWS_ENDPOINT_URL right?")
    if "TimedOut" in text or "Timeout" in text or "timed out" in text:
        return StoreError(f"{shown}: no reply before the timeout", away=True)
    if "certificate" in text.lower():
        hint = "AWS_CA_BUNDLE names a file of certificates that are trusted, too"
        return StoreError(f"{shown}: the certificate of its server is not trusted", hint=hint)
    said = "cannot be reached" if "kind: Connect" in text else "ended the connection, or said what is no answer of S3"
    return StoreError(f"{shown}: its server {said}", away=True, hint="is AWS_ENDPOINT_URL right?")
