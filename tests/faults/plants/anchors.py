"""Where a planted bug goes: a named definition in ach/, dsl/, worker/ or sql/, and an edit of its tokens.

`at` names the definition, wherever its file lies:

- `divide`, `StateCache.admit`, `MAX_OFFSET`, `Settings`: a function, a method, a constant or a class of Python.
  If two modules define the name, a part of the module's path goes before it: `fast_path:divide`, `dsl:Scope`.
- `sql:take_partitions`: a query; `sql:schema` and `sql:0007_named_letters`: the schema and a migration.

`old` has to occur once in that definition. Tokens are compared, so comments, line breaks, indentation, trailing commas
and parentheses that only allow a line break do not matter. `new` takes its place, indented as what it replaces. A block
in triple quotes is read from the column of its closing quotes on, so that `old` and `new` may be at different depths.
An edit that has no place, or more than one, fails with a `LostBugError`.
"""

from __future__ import annotations

import ast
from bisect import bisect_right
from difflib import SequenceMatcher, get_close_matches
from functools import cache
from pathlib import PurePosixPath
from re import MULTILINE
from re import compile as pattern
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.faults.plants.lexing import Token, redundant, tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.faults.plants.bug import Edit

FOLDERS: Final = ("ach", "dsl", "worker", "sql")
_QUERY: Final = pattern(r"^-- (?:name|part): (\w+)\n", MULTILINE)
_COMMA: Final = pattern(r"\s*,")
_NAMES: Final = 3
"""How many similar names a message lists."""


class LostBugError(Exception):
    """An edit has no place in the source, or more than one; the text says where to look."""


class Definition(NamedTuple):
    """A named piece of a file: `[start, end)` in characters."""

    name: str
    module: str
    path: str
    start: int
    end: int


class Source(NamedTuple):
    """Files of the engine: path below the root to text."""

    files: Mapping[str, str]

    def edited(self, edits: Iterable[Edit]) -> Source:
        """Return the source after all edits.

        Raises:
            LostBugError: an edit does not apply exactly once, changes nothing, or leaves a file that does not parse.
        """
        source = self
        for edit in edits:
            place, start, end = source.find(edit)
            text = source.files[place.path]
            changed = _replaced(text, (start, end), edit)
            _check(place.path, text, changed)
            source = Source({**source.files, place.path: changed})
        return source

    def find(self, edit: Edit) -> tuple[Definition, int, int]:
        """Return the definition that an edit names, and the part of its file that the edit replaces.

        Raises:
            LostBugError: there is no such part, or more than one.
        """
        places = self._named(edit)
        found = [(place, *span) for place in places for span in _spans(self.files[place.path], place, edit.old)]
        if len(found) == 1:
            return found[0]
        if found:
            lines = ", ".join(str(_line(self.files[place.path], start)) for place, start, _ in found)
            raise LostBugError(
                f"{places[0].path}: `{edit.at}` holds the text {len(found)} times, in lines {lines}:"
                f"\n{_quoted(edit.old)}\nWrite more of the lines around the one that you mean."
            )
        raise LostBugError(
            f"{places[0].path}: `{edit.at}` is there, its text is not:\n{_quoted(edit.old)}\n"
            f"{self._closest(places, edit.old)}{self._elsewhere(edit)}"
        )

    def _named(self, edit: Edit) -> list[Definition]:
        """Return the definitions of a name: one, or those of one module, such as a property's getter and setter."""
        wanted = [place for place in self._definitions(sql=_is_sql(edit.at)) if _fits(place, edit.at)]
        if not wanted:
            raise LostBugError(f"No definition is named `{edit.at}`.{self._similar(edit)}{self._elsewhere(edit)}")
        modules = sorted({place.module for place in wanted})
        if len(modules) > 1:
            name = edit.at.rpartition(":")[2]
            choices = ", ".join(f"`{module}:{name}`" for module in modules)
            raise LostBugError(
                f"`{edit.at}` is defined in {len(modules)} modules. Choose one of {choices}.{self._elsewhere(edit)}"
            )
        return wanted

    def _definitions(self, *, sql: bool) -> Iterator[Definition]:
        for path, text in self.files.items():
            if path.endswith(".sql") == sql:
                yield from _definitions(path, text)

    def _similar(self, edit: Edit) -> str:
        by_name = {place.name: place for place in self._definitions(sql=_is_sql(edit.at))}
        wanted = edit.at.rpartition(":")[2]
        same_end = [name for name in by_name if name.rpartition(".")[2] == wanted.rpartition(".")[2]]
        names = dict.fromkeys([*same_end[:_NAMES], *get_close_matches(wanted, by_name, n=_NAMES)])
        return "\nSimilar names: " + ", ".join(map(self._said, map(by_name.__getitem__, names))) + "." if names else ""

    def _elsewhere(self, edit: Edit) -> str:
        """Say which other definitions hold the text now: the smallest around each place."""
        smallest: dict[tuple[str, int], Definition] = {}
        for place in self._definitions(sql=_is_sql(edit.at)):
            for start, _ in _spans(self.files[place.path], place, edit.old):
                known = smallest.get((place.path, start))
                if known is None or place.end - place.start < known.end - known.start:
                    smallest[place.path, start] = place
        if not smallest:
            return ""
        return "\nThe text is in " + ", ".join(map(self._said, dict.fromkeys(smallest.values()))) + "."

    def _said(self, place: Definition) -> str:
        """Return what `at` has to be for a definition, and its place."""
        sql = place.path.endswith(".sql")
        shared = {other.module for other in self._definitions(sql=sql) if other.name == place.name} != {place.module}
        prefix = f"{place.module}:" if sql or shared else ""
        return f"`{prefix}{place.name}` ({place.path}:{_line(self.files[place.path], place.start)})"

    def _closest(self, places: Sequence[Definition], old: str) -> str:
        """Return the lines of a definition that are most like a text, with their numbers."""
        wanted = _texts(tokens(old, sql=places[0].path.endswith(".sql")))
        windows = [
            (SequenceMatcher(None, wanted, _texts(window), autojunk=False).ratio(), place, window)
            for place in places
            for window in _windows(self.files[place.path], place, len(wanted))
        ]
        _, place, window = max(windows, key=lambda each: each[0])
        text = self.files[place.path]
        first, last = _line(text, window[0].start), _line(text, window[-1].end)
        lines = text.splitlines()[first - 1 : last]
        return f"The closest lines, {place.path}:{first}:\n" + _quoted("\n".join(lines))


