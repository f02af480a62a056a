"""The documents as a site: where pages and links go, their order, and that search finds a word in a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from release.site import BrokenLinkError, loaded, main, navigation, pages_of_the_repository, place, rewritten, stage
from tests.kit.debian import ROOT
from tests.structure.test_links import ELSEWHERE, links

INDEX = (ROOT / "docs" / "README.md").read_text("utf-8")


def test_links_of_staged_pages_lead_to_staged_files(tmp_path: Path) -> None:
    pages = stage(tmp_path / "site")
    faults = [
        f"{page}: {link}"
        for page in pages
        for link in links((tmp_path / "site" / page).read_text("utf-8"))
        if not ELSEWHERE.match(link) and not _leads(tmp_path / "site" / page, link)
    ]
    assert len(pages) > 200
    assert faults == []


def _leads(page: Path, link: str) -> bool:
    name = link.partition("#")[0]
    return not name or (page.parent / name).is_file()


def test_every_page_is_in_the_index() -> None:
    named = {entry.page for entry in navigation(INDEX)}
    pages = {str(place(page).with_suffix("")) for page in pages_of_the_repository() if page.parent == Path("docs")}
    assert pages - named == {"index"}, "name these pages in docs/README.md, each with one sentence"


def test_the_index_is_in_the_order_learn_do_look_up_understand() -> None:
    assert re.findall(r"^## (.+)$", INDEX, re.MULTILINE) == ["Learn", "Do", "Look up", "Understand"]
    groups = list(dict.fromkeys(entry.group for entry in navigation(INDEX)))
    assert (groups[0], groups[-2:]) == ("Learn", ["Look up", "Understand"])


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) < 120


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_a_page_opens_with_what_it_is_for(page: Path) -> None:
    heading, blank, sentence, *_ = page.read_text("utf-8").splitlines()
    assert heading.startswith("# ")
    assert blank == ""
    assert re.match(r"[A-Z`]", sentence), "a sentence comes first, before headings, tables and code"


def test_links_fit_the_site() -> None:
    pages = {Path("docs/README.md"), Path("docs/a.md"), Path("docs/diagnostics/README.md"), Path("ARCHITECTURE.md")}
    text = "[`a`](a.md#b) [d](diagnostics/) [x](../ARCHITECTURE.md) [f](../LICENSE) `[c](gone.md)` "
    nowhere = "[s](../sql/) [r](../README.md)\n"
    written, files = rewritten(text + nowhere, Path("docs/a.md"), pages)
    assert written == (
        "[`a`](a.md#b) [d](diagnostics/README.md) [x](architecture.md) [f](LICENSE) `[c](gone.md)` s r\n"
    )
    assert files == {Path("LICENSE")}


def test_a_link_to_nothing_is_refused() -> None:
    with pytest.raises(BrokenLinkError, match=r"docs/a\.md: gone\.md: there is no such file"):
        rewritten("[g](gone.md)", Path("docs/a.md"), {Path("docs/a.md")})


def test_what_loads_from_elsewhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "a.html"
    page.write_text('<a href="https://a.example">fine</a><script src="https://b.example/x.js"></script>')
    assert loaded(page) == ['<script src="https://']


@pytest.mark.operate
@pytest.mark.timeout(600)
def test_search_finds_a_word_in_a_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Build the site as `just site` does, with all links checked, and search it without a server."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("needs chromium: apt-get install chromium")
    monkeypatch.setattr("sys.argv", ["site", str(tmp_path / "site")])
    main()
    address = f"{(tmp_path / 'site' / 'search.html').as_uri()}?q=grace"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000", "--dump-dom"]
    shown = subprocess.run([browser, *flags, address], capture_output=True, text=True, check=True, timeout=100).stdout
    results = shown.partition('id="search-results"')[2]
    assert "found" in results
    assert re.search(r'href="language\.html[^"]*"', results)
