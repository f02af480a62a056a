"""No secret of a URL is shown, whatever it is made of, by any library."""

from __future__ import annotations

import re
import traceback
from urllib.parse import quote

import anyio
import pytest
import structlog.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st

from worker.broker.streams import open_broker
from worker.commands.servers import CommandError, command_errors
from worker.settings import Settings, SettingsError, read_settings
from worker.store import open_store
from worker.urls import is_clear, redacted, servers_of, shown

NOISE = "@/:,?#%[] &=;+\\|'\"é日Ω!~^$(){}<>*"
SYLLABLES = ["qxzv", "wkjq", "zvxk", "jqwz", "xvkz", "vzqj"]
"""No word of our messages contains them."""

secrets = st.lists(st.sampled_from(SYLLABLES) | st.text(NOISE, min_size=1, max_size=2), min_size=1, max_size=7).map(
    "".join
)


def spelt(secret: str) -> st.SearchStrategy[str]:
    """Return a secret as people write it: as it is, encoded, or half and half."""
    return st.sampled_from([secret, quote(secret, safe=""), quote(secret), quote(secret, safe="@:/?")])


@st.composite
def urls(draw: st.DrawFn, schemes: tuple[str, ...]) -> tuple[str, str]:
    """Return a URL, and the secrets in it."""
    secret, other = draw(secrets), draw(secrets)
    one, two = draw(spelt(secret)), draw(spelt(other))
    # What PostgreSQL gets alone is a name, which it says in its messages.
    token = "{s}://{one}@127.0.0.1:1/"
    form = draw(
        st.sampled_from(
            [
                "{s}://me:{one}@127.0.0.1:1",
                token.replace("{one}", "me") if "postgresql" in schemes else token,
                "{s}://me:{one}{two}@localhost:1/db",
                "{s}://me:{one}@127.0.0.1:1,{s}://me:{two}@127.0.0.1:1",
                "{s}://me:{one}@127.0.0.1:1/db?password={two}",
                "{s}://127.0.0.1:1/db?password={one}&sslpassword={two}&host=127.0.0.1",
                "{s}://127.0.0.1:1/db?{one}={two}",
                "{s}://me:{one}@127.0.0.1:1,127.0.0.1:2/db?sslpassword={two}#{one}",
                "{s}://me:{one}@127.0.0.1:port",
                "{s}://me:{one}@[::1/db",
                "{s}://me:{one}@:1?password={two}",
                "{s}:/me:{one}@127.0.0.1",
                "{s}//me:{one}@127.0.0.1",
                "me:{one}@127.0.0.1",
                " {s}://me:{one}@127.0.0.1\n",
            ]
        )
    )
    return form.format(s=draw(st.sampled_from(schemes)), one=one, two=two), (secret if "{one}" in form else "") + (
        other if "{two}" in form else ""
    )


NATS = urls(("nats", "tls", "ws"))
POSTGRESQL = urls(("postgresql", "postgres"))
SYLLABLE = re.compile("|".join(SYLLABLES), re.IGNORECASE)


def assert_silent(said: str) -> None:
    assert not SYLLABLE.search(said), said


def trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


