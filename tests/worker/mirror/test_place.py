"""Which texts name a place, and what the environment says of a bucket; a key is never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.mirror.access import AccessError, access_of
from worker.mirror.place import Bucket, PlaceNameError, place_of

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("mirror", Path("mirror")),
        ("../mirror", Path("../mirror")),
        ("a:b/c", Path("a:b/c")),
        ("s3", Path("s3")),
        ("file:///tmp/x%20y", Path("/tmp/x y")),  # noqa: S108 - a name alone
        ("file:/tmp/x", Path("/tmp/x")),  # noqa: S108
        ("file://localhost/tmp/x", Path("/tmp/x")),  # noqa: S108
        ("file:mirror", Path("mirror")),
        ("s3://books", Bucket("books", "")),
        ("s3://books/", Bucket("books", "")),
        ("s3://my.books-1/a/b_c=1.d/", Bucket("my.books-1", "a/b_c=1.d")),
    ],
)
def test_a_text_names_a_place(text: str, place: Path | Bucket) -> None:
    assert place_of(text) == place


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a folder"),
        ("s3:/books", "two slashes"),
        ("s3:books", "two slashes"),
        ("S3://books", "small letters"),
        ("s3a://books/x", "s3://BUCKET/PREFIX"),
        ("s3//books", "two slashes"),
        ("s3:///books", "3 to 63"),
        ("s3://", "3 to 63"),
        ("s3://Books", "3 to 63"),
        ("s3://b..k/x", "3 to 63"),
        ("s3://books/../other", "does not begin with a dot"),
        ("s3://books/a/./b", "does not begin with a dot"),
        ("s3://books/a//b", "each part"),
        ("s3://books/.ach-mirror", "does not begin with a dot"),
        ("s3://books/a*b", "each part"),
        ("s3://books/a b", "each part"),
        ("s3://books/a%2e%2e", "each part"),
        ("s3://books/\u202ex", "each part"),
        ("s3://books/" + "x" * 600, "each part"),
        ("s3://books/p?versionId=x", "without parameters"),
        ("https://books.s3.amazonaws.com/x", "AWS_ENDPOINT_URL"),
        ("http://localhost:9000/books", "AWS_ENDPOINT_URL"),
        ("gs://books/x", "gs: is not supported"),
        ("az://books/x", "az: is not supported"),
        ("file://server/share", "file:///PATH"),
        ("file:", "file:///PATH"),
    ],
)
def test_what_names_no_place_says_what_does(text: str, said: str) -> None:
    with pytest.raises(PlaceNameError, match=said) as refused:
        place_of(text)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("text", ["s3://me:hunter2@books/x", "s3://books/x@hunter2", "s3://books/x?key=hunter2"])
def test_a_key_in_a_place_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(PlaceNameError) as refused:
        place_of(text)
    assert "hunter2" not in str(refused.value)


def test_the_environment_says_how_a_bucket_is_reached(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-a-file\n")
    found = access_of({
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY_FILE": str(tmp_path / "secret"),
        "AWS_ENDPOINT_URL": "https://s3.example.com/",
        "AWS_DEFAULT_REGION": "eu-central-1",
    })  # fmt: skip
    assert (found.key, found.secret, found.token) == ("key", "from-a-file", "")
    assert (found.endpoint, found.region, found.allow_http) == ("https://s3.example.com", "eu-central-1", False)
    # For roles and the like: the library looks itself.
    assert access_of({}) == access_of({"AWS_ENDPOINT_URL": "", "AWS_ACCESS_KEY_ID": ""})


@pytest.mark.parametrize(
    ("variables", "allowed"),
    [
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"}, True),
        ({"AWS_ENDPOINT_URL": "http://[::1]:9000"}, True),
        ({"AWS_ENDPOINT_URL": "http://localhost:9000"}, True),
        ({"AWS_ENDPOINT_URL": "http://minio:9000", "AWS_ALLOW_HTTP": "true"}, True),
        ({"AWS_ENDPOINT_URL": "https://minio:9000", "AWS_ALLOW_HTTP": "true"}, False),
        ({"AWS_ENDPOINT_URL": "https://other", "AWS_ENDPOINT_URL_S3": "http://localhost:9000"}, True),
    ],
)
def test_without_tls_only_to_this_machine_or_when_it_is_said(variables: dict[str, str], *, allowed: bool) -> None:
    assert access_of({**KEYS, **variables}).allow_http is allowed


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"AWS_ACCESS_KEY_ID": "k"}, "AWS_SECRET_ACCESS_KEY is not set"),
        ({"AWS_SECRET_ACCESS_KEY": "hunter2"}, "AWS_ACCESS_KEY_ID is not set"),
        ({"AWS_ENDPOINT_URL": "http://minio:9000"}, "AWS_ALLOW_HTTP"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1.example.com"}, "AWS_ALLOW_HTTP"),
        ({"AWS_ENDPOINT_URL": "minio:9000"}, "expected a URL"),
        ({"AWS_ENDPOINT_URL": "ftp://minio"}, "expected a URL"),
        ({"AWS_ENDPOINT_URL": "https://"}, "expected a URL"),
        ({"AWS_ENDPOINT_URL": "https://x:99999"}, "expected a URL"),
        ({"AWS_ENDPOINT_URL": "https://me:hunter2@minio"}, "without a key"),
        ({"AWS_ENDPOINT_URL": "https://minio/?token=hunter2"}, "without a key"),
        ({"AWS_SECRET_ACCESS_KEY": "hunter2", "AWS_SECRET_ACCESS_KEY_FILE": "/x"}, "both set"),
        ({"AWS_SECRET_ACCESS_KEY_FILE": "/nowhere"}, "AWS_SECRET_ACCESS_KEY_FILE: there is no file"),
        ({"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "hunter2\nx"}, "no key has"),
        ({"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "hunter2\u202e"}, "no key has"),
        ({"AWS_REGION": "eu-central-1/hunter2"}, "AWS_REGION: expected"),
        ({"AWS_ENDPOINT_URL": "https://exa mple"}, "expected a URL"),
        ({"AWS_ENDPOINT_URL": "https://%zz"}, "expected a URL"),
        ({"AWS_ENDPOINT_URL": "https://[::1"}, "expected a URL"),
        ({"AWS_CA_BUNDLE": "/nowhere"}, "AWS_CA_BUNDLE: there is no file"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(variables: dict[str, str], said: str) -> None:
    with pytest.raises(AccessError, match=said) as refused:
        access_of(variables)
    assert "hunter2" not in str(refused.value)


def test_a_file_without_certificates_is_none(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("hello")
    with pytest.raises(AccessError, match="no certificate in PEM"):
        access_of({"AWS_CA_BUNDLE": str(tmp_path / "ca.pem")})