def read(root: Path) -> Source:
    """Read the engine's source below a root."""
    files = (file for folder in FOLDERS for ending in ("py", "sql") for file in (root / folder).rglob(f"*.{ending}"))
    return Source({file.relative_to(root).as_posix(): file.read_text("utf-8") for file in sorted(files)})


def plant(root: Path, edits: Iterable[Edit]) -> None:
    """Change the files below a root.

    Raises:
        LostBugError: an edit does not apply.
    """
    before = read(root)
    for path, text in before.edited(edits).files.items():
        if text != before.files[path]:
            (root / path).write_text(text, "utf-8")


def _is_sql(at: str) -> bool:
    return at.startswith("sql:")


def _fits(place: Definition, at: str) -> bool:
    part, _, name = at.rpartition(":")
    return place.name == name and (not part or f".{part}." in f".{place.module}.")


# -- definitions -------------------------------------------------------------------------------------------------------


@cache
def _definitions(path: str, text: str) -> tuple[Definition, ...]:
    """Return the definitions of one file, those in classes included."""
    if path.endswith(".sql"):
        return tuple(_queries(path, text))
    place = PurePosixPath(path).with_suffix("")
    module = ".".join(place.parts).removesuffix(".__init__")
    starts = [0, *(match.end() for match in pattern("\n").finditer(text)), len(text)]
    return tuple(
        Definition(name, module, path, starts[first - 1], starts[last])
        for name, first, last in _blocks(ast.parse(text, path).body, "")
    )


def _blocks(body: Iterable[ast.stmt], prefix: str) -> Iterator[tuple[str, int, int]]:
    """Yield name, first line and last line of functions, classes and constants, but not of those in a function."""
    for statement in body:
        last = statement.end_lineno or statement.lineno
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                first = min([statement.lineno, *(each.lineno for each in statement.decorator_list)])
                yield prefix + statement.name, first, last
                inner = _blocks(statement.body, f"{prefix}{statement.name}.")
                yield from inner if isinstance(statement, ast.ClassDef) else ()
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield prefix + name, statement.lineno, last
            case ast.If() | ast.Try():
                yield from _blocks([*statement.body, *statement.orelse], prefix)
            case _:
                pass


def _queries(path: str, text: str) -> Iterator[Definition]:
    heads = [*_QUERY.finditer(text)]
    if not heads:
        yield Definition(PurePosixPath(path).stem, "sql", path, 0, len(text))
    ends = [*(head.start() for head in heads), len(text)][1:]
    for head, end in zip(heads, ends, strict=False):
        yield Definition(head[1], "sql", path, head.end(), end)


# -- texts within definitions ------------------------------------------------------------------------------------------


@cache
def _lexed(text: str, place: Definition) -> list[Token]:
    within = tokens(text[place.start : place.end], sql=place.path.endswith(".sql"))
    return [token._replace(start=token.start + place.start, end=token.end + place.start) for token in within]


def _texts(found: Iterable[Token]) -> list[str]:
    return [token.text for token in found]


