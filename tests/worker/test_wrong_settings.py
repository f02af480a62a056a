"""Each setting with typical mistakes: one sentence that begins with its name, and shows no secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pytest

from worker.environment import FROM_FILES, load_settings
from worker.identity import variables
from worker.settings import Settings, SettingsError

if TYPE_CHECKING:
    from pathlib import Path

SECRET: Final = "correct-horse"
LONG: Final = "x" * 65
NAMED: Final = "expected 1 to 64 of A-Z a-z 0-9 _ -, got "
SUBJECT: Final = "expected a subject without wildcards, of A-Z a-z 0-9 _ - and dots between, got "
FROM_ONE: Final = "expected a whole number from 1 to 1,000,000,000, got "
FROM_ZERO: Final = "expected a whole number from 0 to 1,000,000,000, got "
NO_NATS: Final = "expected a URL that begins with nats://"
NO_DATABASE: Final = "expected a URL that begins with postgresql://"
ODD_NATS: Final = (
    "expected nats://[user:password@]host[:port], several with commas; in user and password write @ as %40"
)
ODD_DATABASE: Final = (
    "expected postgresql://[user[:password]@]host[:port]/database; in user and password write @ as %40"
)
NO_PATH: Final = "expected the path of a file, and not what it holds"
NO_URL: Final = "expected the path of a file that holds the URL, and not the URL"
CONTROL: Final = "it holds a newline or another control character"

WRONG: Final[dict[str, dict[str, str]]] = {
    "NATS_URL": {
        "localhost:4222": NO_NATS,
        "http://h:4222": NO_NATS,
        f"nats://u:{SECRET}@h:4222, h:4222": ODD_NATS,
        f"nats://u:p@{SECRET}/x@h": ODD_NATS,
        "nats://h:70000": ODD_NATS,
        "nats://h:port": ODD_NATS,
        "nats://": ODD_NATS,
    },
    "DATABASE_URL": {
        "localhost/ach": NO_DATABASE,
        "jdbc:postgresql://h/ach": NO_DATABASE,
        f"mysql://u:{SECRET}@h/ach": NO_DATABASE,
        f"postgresql:/u:{SECRET}@h/ach": NO_DATABASE,
        f"postgresql://u:p@{SECRET}/x@h/ach": ODD_DATABASE,
        f"postgresql://u:{SECRET}@h:70000/ach": ODD_DATABASE,
        "postgresql://a:5432,b:0/ach": ODD_DATABASE,
        f"postgresql://u:{SECRET}@h/ach?sslmode=on": "sslmode: expected disable or allow or prefer or require",
        "postgresql://h/ach?target_session_attrs=rw": "target_session_attrs: expected any or primary or standby",
    },
    "NATS_URL_FILE": {f"nats://u:{SECRET}@h": NO_URL, "/nowhere/url": "there is no file /nowhere/url"},
    "DATABASE_URL_FILE": {f"postgresql://u:{SECRET}@h": NO_URL, "/nowhere": "there is no file /nowhere"},
    "NATS_CONTEXT": {
        "/nowhere.json": "context '/nowhere.json': there is no file /nowhere.json",
        "a/b": "expected the name of a context (`nats context ls` lists them)",
    },
    "NATS_CREDS": {"data:;base64,correct-horse": NO_PATH, f"-----BEGIN {SECRET}": NO_PATH, "a\nb": CONTROL},
    "NATS_NKEY": {"SU" + "A" * 56: NO_PATH, "a\nb": CONTROL},
    "NATS_USER_JWT": {f"{SECRET}\n": CONTROL},
    "NATS_USER_SEED": {SECRET: "needs NATS_USER_JWT"},
    "NATS_USER": {"ann": "needs NATS_PASSWORD or NATS_PASSWORD_FILE (a token belongs into NATS_TOKEN)"},
    "NATS_PASSWORD": {SECRET: "needs NATS_USER", f"{SECRET}\n": CONTROL},
    "NATS_PASSWORD_FILE": {"/run/password": "needs NATS_USER"},
    "NATS_TOKEN": {f"{SECRET}\r\n": CONTROL},
    "NATS_TOKEN_FILE": {"a\tb": CONTROL},
    "NATS_CERT": {"client.pem": "needs NATS_KEY"},
    "NATS_KEY": {"client.key": "needs NATS_CERT"},
    "NATS_CA": {"a\nb": CONTROL},
    "NATS_TLS_FIRST": {"yes, please": "expected true or false"},
    "NATS_JS_DOMAIN": {"hub.example": "expected 1 to 64 of A-Z a-z 0-9 _ -"},
    "NATS_JS_API_PREFIX": {"JS.hub.API.>": "expected a subject without wildcards, such as JS.engine.API"},
    "NATS_INBOX_PREFIX": {"_INBOX.": "expected a subject without wildcards, such as _INBOX_worker"},
    "ACH_INPUT_STREAM": {"events.in": f"{NAMED}'events.in'", "EVENTS ": f"{NAMED}'EVENTS '", LONG: f"{NAMED}'{LONG}'"},
    "ACH_UNLOCK_STREAM": {"UNLOCKS/": f"{NAMED}'UNLOCKS/'", "x" * 999: f"{NAMED}'{'x' * 80}'..."},
    "ACH_CONSUMER": {"my worker": f"{NAMED}'my worker'"},
    "ACH_GROUP": {"main.1": f"{NAMED}'main.1'"},
    "ACH_INPUT_PREFIX": {"events.>": f"{SUBJECT}'events.>'", "events.": f"{SUBJECT}'events.'"},
    "ACH_UNLOCK_PREFIX": {"unlocks.*": f"{SUBJECT}'unlocks.*'", "a b": f"{SUBJECT}'a b'"},
    "ACH_BATCH_SIZE": {
        "0": f"{FROM_ONE}'0'",
        "-5": f"{FROM_ONE}'-5'",
        "8k": f"{FROM_ONE}'8k'",
        "1.5": f"{FROM_ONE}'1.5'",
    },
    "ACH_WRITERS": {"17": "expected a whole number from 1 to 16, got '17'", "all": "expected a whole number"},
    "ACH_WRITER_EVENTS": {"0": f"{FROM_ONE}'0'"},
    "ACH_ACK_WAIT": {"30s": f"{FROM_ONE}'30s'", "9999999999": f"{FROM_ONE}'9999999999'"},
    "ACH_BROKER_GONE": {"-1": f"{FROM_ZERO}'-1'", "never": f"{FROM_ZERO}'never'"},
    "ACH_DUPLICATE_WINDOW": {"2m": f"{FROM_ONE}'2m'"},
    "ACH_SKEW": {"5 min": f"{FROM_ZERO}'5 min'"},
    "ACH_REGION": {"eu/west": "expected 1 to 64 of A-Z a-z 0-9 . _ -, got 'eu/west'"},
    "ACH_CLOCK": {"utc": "expected wall or stream, got 'utc'"},
    "ACH_CACHE_SUBJECTS": {"1e5x": f"{FROM_ONE}'1e5x'"},
    "ACH_HEALTH_HOST": {
        "0.0.0.0:8080": "expected an address or a name, without a port, got '0.0.0.0:8080'",
        "http://h": "expected an address or a name, without a port, got 'http://h'",
        "a..b": "expected an address or a name, without a port, got 'a..b'",
    },
    "ACH_HEALTH_PORT": {"70000": "expected a whole number from 0 to 65,535, got '70000'", ":80": "expected a whole"},
    "ACH_METRICS_TENANTS": {"500": "expected a whole number from 0 to 200, got '500'"},
    "ACH_LOG_FORMAT": {"yaml": "expected text or json, got 'yaml'"},
    "ACH_LOG_LEVEL": {"INFO": "expected debug or info or warning or error, got 'INFO'"},
    "ACH_MIGRATE": {"false": "expected auto or never, got 'false'"},
    "ACH_JOURNAL": {"/var/lib/ach/journal": "is set and ACH_JOURNAL_KEY_FILE is not: set both, or none of them"},
    "ACH_JOURNAL_KEY_FILE": {"/run/secrets/journal": "is set and ACH_JOURNAL is not: set both, or none of them"},
    "ACH_POOLER": {"pgbouncer": "expected none or transaction, got 'pgbouncer'"},
}


def test_each_setting_has_its_mistakes() -> None:
    own = {name.upper() for name in Settings.__struct_fields__} - {"NATS_URL", "DATABASE_URL", "IDENTITY"}
    of_nats = {*FROM_FILES, *(f"{name}_FILE" for name in FROM_FILES), *variables(), "NATS_CONTEXT"}
    assert WRONG.keys() == {*of_nats, *(f"ACH_{name}" for name in own)}


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [(variable, value, said) for variable, cases in WRONG.items() for value, said in cases.items()],
)
def test_a_wrong_setting_is_one_sentence(variable: str, value: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings({"HOME": str(tmp_path), variable: value})
    sentence = str(error.value)
    assert sentence.startswith((f"{variable}: {said}", f"{variable} {said}"))
    assert SECRET not in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("host", ["127.0.0.1", "::", "::1", "fe80::1%eth0", "localhost", "db-1.example.com"])
def test_an_address_that_may_be_listened_on(host: str) -> None:
    assert load_settings({"ACH_HEALTH_HOST": host}).health_host == host


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://[::1]:5432/ach",
        "postgresql://a,b:5433/ach?target_session_attrs=read-write",
        "postgresql:///ach?host=/run/postgresql&sslmode=verify-ca",
    ],
)
def test_urls_that_are_right(url: str) -> None:
    assert load_settings({"DATABASE_URL": url}).database_url == url


def test_an_unknown_variable_is_most_likely_misspelt() -> None:
    with pytest.raises(SettingsError, match=r"^ACH_BATCHSIZE: unknown; known are ACH_ACK_WAIT, "):
        load_settings({"ACH_BATCHSIZE": "5"})


def test_a_context_names_the_variable_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "context.json").write_text(json.dumps({"url": f"u:{SECRET}@h"}))
    with pytest.raises(SettingsError) as error:
        load_settings({"NATS_CONTEXT": str(tmp_path / "context.json")})
    assert str(error.value) == f"NATS_URL: {NO_NATS}"
