"""Nothing that a terminal would obey is printed, from any source, and by no other way than worker/report/screen.py."""

from __future__ import annotations

import ast
import io
import json
import re
import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from worker.process import logs
from worker.report import screen
from worker.report.escape import visible
from worker.report.paper import Paper
from worker.settings import LogFormat

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
OBEYED = frozenset(
    code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
)
"""By a definition of its own: characters that command, turn, hide, or are none."""
HOSTILE = "\x1b[2J\x1b]0;title\x07 \x9b31m \x7f \u202etxt\u2066 \u200b\ufeff \U000e0041 \r\n row [bold]x[/] \\[link=http://e]l"

texts = st.text(st.characters() | st.sampled_from("\x1b\x9b\x07\x08\r\n\u202e\u200b\u2028[]\\"), max_size=40)


def obeyed(text: str, kept: str = "\n\t") -> set[str]:
    return {character for character in text if ord(character) in OBEYED and character not in kept}


@given(texts)
def test_every_character_is_seen(text: str) -> None:
    assert not obeyed(visible(text), kept="")
    assert not obeyed(visible(text, kept="\n\t"))
    plain = "".join(character for character in text if character.isascii() and character.isprintable())
    assert visible(plain) == plain


def test_how_it_is_seen() -> None:
    assert visible("a\x1b\x9b\n\u202e\U000e0041é日") == r"a\x1b\x9b\n\u202e\U000e0041é日"
    assert visible("a\n\tb\r", kept="\n\t") == "a\n\tb\\r"


@pytest.mark.parametrize("console", [Paper, screen.Plain])
@given(text=texts, other=texts)
def test_consoles_print_what_they_are_given_and_nothing_that_is_obeyed(
    console: type[Paper | screen.Plain], text: str, other: str
) -> None:
    file = io.StringIO()
    paper = console(file)
    paper.print(text)
    paper.print(text, style="bold")
    paper.say(f"{other} {text}")
    shown = file.getvalue()
    assert not obeyed(shown)
    *_, last, end = shown.split("\n")  # what was printed may hold ends of lines, and what is said may not
    assert (last, end) == (f"{visible(other)} {visible(text)}", "")


@pytest.mark.parametrize("forced", [True, False])
def test_no_markup_and_no_emoji_of_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, forced: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    if forced:
        monkeypatch.setenv("TTY_COMPATIBLE", "0")  # printed by rich all the same
    screen.out().print("[bold]a[/] :bomb: \\[link=http://e]b[/link]")
    screen.fail("[red]c[/]\x07\nerror: x", "\x1b[0m")
    said = capsys.readouterr()
    assert said.out == "[bold]a[/] :bomb: \\[link=http://e]b[/link]\n"
    # What follows in a message is no message of its own.
    assert said.err == "error: [red]c[/]\\x07\n  error: x\n  hint: \\x1b[0m\n"


def test_a_row_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    screen.table("t\n\x1b", ["a", "b"], [("\x1b[2J\r", "x\ny"), ("1", 2)])
    said = capsys.readouterr().out
    assert not obeyed(said)
    assert [line.split() for line in said.splitlines()] == [
        [r"t\n\x1b"],
        ["a", "b"],
        [r"\x1b[2J\r", r"x\ny"],
        ["1", "2"],
    ]


def test_on_a_terminal_styles_are_all_that_is_obeyed() -> None:
    file = io.StringIO()
    paper = Paper(file)
    paper._force_terminal = True  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    paper._color_system = None  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    paper.print(HOSTILE, style="bold red")
    paper.say(HOSTILE)
    assert not obeyed(file.getvalue())


@given(
    st.dictionaries(texts.filter(lambda text: not obeyed(text) & {chr(c) for c in range(0xD800, 0xE000)}), st.none())
)
def test_json_says_the_same_and_nothing_that_is_obeyed(value: dict[str, None]) -> None:
    said = screen.json_of(value)
    assert not obeyed(said)
    assert json.loads(said) == value
    assert msgspec.json.decode(said) == value


