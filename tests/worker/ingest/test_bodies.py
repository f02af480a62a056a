"""Bodies within bounds."""

from __future__ import annotations

import gzip
import zlib

import pytest

from worker.ingest.bodies import Memory, inflated, size_of
from worker.ingest.problems import MediaTypeError
from worker.serve.problems import AwayError, BadRequestError, TooLargeError, TooManyRequestsError


def test_no_more_is_inflated_than_fits() -> None:
    assert inflated(gzip.compress(b"x" * 1000), 1000) == b"x" * 1000
    with pytest.raises(TooLargeError):
        inflated(gzip.compress(b"x" * 1001), 1000)
    with pytest.raises(TooLargeError):
        inflated(gzip.compress(b"\0" * 50_000_000), 1000)


@pytest.mark.parametrize(
    "body",
    # Without a time: all processes of a run have to know a test by one name.
    [b"", b"x", gzip.compress(b"x", mtime=0)[:-1], gzip.compress(b"x", mtime=0) * 2, zlib.compress(b"x"), b"\x1f\x8b"],
)
def test_what_is_no_gzip(body: bytes) -> None:
    with pytest.raises(BadRequestError):
        inflated(body, 1000)


def test_what_is_held_for_a_body() -> None:
    assert size_of("10", None, 1000) == size_of("10", "identity", 1000) == 10
    assert size_of("10", "gzip", 1000) == size_of(None, None, 1000) == 1000
    with pytest.raises(TooLargeError):
        size_of("1001", None, 1000)
    with pytest.raises(MediaTypeError):
        size_of("1", "br", 1000)


def test_callers_share_the_memory() -> None:
    memory = Memory(100)
    with memory.hold("a", 20):
        with pytest.raises(TooManyRequestsError), memory.hold("a", 6):
            pass
        with memory.hold("a", 5), memory.hold("b", 75):
            assert memory.taken == 100
            with pytest.raises(AwayError), memory.hold("c", 1):
                pass
    assert memory.taken == 0
    with memory.hold("a", 1000):
        assert memory.taken == 1000, "one body is always taken"