def _spans(text: str, place: Definition, old: str) -> list[tuple[int, int]]:
    """Return where a definition holds a text, as `(start, end)` in characters of its file."""
    sql = place.path.endswith(".sql")
    lexed, wanted = _lexed(text, place), tokens(old, sql=sql)
    trailing = len(wanted) > 1 and wanted[-1].text == ","
    if trailing:
        del wanted[-1]
    if not set(_texts(wanted)) <= set(_texts(lexed)):
        found: list[tuple[int, int]] = []
    else:
        found = _exact(lexed, wanted) or ([] if sql else _loose(lexed, wanted))
    spans = [(lexed[first].start, lexed[last].end) for first, last in found]
    return [(start, _past_comma(text, end) if trailing else end) for start, end in spans]


def _past_comma(text: str, end: int) -> int:
    comma = _COMMA.match(text, end)
    return comma.end() if comma else end


def _exact(lexed: Sequence[Token], wanted: Sequence[Token]) -> list[tuple[int, int]]:
    """Return where some tokens occur, as indexes of the first and the last of them."""
    have, want = _texts(lexed), _texts(wanted)
    last = len(want) - 1
    return [(at, at + last) for at in range(len(have) - last) if have[at : at + last + 1] == want] if want else []


def _loose(lexed: list[Token], wanted: list[Token]) -> list[tuple[int, int]]:
    """Do the same as `_exact` without the parentheses that only allow a line break."""
    pairs, own = redundant(lexed), redundant(wanted)
    kept = [index for index in range(len(lexed)) if index not in pairs and index not in pairs.values()]
    want = [token for index, token in enumerate(wanted) if index not in own and index not in own.values()]
    found = ((kept[first], kept[last]) for first, last in _exact([lexed[index] for index in kept], want))
    return [whole for first, last in found if (whole := _with_pairs(first, last, pairs)) is not None]


def _with_pairs(first: int, last: int, pairs: Mapping[int, int]) -> tuple[int, int] | None:
    """Return a span that holds both parentheses of a pair or none, or None where that takes more than the pair."""
    for opening, closing in sorted(pairs.items(), reverse=True):
        if closing == last + 1 and first <= opening:
            last = closing
        elif opening == first - 1 and closing <= last:
            first = opening
        elif (first <= opening <= last) != (first <= closing <= last):
            return None
    return first, last


def _windows(text: str, place: Definition, size: int) -> Iterator[list[Token]]:
    """Yield, from the start of each line of a definition, the lines that hold so many tokens."""
    starts = [match.end() for match in pattern("\n").finditer(text)]
    by_line: dict[int, list[Token]] = {}
    for token in _lexed(text, place):
        by_line.setdefault(bisect_right(starts, token.start), []).append(token)
    lines = [*by_line.values()]
    for first in range(len(lines)):
        window: list[Token] = []
        for line in lines[first:]:
            if len(window) >= size:
                break
            window += line
        yield window


# -- edits -------------------------------------------------------------------------------------------------------------


def _replaced(text: str, span: tuple[int, int], edit: Edit) -> str:
    """Return a text with `edit.new` in place of a span, indented as what it replaces."""
    start, end = span
    lines = _dedented(edit.new)
    line_start = text.rfind("\n", 0, start) + 1
    before = text[line_start:start]
    if before.strip():
        base = _indent(before)
        new = [line.strip() if index == 0 else _shifted(line, base) for index, line in enumerate(lines)]
    else:
        base = len(before) - _indent(_dedented(edit.old)[0])
        start, new = line_start, [_shifted(line, base) for line in lines]
    return text[:start] + "\n".join(new) + text[end:]


def _dedented(text: str) -> list[str]:
    """Return the lines of a text without their common indentation; closing quotes on a line of their own count."""
    *_, closing = text.split("\n")
    margin = min([_indent(line) for line in _lines(text)] + [len(closing)] * closing.isspace(), default=0)
    return [line[margin:] for line in _lines(text)]


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _shifted(line: str, columns: int) -> str:
    return " " * max(0, _indent(line) + columns) + line.lstrip()


def _check(path: str, before: str, after: str) -> None:
    if _meaning(path, before) == _meaning(path, after):
        raise LostBugError(f"{path}: the edit changes nothing.")


@cache
def _meaning(path: str, text: str) -> object:
    """Return what two texts have in common that differ in their layout alone."""
    if path.endswith(".sql"):
        return _texts(tokens(text, sql=True))
    try:
        return ast.dump(ast.parse(text, path))
    except SyntaxError as error:
        line = error.lineno or 1
        around = "\n".join(text.splitlines()[max(0, line - 3) : line + 2])
        raise LostBugError(f"{path}:{line}: after the edit, {error.msg}:\n{_quoted(around)}") from error


def _line(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


def _quoted(text: str) -> str:
    return "\n".join(f"    | {line}" for line in _lines(text))
