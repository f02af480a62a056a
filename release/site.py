"""Build the documents as a site with search: `just site`.

python -m release.site [FOLDER]

Pages are staged in a copy, where links between them fit the site, and Sphinx builds that copy. The order of the site
is that of docs/README.md, its first page. A link to nothing fails, and so does a page that loads from elsewhere.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
SETTINGS: Final = ROOT / "release" / "sphinx"
SPHINX: Final = ROOT / ".venv-site" / "bin" / "python"
INDEX: Final = Path("docs/README.md")
MORE: Final = ("ARCHITECTURE.md", "CHANGELOG.md", "deploy/nats/README.md", "deploy/bridges/*.md")
"""Pages outside of docs/."""
LISTED: Final = {"docs/decisions": "Decisions", "docs/playbooks": "Playbooks"}
"""Folders without a page of their own, which get a list of their pages, by its title."""

_PIECE: Final = re.compile(
    r"(?P<fence>^(?P<indent> *)(?P<ticks>`{3,}|~{3,})[^\n]*\n.*?^(?P=indent)(?P=ticks)[`~]* *$)"
    r"|(?P<code>(?P<marks>`+)(?!`).*?(?<!`)(?P=marks)(?!`))"
    r"|\]\(<?(?P<target>[^()<>\s]+)>?\)",
    re.MULTILINE | re.DOTALL,
)
_NOWHERE: Final = re.compile(r"\[([^]]*)\]\(@\)")
_ELSEWHERE: Final = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_HEADING: Final = re.compile(r"^# +(.+?) *$", re.MULTILINE)
_GROUP: Final = re.compile(
    r"^(?:## (?P<part>.+)|(?P<group>[A-Z][^:\n]+):)$|^- \[(?P<title>[^]]+)\]\((?P<page>[^)#]+)\)", re.MULTILINE
)
_LOADED: Final = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\ssrc=["']?(?:https?:)?//|<link\b[^>]*\shref=["']?(?:https?:)?//"""
    r"""|@import\s+(?:url\()?["']?(?:https?:)?//|url\(["']?(?:https?:)?//""",
    re.IGNORECASE,
)


class BrokenLinkError(Exception):
    """A page links to a file that is not there; the message has both."""


class Entry(NamedTuple):
    """A page in the navigation: its group, the words of its link, and its file in the site without `.md`."""

    group: str
    title: str
    page: str


