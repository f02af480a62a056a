"""Every link between documents leads to a file, and to a heading in it, that exist."""

import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).parents[2]
ROOMS = ("docs", "editors", "fixtures")
FENCE = re.compile(r"^( *)(`{3,}|~{3,})[^\n]*\n.*?^\1\2`* *$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
LINK = re.compile(r"\]\(<?([^()<>\s]+)>?(?:\s+\"[^\"]*\")?\)")
SHOWN = re.compile(r"<(?:img|source)\b[^>]*\s(?:src|srcset)=\"([^\"]+)\"")
EXPLICIT = re.compile(r"<a (?:id|name)=\"([^\"]+)\"")
HEADING = re.compile(r"^#{1,6} +(.+?) *#* *$", re.MULTILINE)
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def test_every_relative_link_leads_somewhere() -> None:
    pages = documents()
    faults = [fault for page in pages for fault in broken(page)]
    assert len(pages) > 30, "the documents are somewhere else"
    assert not faults, "\n".join(faults)


def test_anchors_are_spelt_as_hosts_of_repositories_spell_them() -> None:
    text = "# Who may *publish* what?\n## `ach run` & co_x\n## Who may publish what\n```sh\n# no heading\n```\n"
    assert anchors(text) == {"who-may-publish-what", "ach-run--co_x", "who-may-publish-what-1"}


def test_a_link_in_code_is_no_link() -> None:
    assert links('[a](b.md#c) `[d](e)`\n```\n[f](g)\n```\n![h](i.png)\n<img alt="j" src="k.png">\n') == [
        "b.md#c",
        "i.png",
        "k.png",
    ]


def documents() -> list[Path]:
    return sorted(
        [
            *ROOT.glob("*.md"),
            *(page for room in ROOMS for page in (ROOT / room).rglob("*.md") if "node_modules" not in page.parts),
        ]
    )


def broken(page: Path) -> list[str]:
    faults: list[str] = []
    for link in links(page.read_text(encoding="utf-8")):
        place, _, anchor = link.partition("#")
        if ELSEWHERE.match(place):
            continue
        target = (page.parent / unquote(place)).resolve() if place else page
        if not target.is_relative_to(ROOT) or not target.exists():
            faults.append(f"{page.relative_to(ROOT)}: {link}: there is no such file")
        elif anchor and target.suffix == ".md" and unquote(anchor) not in anchors_of(target):
            faults.append(f"{page.relative_to(ROOT)}: {link}: there is no such heading")
    return faults


def links(text: str) -> list[str]:
    prose = CODE.sub("", FENCE.sub("", text))
    return LINK.findall(prose) + SHOWN.findall(prose)


@cache
def anchors_of(page: Path) -> set[str]:
    return anchors(page.read_text(encoding="utf-8"))


def anchors(text: str) -> set[str]:
    """Return what may stand behind `#`: headings in lower case, without punctuation, with hyphens for spaces."""
    prose = FENCE.sub("", text)
    found: set[str] = set(EXPLICIT.findall(prose))
    for heading in HEADING.findall(prose):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        copies = 0
        while (name := f"{slug}-{copies}" if copies else slug) in found:
            copies += 1
        found.add(name)
    return found
