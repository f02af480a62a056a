"""Files that settings name: each that cannot be used is one sentence that names it, before any server is asked."""

from __future__ import annotations

import os
import pwd
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest

from tests.integration.identities import Authority
from worker.broker.login import Login, LoginError
from worker.identity import read_identity
from worker.local.postgres import UNPRIVILEGED
from worker.secret_files import SecretFileError
from worker.store import UnusableError, open_store
from worker.store.url_files import check_files

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

SECRET: Final = "correct-horse"
PEM: Final = "in PEM"
KINDS: Final = {
    "missing": "there is no file {path}",
    "unreadable": "{path} cannot be read: input/output error",
    "forbidden": "this user may not read {path}",
    "folder": "{path} is no regular file",
    "pipe": "{path} is no regular file",
    "empty": "{path} is empty",
    "garbage": "",
}
"""What is said of a file of each kind; of garbage each setting has words of its own."""
OF_DATABASE: Final = {
    "sslrootcert": "{path} holds no certificate in PEM",
    "sslcrl": "{path} holds no list of revoked certificates in PEM",
    "sslcert": "{path} and {key} are no certificate and key in PEM",
    "sslkey": "{cert} and {path} are no certificate and key in PEM",
    "passfile": None,
}
"""Parameters of DATABASE_URL, and what is said of garbage; None where any text will do."""
OF_NATS: Final = {
    "NATS_CA": "{path} holds no certificate in PEM",
    "NATS_CERT": "{path} and {key} are no certificate and key in PEM",
    "NATS_KEY": "{cert} and {path} are no certificate and key in PEM",
    "NATS_CREDS": "{path} is no text in UTF-8",
    "NATS_NKEY": "{path} is no text in UTF-8",
    "NATS_PASSWORD_FILE": "{path} is no text in UTF-8",
    "NATS_TOKEN_FILE": "{path} is no text in UTF-8",
}


class World:
    """A folder with a file of each kind, and a good certificate with its key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder, "ca")
        self.good = self.authority.issue("good")
        self.authority.issue("other")
        self.authority.issue("locked", password=SECRET)
        (folder / "folder").mkdir()
        os.mkfifo(folder / "pipe")
        (folder / "empty").write_text("\n")
        (folder / "garbage").write_bytes(b"\xff" + SECRET.encode())
        (folder / "forbidden").write_text("x")
        (folder / "forbidden").chmod(0)

    def path(self, kind: str) -> str:
        # It may be opened, and reading it from its beginning fails, for root too.
        return "/proc/self/mem" if kind == "unreadable" else str(self.folder / kind)

    def said(self, words: str, path: str) -> str:
        return words.format(path=path, cert=self.good.cert, key=self.good.key)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("files"))


@contextmanager
def unprivileged() -> Generator[None]:
    """Be a user that permissions of files hold, for the length of a block."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(pwd.getpwnam(UNPRIVILEGED).pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def as_user(kind: str) -> Generator[None]:
    if kind == "forbidden":
        with unprivileged():
            yield
    else:
        yield


def one_sentence(error: BaseException) -> str:
    said = str(error)
    assert "\n" not in said
    assert SECRET not in said
    return said


CASES: Final = [
    pytest.param(parameter, kind, words, id=f"{parameter}-{kind}")
    for parameter, of_garbage in OF_DATABASE.items()
    for kind, of_kind in KINDS.items()
    if (words := of_kind or of_garbage) is not None
]


@pytest.mark.parametrize(("parameter", "kind", "words"), CASES)
def test_each_file_of_the_database_s_url(world: World, parameter: str, kind: str, words: str) -> None:
    path = world.path(kind)
    pair = {"sslcert": world.good.cert, "sslkey": world.good.key} if parameter in {"sslcert", "sslkey"} else {}
    with as_user(kind), pytest.raises(SecretFileError) as error:
        check_files(url(**{"sslmode": "require", **pair, parameter: path}), {}, None)
    said = one_sentence(error.value)
    if kind == "forbidden" and parameter == "sslkey":  # nor its certificate
        assert said == f"sslcert of DATABASE_URL: this user may not read {world.good.cert}"
        return
    both = f"sslcert of DATABASE_URL and sslkey of DATABASE_URL: {world.said(words, path)}"
    assert said in {f"{parameter} of DATABASE_URL: {world.said(words, path)}", both}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("variable", OF_NATS)
def test_each_file_of_the_broker_s_identity(world: World, variable: str, kind: str) -> None:
    path = world.path(kind)
    given = {"NATS_CERT": str(world.good.cert), "NATS_KEY": str(world.good.key)} if "KEY" in variable else {}
    if variable in {"NATS_CERT", "NATS_NKEY"}:
        given = {"NATS_KEY": str(world.good.key)} if variable == "NATS_CERT" else {}
    given |= {"NATS_USER": "u"} if variable == "NATS_PASSWORD_FILE" else {}
    identity = read_identity({**given, variable: path}, "nats://h")
    with as_user(kind), pytest.raises(LoginError) as error:
        Login(identity, "nats://h")
    said, words = one_sentence(error.value), world.said(KINDS[kind] or OF_NATS[variable], path)
    if kind == "forbidden" and variable == "NATS_KEY":
        assert said == f"NATS_CERT: this user may not read {world.good.cert}"
        return
    assert said in {f"{variable}: {words}", f"NATS_CERT and NATS_KEY: {words}"}


