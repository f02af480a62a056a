from __future__ import annotations

import pytest

from worker.console.letters import body_of, tenant_name
from worker.console.render import Pages, ago, bound, name, number, plural, seen, share, short, when
from worker.console.web import link
from worker.pipeline.dead_letters import StoredDeadLetter

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "a\u202eb\u2066c\u200b",
    "x" * 512,
    "{{ 7 * 7 }}",
    "\x00\x1b[31m\x7f",
    "\ud800",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_names_are_escaped_seen_and_isolated(text: str) -> None:
    for written in (str(name(text)), str(short(text))):
        assert written.startswith('<bdi class="name"')
        assert written.endswith("</bdi>")
        inner = written.partition(">")[2].removesuffix("</bdi>")
        assert "<" not in inner.replace('<span class="unseen">', "").replace("</span>", "")
        assert written.isprintable()
        assert not any(one in written for one in "\u202e\u2066\u200b\x00\x1b\ud800")


def test_a_short_name_has_the_whole_as_its_title() -> None:
    text = "y" * 100 + '"<>' + "z" * 100
    assert str(short("y")) == '<bdi class="name">y</bdi>'
    assert f'title="{"y" * 100}&#34;&lt;&gt;{"z" * 100}"' in str(short(text))
    assert len(str(short("\U0001f3c6" * 500)).partition(">")[2]) < 100


def test_what_turns_a_line_is_written_out() -> None:
    assert str(seen("a\u202eb")) == 'a<span class="unseen">\\u202e</span>b'


def test_templates_escape_and_know_all_their_values() -> None:
    pages = Pages()
    values: dict[str, object] = {
        "person": None,
        "form_token": "",
        "by_proxy": False,
        "by_link": False,
        "at": 0,
        "link": link,
    }
    shown = pages.render("login", {**values, "to": '/"><script>', "wrong": "<b>"})
    assert "<b>" not in shown
    assert "<script>" not in shown
    with pytest.raises(Exception, match="'wrong' is undefined"):
        pages.render("login", {**values, "to": "/"})


def test_instants_are_in_utc_and_exact() -> None:
    assert str(when(1_776_000_000_123_456)) == (
        '<time datetime="2026-04-12T13:20:00.123456Z">2026-04-12&nbsp;13:20:00&nbsp;UTC</time>'
    )
    assert "–" in str(when(None))
    assert str(when("2026-04-12T13:20:00.000000Z", seconds=False)).endswith("13:20&nbsp;UTC</time>")


def test_numbers_are_written_for_people() -> None:
    assert (number(1234567), number(None), plural(1, "reply"), plural(2, "reply")) == (
        "1,234,567",
        "–",
        "1 reply",
        "2 replies",
    )
    assert (share(1, 3), share(0, 0), share(1, 10_000), share(5, 5), share(0, 5)) == (
        "33.3 %",
        "–",
        "< 0.1 %",
        "100.0 %",
        "0.0 %",
    )
    assert (bound(0.02), bound(2.0), bound(None), bound(float("inf"))) == ("≤ 20 ms", "≤ 2 s", "–", "> 5 min")
    assert (ago(0), ago(59_000_000), ago(61_000_000), ago(2 * 86_400_000_000)) == ("0 s", "59 s", "1 min", "2 d")


def letter(body: bytes, erased_at: int | None = None) -> StoredDeadLetter:
    return StoredDeadLetter(1, "EVENTS", 1, 0, "contract", "", "events.a.b.c", "{}", body, 1, 0, None, None, erased_at)


def test_a_body_is_set_out_where_that_changes_nothing() -> None:
    made = body_of(letter(b'{"a":1.50,"b":{"c":[1,2]}}'), cut=False)
    assert made.text == '{\n  "a": 1.50,\n  "b": {"c":[1,2]}\n}'
    assert made.mendable
    for same in (b'{"a":1,"a":2}', b"[1,2]", b"no json", b"{}", b"[" * 5000):
        assert body_of(letter(same), cut=False).text == same.decode()


def test_bodies_that_cannot_be_mended_say_why() -> None:
    assert body_of(letter(b"\xff"), cut=False)[1:] == (
        False,
        "It is no UTF-8: byte 0 is 0xff. Bytes that are no text are written \\xNN.",
    )
    assert not body_of(letter(b"x" * 70_000), cut=False).mendable
    assert not body_of(letter(b"x"), cut=True).mendable
    assert body_of(letter(b"", 5), cut=False).text == ""


def test_tenants_are_named_by_their_tokens() -> None:
    assert (tenant_name("a%2Fb"), tenant_name("~0123"), tenant_name("")) == ("a/b", "~0123", "")
