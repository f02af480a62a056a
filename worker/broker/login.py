"""An identity as options of nats-py: files are read here, at each connection, so that they may be replaced.

No error quotes what a file holds, and no `repr` shows it.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from time import time
from typing import TYPE_CHECKING, Any

from worker.broker.errors import BrokerMismatchError
from worker.broker.nkeys import Key, KeyFormatError, read_credentials, read_seed, read_seed_file, read_user
from worker.secret_files import Named, SecretFileError, expanded, load_authorities, load_pair, read_file, read_secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.broker.nkeys import Credentials
    from worker.identity import Identity


class LoginError(BrokerMismatchError):
    """An identity cannot be used as it stands; the message names the variable and the file."""


class Login:
    """What one connection shows to the broker.

    `options` are of nats-py's `connect`; those in `secrets` are functions that return what may go to a server that we
    trust alone.
    """

    def __init__(self, identity: Identity, urls: str) -> None:
        """Read the files of an identity.

        Raises:
            LoginError: one cannot be used.
            BrokerMismatchError: PyNaCl is needed and missing.
        """
        self.wants_tls = identity.wants_tls(urls)
        self.options: dict[str, Any] = {"inbox_prefix": identity.inbox_prefix}
        self.secrets: dict[str, Callable[..., Any]] = {}
        self.nkey: str | None = None
        """The public key of an identity that is nothing but a key."""
        self.hidden: list[str] = []
        """What no message may show."""
        self.doubt = ""
        """Why the broker may refuse the login, as far as its own files show."""
        self._read_login(identity)
        self._read_tls(identity)

    def __repr__(self) -> str:
        return f"Login({', '.join(self.secrets)})"

    def _read_login(self, identity: Identity) -> None:
        if identity.creds:
            self._read_creds(identity.creds)
        elif identity.user_jwt:
            self._read_user(identity.user_jwt, identity.user_seed)
        elif identity.nkey:
            try:
                seed = read_seed_file(_text("NATS_NKEY", identity.nkey))
            except KeyFormatError as error:
                raise LoginError(f"NATS_NKEY: {identity.nkey}: {error}") from None
            key = Key(seed, wanted_by="NATS_NKEY")
            self.nkey, self.secrets["signature_cb"] = key.public, key.sign
        elif identity.user:
            self._keep("user", identity.user)
            self._keep("password", identity.password or _line("NATS_PASSWORD_FILE", identity.password_file))
            self.hidden.append(self.secrets["password"]())
        elif identity.token or identity.token_file:
            self._keep("token", identity.token or _line("NATS_TOKEN_FILE", identity.token_file))
            self.hidden.append(self.secrets["token"]())

    def _read_creds(self, path: str) -> None:
        try:
            found = read_credentials(_text("NATS_CREDS", path))
        except KeyFormatError as error:
            raise LoginError(f"NATS_CREDS: {path}: {error}") from None
        self._show(found, f"NATS_CREDS: {path}", path)

    def _read_user(self, jwt: str, seed: str) -> None:
        try:
            held = read_seed(seed) if seed else None
        except KeyFormatError as error:
            raise LoginError(f"NATS_USER_SEED: {error}") from None
        try:
            found = read_user(jwt, held)
        except KeyFormatError as error:
            raise LoginError(f"NATS_USER_JWT: {error}") from None
        if held is None:
            self.hidden.append(jwt)
        self._show(found, "NATS_USER_JWT", "NATS_USER_JWT")

    def _show(self, found: Credentials, where: str, of: str) -> None:
        variable = where.partition(":")[0]
        if found.seed is None:
            # Nothing is signed for a bearer token, and an empty signature is what other clients send.
            self.secrets["signature_cb"] = _sign_nothing
        else:
            key = Key(found.seed, wanted_by=variable)
            if key.public != found.subject:
                raise LoginError(f"{where}: its seed is not that of its JWT")
            self.secrets["signature_cb"] = key.sign
        self._keep("user_jwt_cb", found.jwt.encode())
        if 0 < found.expires <= time():
            at = datetime.fromtimestamp(found.expires, UTC).isoformat(timespec="seconds")
            self.doubt = f"the JWT of {of} has expired at {at}"

    def _keep(self, name: str, value: str | bytes) -> None:
        self.secrets[name] = lambda: value

    def _read_tls(self, identity: Identity) -> None:
        if identity.tls_first:
            self.options["tls_handshake_first"] = True
        if identity.ca or identity.cert:
            self.options["tls"] = _context(identity)


def _sign_nothing(_nonce: str) -> bytes:
    return b""


def _context(identity: Identity) -> ssl.SSLContext:
    """Return what checks the broker's certificate, and shows ours."""
    try:
        if identity.ca:
            load_authorities(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), Named("NATS_CA", identity.ca))
        context = ssl.create_default_context(cafile=expanded(identity.ca) or None)
        if identity.cert:
            load_pair(context, Named("NATS_CERT", identity.cert), Named("NATS_KEY", identity.key))
    except SecretFileError as error:
        raise LoginError(str(error)) from None
    return context


def _text(variable: str, path: str) -> str:
    try:
        return read_file(path).decode()
    except SecretFileError as error:
        raise LoginError(f"{variable}: {error}") from None
    except UnicodeDecodeError:
        raise LoginError(f"{variable}: {path} is no text in UTF-8") from None


def _line(variable: str, path: str) -> str:
    try:
        return read_secret(path)
    except SecretFileError as error:
        raise LoginError(f"{variable}: {error}") from None
