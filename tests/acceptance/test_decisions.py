from __future__ import annotations

import re
from pathlib import Path

DECISIONS = Path(__file__).parents[2] / "docs" / "decisions"
HOT_PATH = DECISIONS / "0008-hot-path"
LINK = re.compile(r"\]\(([^)#:]+)(?:#[\w-]*)?\)")


def test_links_of_decisions_lead_to_files() -> None:
    links = [(page, link) for page in sorted(DECISIONS.rglob("*.md")) for link in LINK.findall(page.read_text())]
    assert links
    assert [f"{page.name}: {link}" for page, link in links if not (page.parent / link).exists()] == []


def test_the_hot_path_lists_each_of_its_pages_and_where_it_is_used() -> None:
    rows = dict(
        re.findall(r"^\| \[[^]]+\]\(([\w-]+\.md)\) \| (.+) \|$", (HOT_PATH / "README.md").read_text(), re.MULTILINE)
    )
    assert sorted(rows) == sorted(page.name for page in HOT_PATH.glob("*.md") if page.name != "README.md")
    for name, used in rows.items():
        (line,) = re.findall(r"^Used in (.+)\.$", (HOT_PATH / name).read_text(), re.MULTILINE)
        assert re.findall(r"`([^`]+)`", used) == re.findall(r"\[([^]]+)\]", line), name
