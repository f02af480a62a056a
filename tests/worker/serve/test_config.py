from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from worker.serve.config import ConfigError, is_open_to_others, load_config

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s" * 43
HASH = "0" * 64


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "serve.toml"
    path.write_text(f'cursor_key = "{SECRET}"\n[tenants."a b"]\nkeys = ["{HASH}"]\n')
    path.chmod(0o600)
    assert load_config(path).tenants["a b"].keys == [HASH]
    assert not is_open_to_others(path)
    path.chmod(0o644)
    assert is_open_to_others(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "missing required field `cursor_key`"),
        ("= 1", "Invalid"),
        (f'cursor_key = "{SECRET}"\nother = 1', "unknown field `other`"),
        (f'cursor_key = "{"s" * 42}"', "length >= 43"),
        (f'cursor_key = "{SECRET}"\norigins = ["*"]', "origins"),
        (f'cursor_key = "{SECRET}"\norigins = ["https://*.example"]', "origins"),
        (f'cursor_key = "{SECRET}"\n[tenants.a]\nkeys = ["plain"]', "keys"),
        (f'cursor_key = "{SECRET}"\n[tenants.a]\nkeys = ["{HASH}", "{HASH}", "{HASH}"]', "keys"),
        (f'cursor_key = "{SECRET}"\n[tenants.a]\ntoken_secrets = ["short"]', "token_secrets"),
        (f'cursor_key = "{SECRET}"\n[tenants.a]\nkeys = ["{HASH}"]\n[tenants.b]\nkeys = ["{HASH}"]', "in common"),
    ],
)
def test_what_cannot_be_used_is_refused_without_its_secrets(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "serve.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert said in str(caught.value)
    assert SECRET not in str(caught.value)
    with pytest.raises(ConfigError, match="ach serve key"):
        load_config(tmp_path / "missing.toml")