@pytest.mark.parametrize("form", LogFormat)
def test_log_lines(form: LogFormat, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    logs.configure(form)
    try:
        log = structlog.get_logger()
        log.warning(HOSTILE, said=HOSTILE, several=[HOSTILE], raw=HOSTILE.encode())
        log.error("failed", exc_info=ValueError(HOSTILE))
    finally:
        structlog.reset_defaults()
    assert not obeyed(file.getvalue())
    assert "said" in file.getvalue()


def test_bytes_are_handed_on_as_they_are_but_to_a_terminal(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    raw = b"\x1b[2J\xff\n"
    screen.hand_on(raw)
    sys.stdout.flush()
    assert capfdbinary.readouterr().out == raw


def test_a_terminal_is_not_handed_anything_it_obeys(monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    for content in (HOSTILE, HOSTILE.encode(), b"\xff\x9b"):
        written = Screen()
        monkeypatch.setattr(sys, "stdout", written)
        screen.hand_on(content)
        assert written.getvalue()
        assert not obeyed(written.getvalue())


# -- no other way ------------------------------------------------------------------------------------------------------

ALLOWED = {
    # The protocol of editors, which show nothing of it themselves; logs make each line visible before.
    ("worker/commands/notify/__init__.py", "click.echo"),  # before anything is imported; the text is our own
    ("worker/lsp/server.py", "sys.stdout"),
    ("worker/process/logs.py", "sys.stderr"),
    # What is printed of a defect, which may be one of the screen.
    ("worker/cli.py", "click.echo"),
    # The way itself.
    ("worker/report/screen.py", "*"),
    ("worker/report/paper.py", "*"),
    # What is drawn again and again; it makes each text visible.
    ("worker/report/live.py", "*"),
    # Writes what others print, and loses nothing of it.
    ("worker/process/streams.py", "os.write"),
    # A file of its own, and no terminal.
    ("worker/admin/journal.py", "os.write"),
    # Measures texts, and prints none.
    ("worker/report/cells.py", "rich.cells"),
}
WAYS = {
    "print",
    "input",
    "click.echo",
    "click.secho",
    "click.style",
    "click.prompt",
    "click.confirm",
    "click.pause",
    "click.echo_via_pager",
    "click.get_text_stream",
    "click.get_binary_stream",
    "click.progressbar",
    "sys.stdout",
    "sys.stderr",
    "sys.__stdout__",
    "sys.__stderr__",
    "os.write",
    "traceback.print_exc",
    "traceback.print_exception",
    "warnings.warn",
    "logging.StreamHandler",
    "logging.basicConfig",
    "structlog.PrintLogger",
}


def ways_past(text: str) -> Iterator[str]:
    """Yield what in a module prints."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in WAYS:
                yield name
            case ast.Attribute(value=ast.Name(id=module), attr=name) if f"{module}.{name}" in WAYS:
                yield f"{module}.{name}"
            case ast.Import(names=names):
                yield from (each.name for each in names if each.name.partition(".")[0] == "rich")
            case ast.ImportFrom(module=str(module), names=names):
                if module.partition(".")[0] == "rich":
                    yield module
                yield from (f"{module}.{each.name}" for each in names if f"{module}.{each.name}" in WAYS)
            case _:
                pass


def test_all_that_is_printed_goes_through_the_terminal() -> None:
    past = {
        (file.relative_to(ROOT).as_posix(), way)
        for part in ("worker", "dsl", "sql")
        for file in (ROOT / part).rglob("*.py")
        for way in ways_past(file.read_text("utf-8"))
        if (file.relative_to(ROOT).as_posix(), "*") not in ALLOWED
    }
    assert past - ALLOWED == set()


@pytest.mark.parametrize(
    "text",
    [
        "print(1)",
        "def f(x):\n    if x:\n        print(x, file=y)",
        "import click\nclick.echo('x')",
        "from click import echo",
        "import sys\nsys.stdout.write('x')",
        "from sys import stderr",
        "from rich.console import Console",
        "import rich",
        "async def f():\n    return [print(x) for x in y]",
    ],
)
def test_another_way_would_be_found(text: str) -> None:
    assert [*ways_past(text)]


class Screen(io.StringIO):
    """A terminal, or a pipe."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


UUID = "68adee72-3f69-8a5d-a138-a755ca804731"
LONG = "a subject of many words, longer than the line"


@pytest.mark.parametrize("wide", [True, False])
def test_what_is_copied_from_a_table_is_in_one_piece(monkeypatch: pytest.MonkeyPatch, *, wide: bool) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    written = Screen(terminal=not wide)
    monkeypatch.setattr(sys, "stdout", written)
    screen.table(
        "a title of many words that is longer than the line",
        ["id", "n", "words"],
        [(UUID, 1234567, LONG)],
        right=(1,),
        ids=(0,),
    )
    title, head, *lines = re.sub(r"\x1b\[[0-9;]*m", "", written.getvalue()).splitlines()
    assert title == "a title of many words that is longer than the line"
    assert head.split() == ["id", "n", "words"]
    assert lines[0].startswith(f"{UUID}  1234567  ")
    assert (len(lines) == 1) == (LONG in lines[0]) == wide
    assert "".join(line[47:] for line in lines).replace(" ", "") == LONG.replace(" ", "")


def test_a_table_that_a_terminal_is_too_narrow_for_becomes_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    written = Screen(terminal=True)
    monkeypatch.setattr(sys, "stdout", written)
    rows = [(UUID, 1234567, LONG, ""), ("2", 8, "a", "note")]
    screen.table("2 rows", ["id", "n", "words", "remark"], rows, right=(1,), ids=(0,))
    assert re.sub(r"\x1b\[[0-9;]*m", "", written.getvalue()).splitlines() == [
        "2 rows",
        f"    id  {UUID}",
        "     n  1234567",
        " words  a subject of many words, longer",
        "        than the line",
        "",
        "    id  2",
        "     n  8",
        " words  a",
        "remark  note",
    ]


@pytest.mark.parametrize("no_color", [True, False])
def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch, *, no_color: bool) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    written = Screen(terminal=True)
    monkeypatch.setattr(sys, "stdout", written)
    screen.out().print("wrong", style="bold red")
    colours = re.findall(r"\x1b\[[0-9;]*3[0-9]m", written.getvalue())
    assert bool(colours) is not no_color


@pytest.mark.parametrize("quiet", [True, False])
def test_progress_is_drawn_unless_it_is_to_be_quiet(monkeypatch: pytest.MonkeyPatch, *, quiet: bool) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    written = Screen(terminal=True)
    monkeypatch.setattr(sys, "stderr", written)
    with screen.progress("publishing", 2, quiet=quiet) as move:
        move(1, "")
    with screen.status("starting", quiet=quiet) as show:
        show("working")
    assert ("publishing" in written.getvalue()) is not quiet
    assert bool(written.getvalue()) is not quiet


def test_a_line_in_a_pipe_is_not_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    written = Screen(terminal=False)
    monkeypatch.setattr(sys, "stdout", written)
    screen.out().say(LONG * 3)
    screen.out().print(LONG * 3)
    assert written.getvalue() == f"{LONG * 3}\n" * 2


words = st.text(st.characters(codec="ascii") | st.sampled_from("\x1b\n日"), max_size=12)


@given(st.lists(st.tuples(words, words, words), max_size=4), st.sets(st.integers(0, 2)), st.sampled_from(["", "title"]))
def test_a_table_in_a_pipe_is_that_of_rich(rows: list[tuple[str, ...]], right: set[int], title: str) -> None:
    drawn: list[str] = []
    for forced in (False, True):
        file = Screen(terminal=False)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdout", file)
            patch.setenv("NO_COLOR", "1")
            patch.setenv("COLUMNS", "10")
            patch.delenv("FORCE_COLOR", raising=False)
            patch.delenv("TTY_COMPATIBLE", raising=False)
            if forced:
                patch.setenv("TTY_COMPATIBLE", "0")
            screen.table(title, ["name", "n", "a title"], rows, right=right)
        drawn.append(file.getvalue())
    assert drawn[0] == drawn[1]
