"""Every rule block in the documents runs: README.md, and docs/*.md with the language reference first.

What follows ``` says what a block is:

`ach`
    a whole rule file: it has no errors, and all its examples pass
`ach fragment`
    more declarations for the last whole file above it in the same document: the two together are checked and run
`ach bad CODE...`
    a whole rule file in which the checker finds exactly these problems, in the order of the text
`text`
    right below a bad block: what `ach check rules.ach` prints about it, word for word
`console`
    where every command is `ach check FILE` or `ach test FILE`: run on the last whole file above, they print just that
"""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from dsl.check import check
from dsl.codes import CODES
from dsl.compile import compile_rules
from dsl.diagnostics import Diagnostic, Severity, render
from dsl.expand import expand
from dsl.parse import parse
from dsl.source import Source
from dsl.story import run_example
from dsl.syntax import Example, File

if TYPE_CHECKING:
    from dsl.schema import Rules

ROOT: Final = Path(__file__).parents[2]
REFERENCE: Final = "docs/language.md"
LEAST_EXAMPLES: Final = 45
_FENCE: Final = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND: Final = re.compile(r"^\$ ach (check|test) (\w+\.ach)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
_HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LINK: Final = re.compile(r"\]\(#([^)]*)\)")
_ROW: Final = re.compile(r"^\| (ACH\d{3}) \| (.+?) \|", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: where it begins, what its first line says, and the words on it."""

    place: str
    words: tuple[str, ...]
    text: str


def documents() -> list[str]:
    """Return the documents that may hold rules, as paths from the root of the repository."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [str(path.relative_to(ROOT)) for path in found if path.exists()]


def blocks(document: str) -> list[Block]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return [
        Block(f"{document}:{text.count(chr(10), 0, fence.start()) + 1}", tuple(fence["info"].split()), fence["text"])
        for fence in _FENCE.finditer(text)
    ]


def whole_files() -> list[Block]:
    """Return what must be free of errors: whole files, and fragments behind the files that they belong to."""
    found: list[Block] = []
    for document in documents():
        file = ""
        for block in blocks(document):
            if block.words == ("ach",):
                file = block.text
                found.append(block)
            elif block.words == ("ach", "fragment"):
                found.append(block._replace(text=file + block.text))
    return found


def bad_files() -> list[tuple[Block, str | None]]:
    """Return what must have problems, each with the text below it that shows them."""
    found: list[tuple[Block, str | None]] = []
    for document in documents():
        all_blocks = blocks(document)
        for block, below in zip_longest(all_blocks, all_blocks[1:]):
            if block.words[:2] == ("ach", "bad"):
                shown = below.text if below is not None and below.words == ("text",) else None
                found.append((block, shown))
    return found


def sessions() -> list[tuple[Block, str]]:
    """Return the sessions that can be run, each with the rule file that they are about."""
    found: list[tuple[Block, str]] = []
    for document in documents():
        file = ""
        for block in blocks(document):
            if block.words == ("ach",):
                file = block.text
            elif block.words == ("console",) and not _COMMAND.sub("", block.text):
                found.append((block, file))
    return found


def read(text: str) -> tuple[File, Rules, list[Diagnostic]]:
    file, problems = parse(Source("rules.ach", text))
    rules, found = check([file])
    return file, rules, sorted([*problems, *found], key=lambda problem: problem.order)


def examples(file: File) -> list[Example]:
    return [node for one in expand([file]).files for node in one.declarations if isinstance(node, Example)]


GOOD: Final = whole_files()
BAD: Final = bad_files()
SESSIONS: Final = sessions()


@pytest.mark.parametrize("block", GOOD, ids=[block.place for block in GOOD])
def test_a_rule_file_has_no_errors_and_its_examples_pass(block: Block) -> None:
    file, rules, problems = read(block.text)
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    assert not errors, "\n".join(render(problem) for problem in errors)
    program = compile_rules(rules)
    verdicts = [run_example(rules, program, file.source, example) for example in examples(file)]
    failures = [failure for verdict in verdicts for failure in verdict.failures]
    assert not failures, "\n".join(
        f"{failure.example}: {failure.source.text[failure.span.start : failure.span.end]}\n"
        f"  expected: {failure.expected}\n  got: {failure.got}"
        for failure in failures
    )


@pytest.mark.parametrize(("block", "shown"), BAD, ids=[block.place for block, _ in BAD])
def test_a_bad_file_has_exactly_the_problems_it_names(block: Block, shown: str | None) -> None:
    _, _, problems = read(block.text)
    printed = "\n".join(render(problem) for problem in problems)
    assert [problem.code for problem in problems] == list(block.words[2:]), printed
    if shown is not None:
        assert printed == shown.rstrip("\n")


@pytest.mark.parametrize(("block", "file"), SESSIONS, ids=[block.place for block, _ in SESSIONS])
def test_a_session_shows_what_the_commands_print(block: Block, file: str, tmp_path: Path) -> None:
    ach = Path(sys.executable).with_name("ach")
    for command, name, shown in _COMMAND.findall(block.text):
        (tmp_path / name).write_text(file, encoding="utf-8")
        ran = subprocess.run([ach, command, name], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.stdout == shown


def test_every_link_within_the_reference_leads_somewhere() -> None:
    text = _FENCE.sub("", (ROOT / REFERENCE).read_text(encoding="utf-8"))
    anchors = {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in _HEADING.findall(text)}
    assert set(_LINK.findall(text)) <= anchors


def test_every_block_of_rules_is_of_a_known_kind() -> None:
    kinds = {block.words[1:2] for document in documents() for block in blocks(document) if block.words[:1] == ("ach",)}
    assert kinds <= {(), ("fragment",), ("bad",)}


def test_the_reference_shows_by_example() -> None:
    shown = [block for block in blocks(REFERENCE) if block.words in {("ach",), ("ach", "fragment")}]
    assert sum(len(examples(read(block.text)[0])) for block in shown) >= LEAST_EXAMPLES


def test_the_reference_lists_every_code() -> None:
    listed = dict(_ROW.findall((ROOT / REFERENCE).read_text(encoding="utf-8")))
    assert listed == CODES
