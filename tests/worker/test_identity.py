"""The variables of an identity, contexts of the tool `nats`, and files of secrets: what counts, and what is refused."""

from __future__ import annotations

import json
import os
import traceback
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

import pytest

from tests.integration.identities import NKey, Operator
from worker.broker.login import Login, LoginError
from worker.environment import load_settings, secrets_of
from worker.identity import Identity
from worker.settings import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "correct-horse"


def test_where_jetstream_is() -> None:
    assert load_settings({}).identity.api == "$JS.API"
    assert load_settings({"NATS_JS_DOMAIN": "hub"}).identity.api == "$JS.hub.API"
    assert load_settings({"NATS_JS_API_PREFIX": "JS.acme.API"}).identity.api == "JS.acme.API"


@pytest.mark.parametrize("variable", ["NATS_URL", "DATABASE_URL"])
def test_a_url_from_a_file(variable: str, tmp_path: Path) -> None:
    file = tmp_path / "url"
    url = f"{'nats' if variable == 'NATS_URL' else 'postgresql'}://u:{SECRET}@h"
    for end in ("", "\n", "\r\n"):
        file.write_text(url + end)
        settings = load_settings({f"{variable}_FILE": str(file)})
        assert url in (settings.nats_url, settings.database_url)
        assert SECRET not in repr(settings)
    assert SECRET in "".join(secrets_of({f"{variable}_FILE": str(file)}))


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"NATS_URL_FILE": "F/none"}, "NATS_URL_FILE: there is no file F/none"),
        ({"NATS_URL_FILE": "F"}, "NATS_URL_FILE: F is no regular file"),
        ({"DATABASE_URL_FILE": "F/empty"}, "DATABASE_URL_FILE: F/empty is empty"),
        ({"DATABASE_URL_FILE": "F/pipe"}, "DATABASE_URL_FILE: F/pipe is no regular file"),
        ({"DATABASE_URL_FILE": "/dev/zero"}, "DATABASE_URL_FILE: /dev/zero is no regular file"),
        ({"DATABASE_URL_FILE": "F/large"}, "DATABASE_URL_FILE: F/large is larger than 1024 KiB"),
        ({"DATABASE_URL_FILE": "F/lines"}, "DATABASE_URL_FILE: F/lines holds more than one line"),
        ({"DATABASE_URL_FILE": "F/bytes"}, "DATABASE_URL_FILE: F/bytes is no text in UTF-8"),
        ({"DATABASE_URL_FILE": "F/secret"}, "DATABASE_URL: expected a URL that begins with postgresql://"),
        (
            {"DATABASE_URL_FILE": "F/secret", "DATABASE_URL": "postgresql://h"},
            "DATABASE_URL and DATABASE_URL_FILE are both set: set one of them",
        ),
        ({"NATS_CREDS": "x", "NATS_NKEY": "y"}, "NATS_CREDS and NATS_NKEY are two identities: set one of them"),
        (
            {"NATS_CREDS": "x", "NATS_URL": f"nats://u:{SECRET}@h"},
            "NATS_CREDS and NATS_URL are two identities: set one of them",
        ),
        (
            {"NATS_TOKEN": SECRET, "NATS_TOKEN_FILE": "x"},
            "NATS_TOKEN and NATS_TOKEN_FILE are both set: set one of them",
        ),
        (
            {"NATS_USER": "u", "NATS_PASSWORD": SECRET, "NATS_PASSWORD_FILE": "x"},
            "NATS_PASSWORD and NATS_PASSWORD_FILE are both set: set one of them",
        ),
        (
            {"NATS_USER": "u"},
            "NATS_USER needs NATS_PASSWORD or NATS_PASSWORD_FILE (a token belongs into NATS_TOKEN)",
        ),
        ({"NATS_PASSWORD": SECRET}, "NATS_PASSWORD needs NATS_USER"),
        ({"NATS_PASSWORD_FILE": "x"}, "NATS_PASSWORD_FILE needs NATS_USER"),
        ({"NATS_PASSWORD": f"{SECRET}\n", "NATS_USER": "u"}, "NATS_PASSWORD: it holds a newline or another control"),
        ({"NATS_CERT": "x"}, "NATS_CERT needs NATS_KEY"),
        ({"NATS_KEY": "x"}, "NATS_KEY needs NATS_CERT"),
        ({"NATS_TLS_FIRST": "perhaps"}, "NATS_TLS_FIRST: expected true or false"),
        ({"NATS_JS_DOMAIN": "a.b"}, "NATS_JS_DOMAIN: expected 1 to 64 of A-Z a-z 0-9 _ -"),
        ({"NATS_JS_API_PREFIX": "a.>"}, "NATS_JS_API_PREFIX: expected a subject without wildcards"),
        ({"NATS_INBOX_PREFIX": "_INBOX.*"}, "NATS_INBOX_PREFIX: expected a subject without wildcards"),
        ({"NATS_JS_DOMAIN": "a", "NATS_JS_API_PREFIX": "b"}, "NATS_JS_DOMAIN and NATS_JS_API_PREFIX are both set"),
        ({"NATS_CA": "x", "NATS_URL": "ws://h"}, "NATS_URL: ws:// has no TLS, which is asked for; write wss://"),
        ({"NATS_CONTEXT": "none"}, "NATS_CONTEXT: context 'none': there is no file F/nats/context/none.json"),
        ({"NATS_CONTEXT": "../x"}, "NATS_CONTEXT: expected the name of a context"),
        ({"NATS_CONTEXT": "a/x"}, "NATS_CONTEXT: expected the name of a context"),
        ({"NATS_CONTEXT": "broken"}, "NATS_CONTEXT: context 'broken': F/nats/context/broken.json is no JSON object"),
        ({"NATS_CONTEXT": "list"}, "NATS_CONTEXT: context 'list': F/nats/context/list.json is no JSON object"),
        ({"NATS_CONTEXT": "typed"}, "NATS_CONTEXT: context 'typed': its field `user` has the wrong type"),
        ({"NATS_CONTEXT": "nsc"}, "NATS_CONTEXT: context 'nsc': its field `nsc` is not supported: write a credentials"),
        (
            {"NATS_CONTEXT": "proxy"},
            "NATS_CONTEXT: context 'proxy': its field `socks_proxy` is not supported: forward a port",
        ),
        (
            {"NATS_CONTEXT": "op"},
            "NATS_CONTEXT: context 'op': its field `user_seed` is not supported with op: write it into a file",
        ),
        (
            {"NATS_CONTEXT": "env"},
            "NATS_CONTEXT: context 'env': its field `user_jwt` needs the variable 'A_JWT', which is not set",
        ),
        ({"NATS_CONTEXT": "data"}, "NATS_CONTEXT: context 'data': its field `user_jwt` is no data:;base64,"),
        ({"NATS_CONTEXT": "held"}, "NATS_CREDS: expected the path of a file, and not what it holds"),
        ({"NATS_CONTEXT": "seed"}, "NATS_USER_SEED needs NATS_USER_JWT"),
        ({"NATS_CONTEXT": "two"}, "NATS_USER_JWT and NATS_TOKEN are two identities: set one of them"),
        ({"NATS_NKEY": "SU" + "A" * 56}, "NATS_NKEY: expected the path of a file, and not what it holds"),
        ({"NATS_CREDS": "eyJ0eXAi.eyJq.x"}, "NATS_CREDS: expected the path of a file, and not what it holds"),
        (
            {"DATABASE_URL_FILE": f"postgresql://u:{SECRET}@h"},
            "DATABASE_URL_FILE: expected the path of a file that holds the URL, and not the URL",
        ),
        (
            {"NATS_URL_FILE": f"nats://u:{SECRET}@h"},
            "NATS_URL_FILE: expected the path of a file that holds the URL, and not the URL",
        ),
        ({"NATS_CONTEXT": "full", "NATS_CREDS": "x"}, "NATS_CREDS and NATS_USER are two identities: set one of them"),
    ],
)
def test_what_is_refused(variables: dict[str, str], said: str, world: Path) -> None:
    given = {
        name: value.replace("F", str(world), 1) if name != "NATS_CONTEXT" else value
        for name, value in variables.items()
    }
    with pytest.raises(SettingsError) as error:
        load_settings({"XDG_CONFIG_HOME": str(world), **given})
    assert str(error.value).startswith(said.replace("F/", f"{world}/").replace("F is", f"{world} is"))
    assert "\n" not in str(error.value)
    assert SECRET not in "".join(traceback.format_exception(error.value))


