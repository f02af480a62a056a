"""Bodies as they arrive: bounded in size, in time, and in the memory that all of them take together."""

from __future__ import annotations

import zlib
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import anyio

from worker.ingest.problems import MediaTypeError, TimeoutProblemError
from worker.serve.problems import AwayError, BadRequestError, TooLargeError, TooManyRequestsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator

SHARE: Final = 4
"""One caller may take so great a part of the memory: 1 / SHARE."""
_GZIP: Final = 16 + zlib.MAX_WBITS
_LONGEST: Final = 40


class Memory:
    """The bytes that bodies may take at a time."""

    def __init__(self, total: int) -> None:
        self._total = total
        self.taken = 0
        self._by_caller: Counter[str] = Counter()

    @contextmanager
    def hold(self, caller: str, size: int) -> Generator[None]:
        """Hold so many bytes for a caller during a block.

        Raises:
            TooManyRequestsError: the caller has too many bodies under way.
            AwayError: all callers together have.
        """
        if self._by_caller[caller] and self._by_caller[caller] + size > self._total // SHARE:
            raise TooManyRequestsError(
                "this credential has too many bodies under way", "Send fewer requests at a time.", retry_after=1
            )
        if self.taken and self.taken + size > self._total:
            raise AwayError("too many bodies are under way", retry_after=1)
        self.taken += size
        self._by_caller[caller] += size
        try:
            yield
        finally:
            self.taken -= size
            self._by_caller[caller] -= size
            if not self._by_caller[caller]:
                del self._by_caller[caller]


def size_of(content_length: str | None, encoding: str | None, most: int) -> int:
    """Return how many bytes to hold for a body: what it says, or `most` where it does not say.

    Raises:
        TooLargeError: it says that it is larger than `most`.
        MediaTypeError: it is of an encoding that is not read.
    """
    if encoding not in {None, "", "gzip", "identity"}:
        raise MediaTypeError(f"Content-Encoding: {(encoding or '')[:_LONGEST]!r} is not read here")
    # The HTTP server has seen to it that it is a number.
    if content_length is None:
        return most
    said = int(content_length)
    if said > most:
        raise too_large(most)
    return most if encoding == "gzip" else said


async def read_body(stream: AsyncIterator[bytes], most: int, seconds: float) -> bytes:
    """Return a body as it was sent.

    Raises:
        TooLargeError: it is larger than `most` bytes.
        TimeoutProblemError: it has not arrived within so many seconds.
    """
    body = bytearray()
    try:
        with anyio.fail_after(seconds):
            async for piece in stream:
                body += piece
                if len(body) > most:
                    raise too_large(most)
    except TimeoutError:
        raise TimeoutProblemError(f"the body has not arrived within {seconds:g} s") from None
    return bytes(body)


def inflated(body: bytes, most: int) -> bytes:
    """Return what gzip has packed, without inflating more than `most` bytes.

    Raises:
        TooLargeError: there is more.
        BadRequestError: it is not one whole stream of gzip.
    """
    unpacking = zlib.decompressobj(_GZIP)
    try:
        found = unpacking.decompress(body, most + 1)
    except zlib.error:
        raise BadRequestError("the body is not gzip, as Content-Encoding says") from None
    if len(found) > most:
        raise too_large(most)
    if not unpacking.eof or unpacking.unused_data:
        raise BadRequestError("the body is not one whole stream of gzip")
    return found


def too_large(most: int) -> TooLargeError:
    """Return the problem of a body with more than `most` bytes."""
    return TooLargeError(f"the body has more than {most:,} bytes", "Send fewer events at a time.")
