"""The environment with all that it refers to: files of secrets, and a context of the tool `nats`."""

from __future__ import annotations

from base64 import b64decode
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from worker.identity import IdentityError, context_variables
from worker.secret_files import SecretFileError, read_file, read_secret
from worker.settings import Settings, SettingsError, read_settings
from worker.urls import RUN

if TYPE_CHECKING:
    from collections.abc import Mapping

FROM_FILES: Final = ("NATS_URL", "DATABASE_URL")
"""Variables that have another form, NAME_FILE, which is read at the start."""
SECRET_FILES: Final = ("NATS_CREDS", "NATS_NKEY", "NATS_PASSWORD_FILE", "NATS_TOKEN_FILE")
_SECRETS: Final = ("NATS_PASSWORD", "NATS_TOKEN", "NATS_USER_JWT", "NATS_USER_SEED")
_OF_CONTEXT: Final = ("NATS_URL", *_SECRETS)
"""What of a context is a secret."""


def load_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings that an environment asks for; read the files that it names in place of values.

    Raises:
        SettingsError: as `read_settings` does; or a file or a context cannot be used.
    """
    return read_settings(with_context(with_files(environment)))


def with_files(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the contents of files under the names of the variables.

    Raises:
        SettingsError: a file cannot be read, or both forms are set.
    """
    found = {**environment}
    for name in FROM_FILES:
        path = found.pop(f"{name}_FILE", "")
        if not path:
            continue
        if found.get(name):
            raise SettingsError(f"{name} and {name}_FILE are both set: set one of them")
        if "://" in path:
            raise SettingsError(f"{name}_FILE: expected the path of a file that holds the URL, and not the URL")
        try:
            found[name] = read_secret(path)
        except SecretFileError as error:
            raise SettingsError(f"{name}_FILE: {error}") from None
    return found


def with_context(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with what its context says; a variable that is set itself comes first.

    Raises:
        SettingsError: the context is missing, or cannot be used.
    """
    name = environment.get("NATS_CONTEXT")
    if not name:
        return {**environment}
    path = _path_of(name, environment)
    try:
        held = read_file(str(path))
        found = context_variables(msgspec.json.decode(held, type=dict[str, Any]))
        for field, variable in (("user_jwt", "NATS_USER_JWT"), ("user_seed", "NATS_USER_SEED")):
            if variable in found:
                found[variable] = _referred(field, found[variable], environment)
    except (SecretFileError, IdentityError) as error:
        raise SettingsError(f"NATS_CONTEXT: context {name!r}: {error}") from None
    except msgspec.DecodeError:
        raise SettingsError(f"NATS_CONTEXT: context {name!r}: {path} is no JSON object") from None
    return {**found, **{key: value for key, value in environment.items() if value != "" or key not in found}}


def _referred(field: str, value: str, environment: Mapping[str, str]) -> str:
    """Return what a field of a context means that is a text, or says where the text is.

    Raises:
        IdentityError, SecretFileError: it is not there, or is where only the tool can look.
    """
    scheme, sign, rest = value.strip().partition(":")
    match scheme.lower() if sign else "":
        case "file":
            return read_secret(rest.removeprefix("//"))
        case "env":
            name = rest.removeprefix("//")
            if not environment.get(name):
                raise IdentityError(f"its field `{field}` needs the variable {name!r}, which is not set")
            return environment[name].strip()
        case "data":
            try:
                return b64decode(rest.rpartition(",")[2], validate=True).decode().strip()
            except ValueError:
                raise IdentityError(f"its field `{field}` is no data:;base64,...") from None
        case "op" | "nsc":
            raise IdentityError(
                f"its field `{field}` is not supported with {scheme}: write it into a file and name that (file://PATH)"
            )
        case _:
            return value.strip()


def secrets_of(environment: Mapping[str, str]) -> list[str]:
    """Return the secrets that an environment has or names, as far as they can be read: no message may show them."""
    found = [environment[name] for name in _SECRETS if environment.get(name)]
    for name in (*SECRET_FILES, *(f"{name}_FILE" for name in FROM_FILES)):
        with suppress(SecretFileError):
            if path := environment.get(name):
                found += [line for line in read_file(path).decode(errors="replace").split() if len(line) >= RUN]
    with suppress(SettingsError):
        named = with_context({**environment, **dict.fromkeys(_OF_CONTEXT, "")})
        found += [named[name] for name in _OF_CONTEXT if named.get(name)]
    return found


def _path_of(name: str, environment: Mapping[str, str]) -> Path:
    """Return where a context is; a name that is an absolute path is one."""
    if not name.isprintable() or ".." in name:
        raise SettingsError("NATS_CONTEXT: expected the name of a context (`nats context ls` lists them)")
    if Path(name).is_absolute():
        return Path(name)
    if "/" in name:
        raise SettingsError("NATS_CONTEXT: expected the name of a context (`nats context ls` lists them)")
    folder = environment.get("XDG_CONFIG_HOME")
    if folder:
        return Path(folder, "nats", "context", f"{name}.json")
    try:
        return Path.home() / ".config" / "nats" / "context" / f"{name}.json"
    except RuntimeError:
        raise SettingsError("NATS_CONTEXT: there is no home folder; set XDG_CONFIG_HOME") from None
