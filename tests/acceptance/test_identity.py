"""An identity that cannot be used, as a person meets it: one sentence, an exit code, no secret."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.integration.identities import Authority, NKey, Operator, write_credentials
from worker.distribution import install

if TYPE_CHECKING:
    from tests.acceptance.conftest import Shell

SECRET = "correct-horse"


@pytest.fixture
def files(shell: Shell) -> Shell:
    """A shell in a folder with files that are not what they should be."""
    folder = shell.folder
    operator, authority, user = Operator(), Authority(folder, "ca"), NKey("user")
    shell.write("stream.jsonl", "{}\n")
    operator.credentials(folder / "good.creds")
    authority.issue("one")
    authority.issue("two")
    authority.issue("locked", password=SECRET)
    text = (folder / "good.creds").read_text()
    shell.write("cut.creds", text[: len(text) // 2])
    shell.write("wrong.creds", text.replace("USER JWT", "USER"))
    write_credentials(folder / "other.creds", text.split("\n")[1], user.seed)
    shell.write("account.nk", NKey("account").seed)
    shell.write("broken.nk", user.seed[:-1] + ("A" if user.seed[-1] != "A" else "B"))
    shell.write("nonsense", SECRET)
    shell.environment["NATS_URL"] = "nats://127.0.0.1:1"
    return shell


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"NATS_CREDS": "none"}, "NATS_CREDS: there is no file none"),
        ({"NATS_CREDS": "nonsense"}, "NATS_CREDS: nonsense: it is no credentials file"),
        ({"NATS_CREDS": "cut.creds"}, "NATS_CREDS: cut.creds: it is no credentials file"),
        ({"NATS_CREDS": "wrong.creds"}, "no complete block BEGIN NATS USER JWT"),
        ({"NATS_CREDS": "other.creds"}, "NATS_CREDS: other.creds: its seed is not that of its JWT"),
        ({"NATS_NKEY": "nonsense"}, "NATS_NKEY: nonsense: it is no seed"),
        ({"NATS_NKEY": "account.nk"}, "NATS_NKEY: account.nk: it is the seed of an account or an operator"),
        ({"NATS_NKEY": "broken.nk"}, "NATS_NKEY: broken.nk: the checksum of the seed is wrong"),
        ({"NATS_USER": "u", "NATS_PASSWORD_FILE": "none"}, "NATS_PASSWORD_FILE: there is no file none"),
        ({"NATS_TOKEN_FILE": "."}, "NATS_TOKEN_FILE: . is no regular file"),
        ({"NATS_CA": "nonsense"}, "NATS_CA: nonsense holds no certificate in PEM"),
        ({"NATS_CA": "none"}, "NATS_CA: there is no file none"),
        ({"NATS_CERT": "one-cert.pem", "NATS_KEY": "none"}, "NATS_KEY: there is no file none"),
        (
            {"NATS_CERT": "one-cert.pem", "NATS_KEY": "two-key.pem"},
            "NATS_KEY: two-key.pem is not the key of one-cert.pem",
        ),
        ({"NATS_CERT": "locked-cert.pem", "NATS_KEY": "locked-key.pem"}, "NATS_KEY: locked-key.pem is encrypted"),
        ({"NATS_CERT": "nonsense", "NATS_KEY": "one-key.pem"}, "are no certificate and key in PEM"),
    ],
)
def test_each_file_that_cannot_be_used(files: Shell, variables: dict[str, str], said: str) -> None:
    files.environment.update(variables)
    ran = files.ach("emit", "stream.jsonl")
    assert ran.code == 1, ran
    assert said in ran.err
    assert len(ran.err.strip().splitlines()) == 1, ran.err
    assert SECRET not in ran.out + ran.err
    for line in (files.folder / "good.creds").read_text().split():
        assert len(line) < 20 or line not in ran.err or set(line) <= {"-", "*"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read(files: Shell) -> None:
    (files.folder / "good.creds").chmod(0)
    files.environment["NATS_CREDS"] = "good.creds"
    assert "NATS_CREDS: this user may not read good.creds" in files.ach("emit", "stream.jsonl").err


def test_settings_that_contradict_each_other(files: Shell) -> None:
    files.environment.update(NATS_CREDS="good.creds", NATS_TOKEN=SECRET)
    ran = files.ach("emit", "stream.jsonl")
    assert ran.code == 2
    assert "NATS_CREDS and NATS_TOKEN are two identities: set one of them" in ran.err
    assert SECRET not in ran.err


def test_the_extra_is_named_where_it_is_missing(files: Shell) -> None:
    files.environment["NATS_CREDS"] = "good.creds"
    with files.running("emit", "stream.jsonl", without="nacl") as command:
        said, _ = command.communicate(timeout=60)
    assert command.returncode == 1
    assert f"NATS_CREDS needs PyNaCl, which is not installed; {install('nkeys')}" in said
