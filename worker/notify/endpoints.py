"""The file of endpoints, read strictly: what it says, and messages about what is wrong with it.

Reading is pure but for the files and variables that hold secrets.
"""

from __future__ import annotations

import re
import tomllib
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final, cast
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from worker.engine.origin import Origin
from worker.notify.addresses import Network, read_network
from worker.notify.schedule import DAY, HOUR, MINUTE, SECOND, SVIX
from worker.notify.signature import SecretError, read_secret

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_DURATION: Final = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_UNITS: Final = {"ms": 1, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}
_UNKNOWN: Final = re.compile(r"Object contains unknown field `([^`]*)`(?: - at `\$(.*)`)?")
_MISSING: Final = re.compile(r"Object missing required field `([^`]*)`(?: - at `\$(.*)`)?")
_PLACE: Final = re.compile(r" - at `\$(.*)`$")
LONGEST_TIMEOUT: Final = MINUTE
LONGEST_WAIT: Final = DAY
SECRETS: Final = 2
"""At the most: one, and while it is rotated the one before."""


class EndpointsError(ValueError):
    """The file cannot be used; the message says where and what to write."""


class Kind(StrEnum):
    """What an announcement is about: its field `kind`."""

    GRANTED = "granted"
    WITHHELD = "withheld"
    AMENDED = "amended"
    CONTESTED = "contested"
    RESTORED = "restored"
    REVOKED = "revoked"
    GRANTED_BY_HAND = "granted_by_hand"
    ERASED = "erased"


class Duration:
    """A duration as people write it: `30s`, `5m`, `2h`, `5d`, `250ms`."""

    def __init__(self, milliseconds: int) -> None:
        self.milliseconds = milliseconds


# -- what the file says ------------------------------------------------------------------------------------------------


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a secret is: a file, or a variable of the environment."""

    file: str | UnsetType = UNSET
    env: str | UnsetType = UNSET


class Digest(Struct, frozen=True, forbid_unknown_fields=True):
    """Several unlocks of a user in one delivery."""

    wait: Duration
    group: Annotated[str, Meta(pattern=r"^user\Z")] = "user"


class _Chosen(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an endpoint of any type may say."""

    tenants: list[str] | None = None
    achievements: list[str] | None = None
    origins: list[Origin] = msgspec.field(default_factory=lambda: [Origin.LIVE, Origin.SETTLED, Origin.BY_HAND])
    languages: list[str] | None = None
    schedule: list[Duration] | None = None
    disable_after: Duration = msgspec.field(default_factory=lambda: Duration(5 * DAY))
    timeout: Duration = msgspec.field(default_factory=lambda: Duration(15 * SECOND))
    concurrency: Annotated[int, Meta(ge=1, le=64)] = 4
    rate: Annotated[int, Meta(ge=1, le=100_000)] = 50
    allow_networks: list[str] = msgspec.field(default_factory=list[str])
    insecure: bool = False
    ca_file: str | None = None


class _Webhook(_Chosen, frozen=True, tag="webhook"):
    url: str
    secret: Source | None = None
    secrets: list[Source] | None = None
    kinds: list[Kind] | None = None
    digest: Digest | None = None


class _Apprise(_Chosen, frozen=True, tag="apprise"):
    to: Source | None = None
    resolver: str | None = None
    resolver_token: Source | None = None
    schemes: list[str] | None = None
    title: str = "{title}"
    text: str = "{title}"
    kinds: list[Kind] = msgspec.field(default_factory=lambda: [Kind.GRANTED])


# -- what the notifier works with --------------------------------------------------------------------------------------


class Wanted(Struct, frozen=True):
    """Which announcements an endpoint gets; None means all."""

    tenants: frozenset[str] | None
    achievements: frozenset[str] | None
    """Names, or `name.tier`."""
    kinds: frozenset[str]
    origins: frozenset[str]


class Reach(Struct, frozen=True):
    """How requests are made."""

    timeout: int
    """Milliseconds for one attempt as a whole."""
    networks: tuple[Network, ...]
    """Those that are not public, and may be called all the same."""
    insecure: bool
    """Whether http:// is allowed."""
    ca_file: str | None
    """Certificates to trust in addition to the public ones."""


class WebhookTarget(Struct, frozen=True):
    """Signed requests to one URL."""

    url: str
    keys: tuple[bytes, ...]

    def __repr__(self) -> str:
        return "WebhookTarget(...)"  # no URL and no key in a traceback


class AppriseTarget(Struct, frozen=True):
    """Messages to people, whose addresses come from a template or from the application."""

    to: str | None
    """Template of an apprise URL."""
    resolver: str | None
    """Template of a URL that answers with the apprise URLs of a subject."""
    resolver_token: str | None
    schemes: frozenset[str]
    """Of the URLs that the resolver may answer with."""
    title: str
    text: str

    def __repr__(self) -> str:
        return "AppriseTarget(...)"


