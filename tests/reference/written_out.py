"""Families, lists and ladders written out, by replacing text: what the language page says that they stand for."""

from __future__ import annotations

import re
from typing import Final

_LIST: Final = re.compile(r"^list (\w+) = \[([^\]]*)\]\n", re.MULTILINE)
_FAMILY: Final = re.compile(
    r"^(achievement \w+|example \"[^\"]*\") for each (\w+) in (\w+|\[[^\]]*\])(.*?)^\}\n", re.MULTILINE | re.DOTALL
)
_LADDER: Final = re.compile(r"^  when  (.*?)\)\n((?:  tier \w+ >= [\d_]+ *\{(?:[^{}]|\{[^{}]*\})*\}\n)+)", re.MULTILINE)
_RUNG: Final = re.compile(r"  tier (\w+) (>= [\d_]+) *\{((?:[^{}]|\{[^{}]*\})*)\}\n")
_ALL: Final = re.compile(r"in \[([^\]]*)\](.*?)>= all")


def written_out(text: str) -> str:
    """Return rules of one layout, a clause a line, with everything written out."""
    lists = dict(_LIST.findall(text))
    text = _LIST.sub("", text)
    text = _FAMILY.sub(lambda found: "".join(_members(found, lists)), text)
    for name, values in lists.items():
        text = re.sub(rf"\bin {name}\b", f"in [{values}]", text)
    text = _ALL.sub(lambda found: f"in [{found[1]}]{found[2]}>= {len(set(_values(found[1])))}", text)
    return _LADDER.sub(_tiers, text)


def _values(listed: str) -> list[str]:
    return re.findall(r'"[^"]*"|[-\d.]+', listed)


def _members(found: re.Match[str], lists: dict[str, str]) -> list[str]:
    head, var, which, body = found.groups()
    members: list[str] = []
    for value in _values(lists.get(which, which)):
        text = value.strip('"')
        slug = re.sub("[^a-z0-9]", "_", text.lower())
        part = re.sub(rf"_\${var}\b", f"_{slug}", body).replace(f"${var}", value).replace(f"{{{var}}}", text)
        if head.startswith("example"):
            members.append(f'{head[:-1]} ({text})"{part}}}\n')
        else:
            members.append(f"{head}_{slug}{part}  family {head.split()[1]}\n}}\n")
    return members


def _tiers(found: re.Match[str]) -> str:
    rungs = _RUNG.findall(found[2])
    return "".join(f"  tier {name} {{ when {found[1]}, {bound}) {rest}}}\n" for name, bound, rest in rungs)
