"""A planted bug finds its place again after moves and reformatting, and says where to look after other changes."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.faults.planted import BUGS, ROOT, broken
from tests.faults.plants.anchors import LostBugError, Source, plant, read
from tests.faults.plants.bug import Bug, Edit

if TYPE_CHECKING:
    from pathlib import Path

STORE = '''\
LIMIT: int = 10


class Store:
    """Keeps rows."""

    def admit(self, rows: list[int], owner: str) -> bool:
        # A comment.
        known = owner == self.owner and self.written.get(rows[0]) == len(rows)
        if not known:
            return False
        self.rows.extend(sorted(rows))
        return True


def total(rows: list[int]) -> int:
    return sum(rows)
'''
QUERIES = """\
-- Rows.

-- name: take_rows
-- In order.
SELECT row_id FROM row
WHERE row_id = ANY ($1)
ORDER BY row_id
FOR UPDATE;

-- name: count_rows
SELECT count(*) FROM row;
"""
SOURCE = Source({"worker/store.py": STORE, "sql/queries/row.sql": QUERIES})
KNOWN = Edit("Store.admit", "self.written.get(rows[0]) == len(rows)", "self.written.get(rows[0]) is not None")
UNSORTED = Edit("Store.admit", "self.rows.extend(sorted(rows))", "self.rows.extend(rows)")


def after(text: str, *edits: Edit, path: str = "worker/store.py") -> str:
    return Source({path: text}).edited(edits).files[path]


def same(one: str, two: str) -> bool:
    return ast.dump(ast.parse(one)) == ast.dump(ast.parse(two))


def test_an_edit_replaces_its_text() -> None:
    changed = after(STORE, UNSORTED)
    assert changed == STORE.replace("extend(sorted(rows))", "extend(rows)")


def test_a_moved_function_keeps_its_bug() -> None:
    moved = Source({"worker/store.py": "X = 1\n", "worker/deep/room/kept.py": f"import os\n\n\n{STORE}"})
    changed = moved.edited([UNSORTED]).files
    assert changed["worker/store.py"] == "X = 1\n"
    assert "extend(rows)" in changed["worker/deep/room/kept.py"]


def test_a_reformatted_function_keeps_its_bug() -> None:
    wrapped = STORE.replace(
        "known = owner == self.owner and self.written.get(rows[0]) == len(rows)",
        """known = (
            owner == self.owner  # by the owner
            and self.written.get(
                rows[0],
            )
            == len(rows)
        )""",
    )
    assert same(wrapped, STORE)
    assert same(after(wrapped, KNOWN), after(STORE, KNOWN))
    whole = Edit(
        "Store.admit", "known = owner == self.owner and self.written.get(rows[0]) == len(rows)", "known = True"
    )
    assert same(after(wrapped, whole), after(STORE, whole))
    deeper = STORE.replace("        self.rows", "        with self:\n            self.rows")
    assert "            self.rows.extend(rows)\n" in after(deeper, UNSORTED)


def test_a_block_is_indented_as_what_it_replaces() -> None:
    edit = Edit(
        "Store.admit",
        """
        if not known:
            return False
        """,
        """
        while not known:
            known = True
            if rows:
                break
        """,
    )
    assert after(STORE, edit) == STORE.replace(
        "        if not known:\n            return False\n",
        "        while not known:\n            known = True\n            if rows:\n                break\n",
    )
    deeper = Edit("Store.admit", "\n            return False\n        self", "\n        self")
    with pytest.raises(LostBugError, match="expected an indented block"):
        after(STORE, deeper)


def test_a_trailing_comma_does_not_matter() -> None:
    text = "def call():\n    return made(\n        first=1,\n        second=2,\n    )\n"
    flat = "def call():\n    return made(first=1, second=2)\n"
    for edit in (
        Edit("call", "second=2,", "second=3,"),
        Edit("call", "second=2,", ""),
        Edit("call", "second=2", "third=3"),
    ):
        assert same(after(text, edit), after(flat, edit))


def test_a_tuple_of_one_is_no_parenthesis() -> None:
    edit = Edit("one", "return (rows,)", "return ()")
    assert same(after("def one(rows):\n    return (rows,)\n", edit), "def one(rows):\n    return ()\n")
    with pytest.raises(LostBugError):
        after("def one(rows):\n    return (rows)\n", edit)


def test_a_tuple_in_parentheses_is_the_tuple() -> None:
    edit = Edit("two", "found = one, (lambda a, b: a)", "found = ()")
    wrapped = "def two(one):\n    found = (\n        one,\n        lambda a, b: a,\n    )\n    return found\n"
    assert same(
        after(wrapped, edit._replace(old="found = one, lambda a, b: a")),
        "def two(one):\n    found = ()\n    return found\n",
    )


def test_a_bug_of_several_definitions() -> None:
    changed = after(STORE, UNSORTED, Edit("total", "sum(rows)", "0"), Edit("LIMIT", "10", "11"))
    assert "extend(rows)" in changed
    assert "return 0" in changed
    assert "LIMIT: int = 11" in changed


def test_queries_by_their_names() -> None:
    edit = Edit("sql:take_rows", "ORDER BY row_id FOR UPDATE", "FOR UPDATE")
    assert "ANY ($1)\nFOR UPDATE;" in after(QUERIES, edit, path="sql/queries/other.sql")
    with pytest.raises(LostBugError, match="Similar names: `sql:take_rows`"):
        after(QUERIES, edit._replace(at="sql:take_row"), path="sql/queries/row.sql")
    assert "1 FROM row;" in after(QUERIES, Edit("sql:count_rows", "count(*)", "1"), path="sql/queries/row.sql")


def test_a_renamed_function_names_its_like() -> None:
    with pytest.raises(LostBugError) as lost:
        after(STORE.replace("admit", "let_in"), UNSORTED)
    assert "No definition is named `Store.admit`" in str(lost.value)
    assert "The text is in `Store.let_in` (worker/store.py:7)" in str(lost.value)


def test_a_deleted_function_fails() -> None:
    with pytest.raises(LostBugError, match="No definition is named `total`"):
        after(STORE[: STORE.index("def total")], Edit("total", "sum(rows)", "0"))


def test_a_changed_text_shows_the_closest_lines() -> None:
    with pytest.raises(LostBugError) as lost:
        after(STORE.replace("self.rows.extend(sorted(rows))", "self.rows += sorted(rows)"), UNSORTED)
    assert "`Store.admit` is there, its text is not" in str(lost.value)
    assert "The closest lines, worker/store.py:12:\n    |         self.rows += sorted(rows)" in str(lost.value)


def test_a_text_in_another_function_is_found_there() -> None:
    with pytest.raises(LostBugError, match=r"The text is in `total` \(worker/store.py:16\)"):
        after(STORE, Edit("Store.admit", "return sum(rows)", "return 0"))


def test_two_places_are_one_too_many() -> None:
    twice = STORE.replace("return True", "self.rows.extend(sorted(rows))\n        return True")
    with pytest.raises(LostBugError, match="2 times, in lines 12, 13"):
        after(twice, UNSORTED)
    two = Source({"worker/store.py": STORE, "dsl/store.py": STORE})
    with pytest.raises(LostBugError, match=r"Choose one of `dsl\.store:Store\.admit`, `worker\.store:Store\.admit`"):
        two.edited([UNSORTED])
    with pytest.raises(LostBugError, match=r"The text is in `dsl\.store:Store\.admit` \(dsl/store\.py:7\)\."):
        Source({**two.files, "worker/store.py": STORE.replace("sorted", "list")}).edited([UNSORTED])
    chosen = two.edited([UNSORTED._replace(at="dsl:Store.admit")]).files
    assert [path for path, text in chosen.items() if text != STORE] == ["dsl/store.py"]


def test_an_edit_that_changes_nothing_fails() -> None:
    with pytest.raises(LostBugError, match="changes nothing"):
        after(STORE, Edit("total", "sum(rows)", "sum(\n    rows,\n)  # all of them"))


def test_lost_bugs_are_listed() -> None:
    bug = Bug("unsorted", "rows are sorted", at=UNSORTED.at, old=UNSORTED.old, new=UNSORTED.new, tests=())
    assert broken([bug], SOURCE) == {}
    assert [*broken([bug], Source({}))] == ["unsorted"]


def test_files_are_changed(tmp_path: Path) -> None:
    (tmp_path / "worker").mkdir()
    (tmp_path / "worker" / "store.py").write_text(STORE, "utf-8")
    plant(tmp_path, [UNSORTED])
    assert read(tmp_path).files == Source({"worker/store.py": STORE}).edited([UNSORTED]).files


def test_every_bug_survives_a_move_and_another_line_length(tmp_path: Path) -> None:
    source = read(ROOT)
    for number, (path, text) in enumerate(source.files.items()):
        folder, _, name = path.partition("/")
        new = tmp_path / folder / "moved" / f"m{number}{name[name.rindex('.') :]}"
        new.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(text, "utf-8")
    ruff = [sys.executable, "-m", "ruff", "format", "--isolated", "--no-cache", "-q", "--line-length", "60"]
    subprocess.run([*ruff, tmp_path], check=True)
    assert broken([bug for bug in BUGS if not any(names_its_file(edit.at) for edit in bug.edits)], read(tmp_path)) == {}


def names_its_file(at: str) -> bool:
    """Return whether an edit names its file: two modules define its function, or the file is one statement."""
    statement = at.removeprefix("sql:")
    if at.partition(":")[0] not in {at, "sql"} or re.match(r"\d", statement):
        return True
    return at != statement and (ROOT / "sql" / "analytics" / f"{statement}.sql").is_file()