def url(**parameters: str | Path) -> str:
    return "postgresql://ann@db.example/x?" + "&".join(f"{name}={value}" for name, value in parameters.items())


def test_pairs_that_do_not_belong_together(world: World) -> None:
    folder, good = world.folder, world.good
    locked = {"sslcert": folder / "locked-cert.pem", "sslkey": folder / "locked-key.pem"}
    for asked, said in (
        (url(sslcert=good.cert, sslkey=folder / "other-key.pem"), f"other-key.pem is not the key of {good.cert}"),
        (url(sslkey=good.key), f"sslkey of DATABASE_URL needs sslcert, the certificate of {good.key}"),
        (url(**locked), "locked-key.pem is encrypted; decrypt it (`openssl pkey` does)"),
        (url(**locked, sslpassword="wrong-one"), "locked-key.pem is encrypted with another password"),
        (url(sslmode="verify-full"), "sslmode=verify-full needs sslrootcert in DATABASE_URL"),
    ):
        with pytest.raises(SecretFileError) as error:
            check_files(asked, {}, None)
        assert said in one_sentence(error.value)
    check_files(url(**locked, sslpassword=SECRET), {}, None)
    check_files(url(sslcert=good.cert, sslkey=good.key), {}, None)
    check_files(url(sslmode="verify-full", sslrootcert=world.authority.ca), {}, None)


def test_what_counts_where_the_url_names_no_file(world: World) -> None:
    home = world.folder / "home"
    (home / ".postgresql").mkdir(parents=True)
    (home / ".postgresql" / "root.crt").write_text("nonsense")
    missing = {"PGSSLROOTCERT": str(world.folder / "missing")}
    for asked, environment, said in (
        (url(sslmode="require"), missing, "PGSSLROOTCERT: there is no file"),
        (url(sslmode="verify-ca"), {}, f"sslrootcert by default: {home}/.postgresql/root.crt holds no certificate"),
        (url(), missing, ""),
        (url(sslmode="disable"), missing, ""),
        (url(), {**missing, "PGSSLMODE": "verify-full"}, "PGSSLROOTCERT: there is no file"),
        (url(), {"PGSSLCERT": "/nowhere/x"}, "PGSSLCERT: there is no file /nowhere/x"),
        # TLS is nothing for a socket of this machine.
        ("postgresql:///x?host=/run/postgresql", {"PGSSLCERT": "/nowhere/x"}, ""),
        ("postgresql://%2Frun/x", {"PGSSLCERT": "/nowhere/x"}, ""),
        (url(), {"PGPASSFILE": "/nowhere/x"}, "PGPASSFILE: there is no file /nowhere/x"),
        ("postgresql://ann:pw@db.example/x", {"PGPASSFILE": "/nowhere/x"}, ""),
    ):
        if said:
            with pytest.raises(SecretFileError) as error:
                check_files(asked, environment, home)
            assert one_sentence(error.value).startswith(said)
        else:
            check_files(asked, environment, home)


def test_passwords_that_others_may_read(world: World) -> None:
    (world.folder / "passwords").write_text(f"*:*:*:*:{SECRET}\n")
    (world.folder / "passwords").chmod(0o644)
    path = world.folder / "passwords"
    with pytest.raises(SecretFileError) as error:
        check_files(url(passfile=path), {}, None)
    assert one_sentence(error.value) == f"passfile of DATABASE_URL: others may read {path}; chmod 600 {path}"
    path.chmod(0o600)
    check_files(url(passfile=path), {}, None)


def test_a_home_folder_is_not_expanded_where_the_client_does_not() -> None:
    with pytest.raises(SecretFileError, match=r"there is no file \./~/ca.pem"):
        check_files(url(sslmode="require", sslrootcert="~/ca.pem"), {}, None)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["missing", "pipe", "garbage"])
async def test_a_store_says_so_before_it_connects(world: World, kind: str) -> None:
    """Once it was taken for a server that is away, which a worker waits for."""
    asked = f"postgresql://ann:{SECRET}@127.0.0.1:1/x?sslmode=require&sslrootcert={world.path(kind)}"
    async with open_store(asked) as store:
        with pytest.raises(UnusableError) as error:
            await store.ping()
    assert one_sentence(error.value).startswith("sslrootcert of DATABASE_URL: ")


def test_this_openssl_reads_what_is_good(world: World) -> None:
    context = ssl.create_default_context(cafile=str(world.authority.ca))
    assert len(context.get_ca_certs()) == 1
