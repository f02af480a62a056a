"""Keys of NATS as text, and credentials files: the vectors that the other libraries have, and every way to be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.identities import NKey, jwt, write_credentials
from worker.broker.nkeys import USER, Key, KeyFormatError, public_text, read_credentials, read_seed, read_seed_file

if TYPE_CHECKING:
    from pathlib import Path

SEED = "SUAMLK2ZNL35WSMW37E7UD4VZ7ELPKW7DHC3BWBSD2GCZ7IUQQXZIORRBU"
PUBLIC = "UCK5N7N66OBOINFXAYC2ACJQYFSOD4VYNU6APEJTAVFZB2SVHLKGEW7L"
SIGNED = {
    "PXoWU7zWAMt75FY": b"ZaAiVDgB5CeYoXoQ7cBCmq+ZllzUnGUoDVb8C7PilWvCs8XKfUchAUhz2P4BYAF++Dg3w05CqyQFRDiGL6LrDw==",
    "iBFByN3zQjAT7dQ": b"kagPGrixaWS5yuHqw9nTQrda1Q376fK3fRCGtYdF4/w2aSk+4O7Ca0JM0qvzm69HH6MoMps2yF6Q0Qs830JZCA==",
}


@pytest.mark.parametrize("nonce", SIGNED)
def test_the_vectors_of_other_libraries(nonce: str) -> None:
    key = Key(read_seed(SEED), wanted_by="NATS_NKEY")
    assert (key.public, key.sign(nonce)) == (PUBLIC, SIGNED[nonce])


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        SEED[1:],
        SEED[:-1],
        f"{SEED}A",
        f"{SEED}AAAAAAAA",
        SEED.lower(),
        SEED.replace("K", "0", 1),
        PUBLIC,
        "SU",
        "A" * 58,
    ],
)
def test_what_is_no_seed(text: str) -> None:
    with pytest.raises(KeyFormatError) as said:
        read_seed(text)
    assert not text.strip() or len(text) < 4 or text not in str(said.value)


@pytest.mark.parametrize("kind", ["account", "operator"])
def test_the_seed_of_something_else(kind: str) -> None:
    with pytest.raises(KeyFormatError, match="seed of an account or an operator"):
        read_seed(NKey(kind).seed)


@given(st.integers(0, len(SEED) - 1), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_one_wrong_character_is_noticed(place: int, letter: str) -> None:
    other = SEED[:place] + letter + SEED[place + 1 :]
    if other != SEED:
        with pytest.raises(KeyFormatError):
            read_seed(other)


@given(st.binary(min_size=32, max_size=32))
def test_a_public_key_as_text(public: bytes) -> None:
    assert public_text(USER, public).startswith("U")
    assert len(public_text(USER, public)) == len(PUBLIC)


def test_a_seed_stands_alone_or_in_a_block() -> None:
    block = f"-----BEGIN USER NKEY SEED-----\n{SEED}\n------END USER NKEY SEED------\n"
    for text in (SEED, f"{SEED}\n", f"\r\n{SEED}\r\n", block, block.replace("\n", "\r\n")):
        assert read_seed_file(text) == read_seed(SEED)


def test_a_credentials_file(tmp_path: Path) -> None:
    account, user = NKey("account"), NKey("user")
    token = jwt(account, user, "ann", expires=7)
    text = write_credentials(tmp_path / "c", token, user.seed).read_text()
    for form in (text, text.replace("\n", "\r\n"), text.replace("------END", "-----END")):
        found = read_credentials(form)
        assert (found.jwt, found.subject, found.expires) == (token, user.public, 7)
        assert found.seed is not None
        assert Key(found.seed, wanted_by="NATS_CREDS").public == user.public
    assert user.seed not in repr(found)
    assert token not in repr(found)
    assert "Seed(...)" in repr([found.seed])


@pytest.mark.parametrize(
    ("old", "new"),
    [("USER JWT", "USER"), ("NKEY SEED", "SEED"), (".", "!"), ("eyJ", "AAA"), ("------END", "------"), ("\n", " ")],
)
def test_what_is_no_credentials_file(old: str, new: str, tmp_path: Path) -> None:
    account, user = NKey("account"), NKey("user")
    text = write_credentials(tmp_path / "c", jwt(account, user, "ann"), user.seed).read_text()
    with pytest.raises(KeyFormatError) as said:
        read_credentials(text.replace(old, new))
    assert user.seed[:9] not in str(said.value)


@pytest.mark.parametrize("text", ["", "nonsense", "-" * 999_999, "-----BEGIN NATS USER JWT-----\n" * 30_000])
def test_a_file_of_anything_costs_no_time(text: str) -> None:
    with pytest.raises(KeyFormatError):
        read_credentials(text)
