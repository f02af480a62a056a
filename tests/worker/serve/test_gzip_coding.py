from __future__ import annotations

import gzip

import pytest

from worker.serve.gzip_coding import compressed, takes_gzip


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        (None, False),
        ("", False),
        ("identity", False),
        ("br", False),
        ("gzip", True),
        ("GZip", True),
        ("x-gzip", True),
        ("br, deflate ,gzip;q=0.1", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("gzip;q=0.001, *;q=0", True),
        ("*;q=0", False),
        ("notgzip", False),
    ],
)
def test_gzip_is_for_those_who_name_it(header: str | None, *, taken: bool) -> None:
    assert takes_gzip(header) == taken


def test_a_body_comes_back() -> None:
    body = b'{"id":"first"}' * 1000
    assert gzip.decompress(compressed(body)) == body
    assert compressed(body) == compressed(body)
    assert len(compressed(body)) < len(body) / 20