CONTEXTS = {
    "broken": f'{{"password": "{SECRET}"',
    "list": "[]",
    "typed": '{"user": 7}',
    "nsc": '{"nsc": "nsc://a/b/c"}',
    "proxy": '{"socks_proxy": "socks5://h:1080"}',
    "op": '{"user_jwt": "x", "user_seed": "op://vault/item/seed"}',
    "env": '{"user_jwt": "env://A_JWT"}',
    "data": f'{{"user_jwt": "data:;base64,{SECRET}!"}}',
    "held": f'{{"creds": "data:;base64,{SECRET}"}}',
    "seed": f'{{"user_seed": "{SECRET}"}}',
    "two": f'{{"user_jwt": "{SECRET}", "token": "x"}}',
    "full": json.dumps(
        {
            "description": "x",
            "url": "nats://h",
            "socks_proxy": "none",
            "token": "",
            "user": "u",
            "password": SECRET,
            "creds": "",
            "nkey": "",
            "cert": "c",
            "key": "k",
            "ca": "a",
            "nsc": "",
            "jetstream_domain": "hub",
            "jetstream_api_prefix": "",
            "jetstream_event_prefix": "",
            "inbox_prefix": "_IN",
            "user_jwt": "",
            "color_scheme": "x",
            "tls_first": True,
        }
    ),
}


