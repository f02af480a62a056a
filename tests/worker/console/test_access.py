from __future__ import annotations

import pytest

from worker.console.access import AccessError, Person, Role, access_of_token, fresh_token, read_access, token_hash
from worker.console.sessions import LASTS_SECONDS, MINUTE, TRIES, Sessions, Tries
from worker.console.web import link, local_path

NOW = 1_800_000_000_000_000
TOKEN = "a-token-that-is-long-enough"
FILE = f"""
[[person]]
name = "ada"
role = "operator"
token_sha256 = "{token_hash(TOKEN)}"

[[person]]
name = "bob"
tenants = ["acme"]
token_sha256 = "{token_hash("another-token-of-bob")}"

[[person]]
name = "*"
tenants = []
"""


def test_persons_are_known_by_their_tokens() -> None:
    access = read_access(FILE)
    assert access.of_token(TOKEN) == Person("ada", Role.OPERATOR, None)
    bob = access.of_token("another-token-of-bob")
    assert bob is not None
    assert (bob.acts, bob.limit, bob.sees("acme"), bob.sees("globex")) == (False, ["acme"], True, False)
    for wrong in ("", TOKEN[:-1], TOKEN + " ", token_hash(TOKEN), "*", "\ud800"):
        assert access.of_token(wrong) is None


def test_a_proxy_names_persons_and_everyone_else_is_the_star() -> None:
    access = read_access(FILE)
    assert access.of_name("ada") == Person("ada", Role.OPERATOR, None)
    assert access.of_name("eve") == Person("eve", Role.VIEWER, frozenset())
    assert access.of_name("*") == Person("*", Role.VIEWER, frozenset())
    assert access.of_name("") is None
    assert access_of_token(TOKEN).of_name("eve") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "person"),
        ("person = []", "no person"),
        ("[[person]]\nname = 'a'\nroles = 'x'", "unknown field `roles`"),
        ("[[person]]\nname = 'a'\nrole = 'admin'", "Invalid enum value"),
        ("[[person]]\nname = 'a'\ntoken_sha256 = 'x'", "token_sha256"),
        ("[[person]]\nname = 'a'\n[[person]]\nname = 'a'", "there twice"),
        (f"[[person]]\nname = '*'\ntoken_sha256 = '{'0' * 64}'", "has no token"),
        (
            f"[[person]]\nname='a'\ntoken_sha256='{'0' * 64}'\n[[person]]\nname='b'\ntoken_sha256='{'0' * 64}'",
            "has the token of a",
        ),
    ],
)
def test_a_file_that_is_wrong_is_refused(text: str, said: str) -> None:
    with pytest.raises(AccessError, match=said):
        read_access(text)


def test_tokens_are_long() -> None:
    with pytest.raises(AccessError, match="20 or more"):
        access_of_token("short")
    assert len(fresh_token()) >= 32
    assert fresh_token() != fresh_token()


def test_a_session_is_its_own_and_ends() -> None:
    access = read_access(FILE)
    ada = access.of_token(TOKEN)
    assert ada is not None
    sessions = Sessions(access)
    cookie, other = sessions.begin(ada, NOW), sessions.begin(ada, NOW)
    session = sessions.read(cookie, NOW)
    assert session is not None
    assert session.person == ada
    again = sessions.read(other, NOW)
    assert again is not None
    assert again.form_token != session.form_token
    assert sessions.read(cookie, NOW + LASTS_SECONDS * 1_000_000) is None
    assert Sessions(access).read(cookie, NOW) is None
    text, _, signature = cookie.rpartition(".")
    for forged in ("", ".", cookie[:-1], f"{text}x.{signature}", f"{text}.", f".{signature}", "\ud800.x", "x" * 9999):
        assert sessions.read(forged, NOW) is None
    # A form token is no signature of a cookie.
    assert sessions.read(f"{text}.{session.form_token}", NOW) is None


def test_a_person_who_is_no_longer_known_is_logged_out() -> None:
    key = b"k" * 32
    before, after = read_access(FILE), read_access(FILE.replace('role = "operator"', 'role = "viewer"'))
    ada = before.of_token(TOKEN)
    assert ada is not None
    cookie = Sessions(before, key).begin(ada, NOW)
    assert Sessions(before, key).read(cookie, NOW) is not None
    assert Sessions(after, key).read(cookie, NOW) is None


def test_wrong_tokens_of_one_address_are_counted_for_a_minute() -> None:
    tries = Tries()
    for _ in range(TRIES):
        assert not tries.exhausted("a", NOW)
        tries.wrong("a", NOW)
    assert tries.exhausted("a", NOW)
    assert not tries.exhausted("b", NOW)
    assert not tries.exhausted("a", NOW + MINUTE)


@pytest.mark.parametrize(
    "to", ["//evil.example", "https://evil.example", "/\\evil", "javascript:x", "", "/a\nb", "evil"]
)
def test_a_login_leads_to_pages_of_ours(to: str) -> None:
    assert local_path(to) == "/"


def test_links_say_what_was_asked() -> None:
    assert local_path("/subject?tenant=a&id=b%2F") == "/subject?tenant=a&id=b%2F"
    assert link("/x", a="b&c=d#", none=None, empty="", yes=1) == "/x?a=b%26c%3Dd%23&yes=1"
