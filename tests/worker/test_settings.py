from __future__ import annotations

import pytest

from worker.settings import Clock, SettingsError, read_settings, shown

SECRET = "correct-horse"


def test_defaults() -> None:
    settings = read_settings({"PATH": "/bin"})
    assert (settings.batch_size, settings.clock, settings.health_port) == (8000, Clock.WALL, None)


def test_variables() -> None:
    settings = read_settings(
        {
            "NATS_URL": "nats://a:4222,nats://b:4222",
            "DATABASE_URL": f"postgresql://me:{SECRET}@db/ach",
            "ACH_BATCH_SIZE": "250",
            "ACH_CLOCK": "stream",
            "ACH_HEALTH_PORT": "8080",
            "ACH_INPUT_PREFIX": "",
        }
    )
    assert (settings.batch_size, settings.clock, settings.health_port) == (250, Clock.STREAM, 8080)
    assert settings.input_prefix == "events"


@pytest.mark.parametrize("url", ["postgresql://u:p@a:1,b:2/db?host=c,d", "postgres://h/db?user=a@b"])
def test_urls_of_the_database_may_hold_commas(url: str) -> None:
    assert read_settings({"DATABASE_URL": url}).database_url == url


def test_a_password_may_hold_commas() -> None:
    assert read_settings({"NATS_URL": "nats://u:a,b@c,nats://d"}).nats_url == "nats://u:a,b@c,nats://d"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ACH_BATCH_SIZE", "0"),
        ("ACH_BATCH_SIZE", "many"),
        ("ACH_CLOCK", "sundial"),
        ("ACH_HEALTH_PORT", "70000"),
        ("ACH_INPUT_STREAM", "a.b"),
        ("ACH_INPUT_PREFIX", "a..b"),
        ("ACH_INPUT_PREFIX", "events\n"),
        ("ACH_UNLOCK_PREFIX", "unlocks\n"),
        ("ACH_INPUT_STREAM", "EVENTS\n"),
        ("ACH_CONSUMER", "ach\n"),
        ("ACH_REGION", "eu\n"),
        ("ACH_BATCHSIZE", "5"),
        ("NATS_URL", "localhost:4222"),
        ("NATS_URL", "tls://u:p@ss/w:rd@host"),
        ("NATS_URL", "nats://a:4222,nats://u:p?x@b"),
        ("DATABASE_URL", "postgresql://u:p@ss/w:rd@host/db"),
        ("DATABASE_URL", "mysql://db"),
    ],
)
def test_errors_name_the_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name}: "):
        read_settings({name: value})


@pytest.mark.parametrize("name", ["ACH_RULES", "ACH_DATA_DIR", "ACH_PYTHON"])
def test_variables_of_the_command_line_are_known(name: str) -> None:
    assert read_settings({name: "x"}) == read_settings({})


def test_secrets_are_never_shown() -> None:
    url = f"postgresql://me:{SECRET}@db:5432/ach?password={SECRET}"
    assert shown(url) == "postgresql://db:5432/ach"
    assert shown(f"nats://{SECRET}@a:4222,nats://u:{SECRET}@b") == "nats://a:4222,nats://b"
    settings = read_settings({"DATABASE_URL": url, "NATS_URL": f"nats://{SECRET}@a"})
    assert SECRET not in repr(settings) + str(settings) + str(settings.__rich_repr__())
    with pytest.raises(SettingsError) as caught:
        read_settings({"DATABASE_URL": f"mysql://me:{SECRET}@db"})
    assert SECRET not in str(caught.value)