@given(NATS | POSTGRESQL | urls(("mysql", "http", "NATS")))
@example(("tls://u:qx@zv/wk:rd@host", ""))
@settings(max_examples=200)
def test_nothing_of_a_secret_is_shown(url: tuple[str, str]) -> None:
    assert_silent(shown(url[0]))
    assert_silent(repr(Settings(nats_url=url[0], database_url=url[0])))
    assert_silent(str([*Settings(nats_url=url[0], database_url=url[0]).__rich_repr__()]))
    for name in ("NATS_URL", "DATABASE_URL"):
        try:
            assert_silent(repr(read_settings({name: url[0]})))
        except SettingsError as error:
            assert_silent(trace(error))


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("nats://a:4222", "nats://a:4222"),
        ("nats://token@a:4222", "nats://a:4222"),
        ("nats://u:p,w@a,tls://t@b", "nats://a,tls://b"),
        ("nats://u:p@w@a", "nats://a"),
        ("nats://[::1]:4222", "nats://[::1]:4222"),
        ("tls://u:p@ss/w:rd@host", "tls://..."),
        ("nats://u:p?w@host", "nats://..."),
        ("nats://u:p#w@host", "nats://..."),
        ("nats://u:secret", "nats://..."),
        ("postgresql:///ach", "postgresql:///ach"),
        ("postgresql://u@/db?host=/run&port=5", "postgresql:///db"),
        ("postgresql://u:p@h1:5,h2:6/db?password=x", "postgresql://h1:5,h2:6/db"),
        ("postgresql://h/db?password=a@b", "postgresql://..."),
        ("postgresql://u:p@w@h/db", "postgresql://..."),
        ("mysql://u:p@h/db", "..."),
        ("", "..."),
    ],
)
def test_what_is_shown(url: str, wanted: str) -> None:
    assert shown(url) == wanted


def test_a_comma_of_a_password_begins_no_server() -> None:
    assert servers_of("nats://u:a,b@x, tls://c,d@y") == ["nats://u:a,b@x", "tls://c,d@y"]
    assert is_clear("nats://u:a,b@x")
    assert not is_clear("nats://x,y")
    assert is_clear("postgresql://x,y/db?user=a@b")


@given(NATS | POSTGRESQL, st.sampled_from(["invalid literal: {}", "{!r} does not exist", "{}", "a{}b"]))
@settings(max_examples=120)
def test_what_libraries_say_is_redacted(url: tuple[str, str], form: str) -> None:
    for said in (url[0], url[1], url[1].lower(), *re.split("[@/:?#,]", url[0]), quote(url[1])):
        assert_silent(redacted(form.format(said), url[0]))


def test_what_is_no_secret_stays() -> None:
    url = "postgresql://ann:hunter2000@db/ach?sslmode=require&password=ab"
    said = 'password authentication failed for user "ann" at db, sslmode require'
    assert redacted(said, url) == said
    assert redacted('no "hunter2000x" nor ab, but abc', url) == 'no "...x" nor ..., but abc'
    assert redacted("nothing", "nats://localhost:4222") == "nothing"


# -- the code that meets the servers ----------------------------------------------------------------------------------


@given(POSTGRESQL)
@settings(max_examples=60, deadline=None)
@example(("postgresql://u:p@127.0.0.1:qxzv/db", ""))
@example(("postgresql://u:qxzv/wkjq@127.0.0.1:1/db", ""))
@example(("postgresql://127.0.0.1:1/db?qxzv", ""))
@example(("postgresql://127.0.0.1:1/db?sslmode=qxzv", ""))
@example(("postgresql://127.0.0.1:1/db?port=qxzv", ""))
@example(("postgresql://127.0.0.1:99999999/db?password=qxzv", ""))
@example(("postgresql://[qxzv/db", ""))
def test_no_error_of_the_database_tells(url: tuple[str, str]) -> None:
    config = Settings(database_url=url[0])

    async def connect() -> None:
        with command_errors(config):
            async with open_store(url[0]) as store:
                await store.ping()

    try:
        anyio.run(connect)
    except CommandError as error:
        assert_silent(trace(error))
    else:
        raise AssertionError("no server is there")


@given(NATS)
@settings(max_examples=60, deadline=None)
@example(("nats://127.0.0.1:qxzv", ""))
@example(("nats://[qxzv", ""))
@example(("nats://qxzv/wkjq@127.0.0.1:1", ""))
def test_no_error_of_the_broker_tells(url: tuple[str, str]) -> None:
    config = Settings(nats_url=url[0])

    async def connect() -> None:
        with command_errors(config), anyio.move_on_after(0.2):
            async with open_broker(config):
                raise AssertionError("no server is there")

    with structlog.testing.capture_logs() as lines:
        try:
            anyio.run(connect)
        except CommandError as error:
            assert_silent(trace(error))
    assert_silent(str(lines))