class Endpoint(Struct, frozen=True, kw_only=True):
    """One endpoint, ready for work; durations are milliseconds."""

    name: str
    target: WebhookTarget | AppriseTarget
    wanted: Wanted
    reach: Reach
    languages: tuple[str, ...] | None
    digest: int
    """Of the window of a digest; 0 for none."""
    schedule: tuple[int, ...]
    disable_after: int
    concurrency: int
    rate: int
    """Attempts a second, at most."""


def read_endpoints(path: Path, environment: Mapping[str, str]) -> tuple[Endpoint, ...]:
    """Return the endpoints of a file, in its order.

    Raises:
        EndpointsError: the file is missing, or something in it, in a file that it names, or in a variable is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise EndpointsError(f"{path}: {error.strerror or error}; write one as in docs/notify.md") from error
    except UnicodeDecodeError as error:
        raise EndpointsError(f"{path}: the file is not UTF-8") from error
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise EndpointsError(f"{path}: not TOML: {error}") from error
    for name in said.keys() - {"endpoint"}:
        raise EndpointsError(f"{path}: unknown key `{name}`; an endpoint is a table such as [endpoint.app]")
    tables = said.get("endpoint")
    if not isinstance(tables, dict) or not tables:
        raise EndpointsError(f"{path}: no endpoint; write a table such as [endpoint.app], with a url and a secret")
    found = cast("dict[str, Any]", tables)
    folder = path.parent
    return tuple(_read_endpoint(path, folder, name, table, environment) for name, table in found.items())


def _read_endpoint(path: Path, folder: Path, name: str, table: object, environment: Mapping[str, str]) -> Endpoint:
    where = f"{path}: endpoint.{name}"
    if NAME.fullmatch(name) is None:
        raise EndpointsError(f"{where}: a name has 1 to 40 characters of a-z, 0-9 and -, and does not begin with -")
    if not isinstance(table, dict):
        raise EndpointsError(f"{where}: expected a table such as [endpoint.{name}]")
    given = {"type": "webhook", **cast("dict[str, Any]", table)}
    known = {"webhook": _Webhook, "apprise": _Apprise}.get(str(given["type"]))
    if known is None:
        raise EndpointsError(f"{where}: type is `webhook` or `apprise`, not {given['type']!r}")
    try:
        said = msgspec.convert(given, known, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise EndpointsError(f"{where}{_in_words(str(error), known)}") from None
    try:
        return _endpoint(name, said, _Secrets(folder, environment))
    except (EndpointsError, SecretError) as error:
        raise EndpointsError(f"{where}: {error}") from None


def _decode(kind: type, value: object) -> object:
    """Read what msgspec does not know: durations."""
    if kind is not Duration:
        raise NotImplementedError
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"write a duration such as `250ms`, `30s`, `5m`, `2h` or `5d`, not {value!r}")
    return Duration(int(found[1]) * _UNITS[found[2]])


def _in_words(said: str, known: type[Struct]) -> str:
    """Return what is wrong in a table, with its place in front."""
    if (found := _UNKNOWN.fullmatch(said)) is not None:
        names = known.__struct_fields__ if not found[2] else ()
        hint = f"; known are {', '.join(sorted(names))}" if names else ""
        return f"{found[2] or ''}: unknown key `{found[1]}`{hint}"
    if (found := _MISSING.fullmatch(said)) is not None:
        return f"{found[2] or ''}: `{found[1]}` is missing"
    place = _PLACE.search(said)
    text = _PLACE.sub("", said).replace(" | null", "").replace("`object`", "a table")
    hint = ""
    if place is not None and text.startswith("Invalid enum value"):
        values = [*Kind] if place[1].startswith(".kinds") else [*Origin]
        hint = f"; known are {', '.join(values)}"
    elif place is not None and re.search(r"secret|token|\.to$", place[1]):
        hint = '; write { file = "PATH" } or { env = "VARIABLE" }'
    return f"{'' if place is None else place[1]}: {text[0].lower()}{text[1:]}{hint}"


class _Secrets:
    """Reads secrets from files beside the file of endpoints, and from the environment."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self._environment = environment

    def read(self, key: str, source: Source) -> str:
        """Return the text of a secret, without white space around it."""
        if (source.file is UNSET) == (source.env is UNSET):
            raise EndpointsError(f'{key}: write {{ file = "PATH" }} or {{ env = "VARIABLE" }}, one of both')
        if isinstance(source.env, str):
            text = self._environment.get(source.env, "").strip()
            if not text:
                raise EndpointsError(f"{key}: the variable {source.env} is not set")
            return text
        place = self.folder / str(source.file)
        try:
            text = place.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise EndpointsError(f"{key}: {place}: {error.strerror or error}") from error
        except UnicodeDecodeError:
            raise EndpointsError(f"{key}: {place}: the file is not UTF-8") from None
        if not text:
            raise EndpointsError(f"{key}: {place}: the file is empty")
        return text