def main() -> None:
    """Build the site into the folder that the command line names, and print its first page."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "build/site").resolve()
    source = target.with_name(f"{target.name}-pages")
    stage(source)
    shutil.rmtree(target, ignore_errors=True)
    build(source, target)
    found = [f"{page.relative_to(target)}: {hit}" for page in sorted(target.rglob("*")) for hit in loaded(page)]
    if found:
        raise SystemExit("error: these load from elsewhere:\n" + "\n".join(found))
    print(target / "index.html")


def build(source: Path, target: Path) -> None:
    """Let Sphinx make pages of a staged folder; a warning of its is an error."""
    strict = ("--fail-on-warning", "--keep-going", "--nitpicky", "--quiet", "--jobs", "2")
    command = [str(SPHINX), "-m", "sphinx", *strict, "--conf-dir", str(SETTINGS), "--doctree-dir", f"{source}-read"]
    made = subprocess.run([*command, str(source), str(target)], env={**os.environ, "PYTHONHASHSEED": "0"}, check=False)
    if made.returncode:
        raise SystemExit(made.returncode)


def loaded(page: Path) -> list[str]:
    """Return what a file of the site would load from another host."""
    if page.suffix not in {".html", ".css"}:
        return []
    return [match[0] for match in _LOADED.finditer(page.read_text("utf-8"))]


def stage(folder: Path) -> list[Path]:
    """Write all pages, and what they link to, into a folder; return the pages' paths in it.

    Raises:
        BrokenLinkError: a page links to nothing.
    """
    shutil.rmtree(folder, ignore_errors=True)
    pages = [*pages_of_the_repository(), *(Path(name) / "README.md" for name in LISTED)]
    linked: set[Path] = set()
    entries = navigation((ROOT / INDEX).read_text("utf-8"))
    named = {entry.page for entry in entries}
    for page in pages:
        text = listed(page.parent) if str(page.parent) in LISTED else (ROOT / page).read_text("utf-8")
        written, files = rewritten(text, page, set(pages))
        linked |= files
        at = place(page)
        if page == INDEX:
            written += toctrees(entries)
        elif str(at.with_suffix("")) not in named:
            written = f"---\norphan: true\n---\n{written}"
        _write(folder / at, written)
    for file in linked:
        (folder / place(file)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / file, folder / place(file))
    return [place(page) for page in pages]


def pages_of_the_repository() -> list[Path]:
    """Return the pages of the site, as paths from the root of the repository."""
    found = [*(ROOT / "docs").rglob("*.md"), *(page for name in MORE for page in ROOT.glob(name))]
    return sorted(page.relative_to(ROOT) for page in found)


def place(path: Path) -> Path:
    """Return where a file of the repository is in the site."""
    if path == INDEX:
        return Path("index.md")
    inner = path.relative_to("docs") if path.parts[0] == "docs" else path
    return (
        Path(inner.name.lower()) if inner.suffix == ".md" and inner.stem.isupper() and inner.parent == Path() else inner
    )


def rewritten(text: str, page: Path, pages: set[Path]) -> tuple[str, set[Path]]:
    """Return a page with links that fit the site, and the files besides pages that it links to.

    A link to a folder without a page, or to a page outside of the site, becomes plain text.

    Raises:
        BrokenLinkError: a link leads nowhere.
    """
    files: set[Path] = set()

    def link(piece: re.Match[str]) -> str:
        target = piece["target"]
        if target is None or target.startswith("#") or _ELSEWHERE.match(target):
            return piece[0]
        name, mark, anchor = target.partition("#")
        to = Path(os.path.normpath(page.parent / name))
        if to / "README.md" in pages:
            to /= "README.md"
        elif to not in pages:
            if not (ROOT / to).exists():
                raise BrokenLinkError(f"{page}: {target}: there is no such file")
            if (ROOT / to).is_dir() or to.suffix == ".md":
                return "](@)"
            files.add(to)
        return f"]({os.path.relpath(place(to), place(page).parent)}{mark}{anchor})"

    return _NOWHERE.sub(r"\1", _PIECE.sub(link, text)), files


def listed(folder: Path) -> str:
    """Return the list of the pages of a folder, by their titles."""
    lines = [f"# {LISTED[str(folder)]}\n", "All pages of this folder.\n"]
    inner = [*(ROOT / folder).glob("*/README.md"), *(ROOT / folder).glob("*.md")]
    for page in sorted(inner):
        heading = _HEADING.search(page.read_text("utf-8"))
        title = page.stem if heading is None else heading[1]
        lines.append(f"- [{title}]({page.relative_to(ROOT / folder)})")
    return "\n".join(lines) + "\n"


def navigation(index: str) -> list[Entry]:
    """Return the pages that the index lists, in its order, each once."""
    entries: dict[str, Entry] = {}
    group = ""
    for line in _GROUP.finditer(index):
        group = line["part"] or line["group"] or group
        page = line["page"]
        if page is None:
            continue
        to = Path(os.path.normpath(INDEX.parent / page))
        to = to / "README.md" if str(to) in LISTED else to
        if to.suffix == ".md":
            name = str(place(to).with_suffix(""))
            entries.setdefault(name, Entry(group, line["title"], name))
    return list(entries.values())


def toctrees(entries: list[Entry]) -> str:
    """Return what tells Sphinx the navigation: a list of pages for each group."""
    text = ""
    for group in dict.fromkeys(entry.group for entry in entries):
        rows = "".join(f"{entry.title} <{entry.page}>\n" for entry in entries if entry.group == group)
        text += f"\n```{{toctree}}\n:hidden:\n:caption: {group}\n\n{rows}```\n"
    return text


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