@pytest.fixture
def world(tmp_path: Path) -> Path:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "lines").write_text(f"{SECRET}\n{SECRET}\n")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"x" * (1024 * 1024 + 1))
    os.mkfifo(tmp_path / "pipe")
    folder = tmp_path / "nats" / "context"
    folder.mkdir(parents=True)
    for name, text in CONTEXTS.items():
        (folder / f"{name}.json").write_text(text)
    return tmp_path


def test_a_context_of_the_tool(world: Path) -> None:
    environment = {"XDG_CONFIG_HOME": str(world), "NATS_CONTEXT": "full"}
    settings = load_settings(environment)
    assert settings.nats_url == "nats://h"
    assert settings.identity == Identity(
        user="u", password=SECRET, cert="c", key="k", ca="a", js_domain="hub", inbox_prefix="_IN", tls_first=True
    )
    assert SECRET not in repr(settings) + repr(settings.identity) + str(settings.identity.__rich_repr__())
    assert SECRET in secrets_of(environment)
    # A variable comes first; a context may be named by its path, and lie in the home folder.
    assert load_settings({**environment, "NATS_URL": "nats://other", "NATS_CA": "b"}).nats_url == "nats://other"
    path = world / "nats" / "context" / "full.json"
    assert load_settings({"NATS_CONTEXT": str(path)}) == settings


def test_a_context_may_hold_jwt_and_seed_or_say_where_they_are(tmp_path: Path) -> None:
    token, seed = Operator().user()
    (tmp_path / "jwt").write_text(f"{token}\n")
    encoded = b64encode(seed.encode()).decode()
    for fields in (
        {"user_jwt": token, "user_seed": seed},
        {"user_jwt": f"file://{tmp_path}/jwt", "user_seed": "env://A_SEED"},
        {"user_jwt": f"{token}\n", "user_seed": f"data:;base64,{encoded}"},
    ):
        (tmp_path / "context.json").write_text(json.dumps(fields))
        environment = {"NATS_CONTEXT": str(tmp_path / "context.json"), "A_SEED": seed}
        settings = load_settings(environment)
        assert (settings.identity.user_jwt, settings.identity.user_seed) == (token, seed)
        login = Login(settings.identity, settings.nats_url)
        assert (login.secrets["user_jwt_cb"](), len(b64decode(login.secrets["signature_cb"]("x")))) == (
            token.encode(),
            64,
        )
        shown = repr(settings) + repr(settings.identity) + repr(login)
        assert [one for one in (token, seed) if one in shown] == []
        assert {token, seed} <= {*secrets_of(environment)}


def test_a_jwt_without_a_seed_is_a_bearer_token_or_refused() -> None:
    bearer, _ = Operator().user(bearer_token=True)
    login = Login(Identity(user_jwt=bearer), "nats://h")
    assert (login.secrets["signature_cb"]("x"), login.hidden) == (b"", [bearer])
    token, seed = Operator().user()
    for identity, said in (
        (Identity(user_jwt=token), "NATS_USER_JWT: its JWT is no bearer token, so the seed has to come with it"),
        (Identity(user_jwt="nonsense", user_seed=seed), "NATS_USER_JWT: its JWT is malformed"),
        (Identity(user_jwt=token, user_seed=seed[:-2]), "NATS_USER_SEED: it is no seed, or the seed is cut short"),
        (Identity(user_jwt=token, user_seed=NKey("user").seed), "NATS_USER_JWT: its seed is not that of its JWT"),
    ):
        with pytest.raises(LoginError) as error:
            Login(identity, "nats://h")
        assert str(error.value).startswith(said)
        trace = "".join(traceback.format_exception(error.value))
        assert [one for one in (token, seed) if one in trace] == []


def test_a_login_shows_nothing_of_itself(world: Path) -> None:
    for identity in (
        Identity(token=SECRET),
        Identity(token_file=str(world / "secret")),
        Identity(user="u", password=SECRET),
        Identity(user="u", password_file=str(world / "secret")),
    ):
        login = Login(identity, "nats://h")
        assert SECRET not in repr(login) + repr(identity) + str(login)
        assert login.hidden == [SECRET]