def _endpoint(name: str, said: _Webhook | _Apprise, secrets: _Secrets) -> Endpoint:
    schedule = SVIX if said.schedule is None else tuple(one.milliseconds for one in said.schedule)
    if not schedule:
        raise EndpointsError('schedule: write at least one delay, such as ["5s", "5m"]')
    target: WebhookTarget | AppriseTarget
    if isinstance(said, _Webhook):
        target, kinds, wait = _webhook(said, secrets), said.kinds or [*Kind], _wait(said.digest)
    else:
        target, kinds, wait = _apprise(said, secrets), said.kinds, 0
    return Endpoint(
        name=name,
        target=target,
        wanted=Wanted(_set(said.tenants), _set(said.achievements), frozenset(kinds), frozenset(said.origins)),
        reach=_reach(said, secrets.folder),
        languages=None if said.languages is None else tuple(said.languages),
        digest=wait,
        schedule=schedule,
        disable_after=said.disable_after.milliseconds,
        concurrency=said.concurrency,
        rate=said.rate,
    )


def _set(names: list[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def _wait(digest: Digest | None) -> int:
    if digest is None:
        return 0
    if not SECOND <= digest.wait.milliseconds <= LONGEST_WAIT:
        raise EndpointsError("digest: wait is between `1s` and `1d`")
    return digest.wait.milliseconds


def _reach(said: _Chosen, folder: Path) -> Reach:
    if not 0 < said.timeout.milliseconds <= LONGEST_TIMEOUT:
        raise EndpointsError("timeout: at most `60s`, and more than nothing")
    networks: list[Network] = []
    for text in said.allow_networks:
        try:
            networks.append(read_network(text))
        except ValueError as error:
            raise EndpointsError(f"allow_networks: write a network such as `10.1.0.0/16`: {error}") from None
    ca_file = None if said.ca_file is None else str(folder / said.ca_file)
    return Reach(said.timeout.milliseconds, tuple(networks), said.insecure, ca_file)


def _webhook(said: _Webhook, secrets: _Secrets) -> WebhookTarget:
    _check_url("url", said.url, insecure=said.insecure)
    if (said.secret is None) == (said.secrets is None):
        raise EndpointsError('write `secret = { file = "PATH" }`, or `secrets` with two of these while you rotate')
    sources = {"secret": said.secret} if said.secret is not None else {}
    for number, source in enumerate(said.secrets or ()):
        sources[f"secrets[{number}]"] = source
    if not 1 <= len(sources) <= SECRETS:
        raise EndpointsError(f"secrets: write one or {SECRETS}: the new one, and the one before")
    return WebhookTarget(said.url, tuple(read_secret(secrets.read(key, source)) for key, source in sources.items()))


def _apprise(said: _Apprise, secrets: _Secrets) -> AppriseTarget:
    if (said.to is None) == (said.resolver is None):
        raise EndpointsError("write `to` (a template of an apprise URL) or `resolver` (a URL of yours), one of both")
    if said.resolver is not None:
        _check_url("resolver", said.resolver, insecure=said.insecure)
        if not said.schemes:
            raise EndpointsError('schemes: say which kinds of addresses the resolver gives, such as ["mailtos"]')
    token = None if said.resolver_token is None else secrets.read("resolver_token", said.resolver_token)
    return AppriseTarget(
        None if said.to is None else secrets.read("to", said.to),
        said.resolver,
        token,
        frozenset(said.schemes or ()),
        said.title,
        said.text,
    )


def _check_url(key: str, url: str, *, insecure: bool) -> None:
    """Check a URL without quoting it: a path or a query may be a secret."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise EndpointsError(f"{key}: not a URL; write https://host/path") from None
    if not host or not url.isprintable() or " " in url:
        raise EndpointsError(f"{key}: not a URL; write https://host/path")
    if parts.scheme not in {"https", "http"}:
        raise EndpointsError(f"{key}: write https://host/path")
    if parts.scheme == "http" and not insecure:
        raise EndpointsError(f"{key}: http:// is not encrypted; write https://, or `insecure = true` if it must be")
    if parts.username is not None or parts.password is not None:
        raise EndpointsError(f"{key}: no user and password in the URL: the signature is what proves the sender")
