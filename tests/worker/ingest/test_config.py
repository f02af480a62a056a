"""The file that says who may send."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.ingest.config import ConfigError, Key, load_config
from worker.ingest.openapi import document_text
from worker.serve.access import hash_of

A, B = hash_of("a"), hash_of("b")
HOOK = 'tenant = "t1"\nsecrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]\nuser = "a.b"\ntime = "t"\n'


def test_keys_by_themselves_and_with_words(tmp_path: Path) -> None:
    path = tmp_path / "ingest.toml"
    path.write_text(f'[tenants."a b"]\nkeys = ["{A}", {{ hash = "{B}", validate = true }}]\n')
    assert [*load_config(path).tenants["a b"].each()] == [Key(A), Key(B, validate=True)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tenants.a]\nkeys = ['short']", "tenants"),
        (f"[tenants.a]\nkeys = ['{A}']\n[tenants.b]\nkeys = ['{A}']", "a key in common"),
        ("hots = 1", "unknown field `hots`"),
        ("[limits]\nbatch_events = 0", "batch_events"),
        (f"[webhooks.x]\n{HOOK}", "either `type`"),
        (f"[webhooks.x]\n{HOOK}type = 'a'\nevent_type = 'b'", "either `type`"),
        (f"[webhooks.x]\n{HOOK}type = 'a..b'", "type"),
        (f"[webhooks.x]\n{HOOK}type = 'a'".replace("whsec_", ""), "does not begin with whsec_"),
        (f"[webhooks.'x/y']\n{HOOK}type = 'a'", "webhooks"),
        ("=", "ingest.toml"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "ingest.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"ingest\.toml") as caught:
        load_config(path)
    assert said in str(caught.value)
    assert "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" not in str(caught.value)


def test_a_missing_file_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ach ingest key --tenant NAME"):
        load_config(tmp_path / "ingest.toml")


def test_the_document_is_kept_in_docs() -> None:
    kept = Path(__file__).parents[3] / "docs" / "ingest.openapi.json"
    assert kept.read_text("utf-8") == document_text(), "ach ingest openapi > docs/ingest.openapi.json"
