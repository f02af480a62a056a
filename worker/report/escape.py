"""Text that was received, with every character visible. Pure.

A terminal obeys some characters; others hide what stands beside them, or turn its direction.
"""

from __future__ import annotations

import re
from typing import Final

LINES: Final = "\n\t"
"""Control characters that a text of several lines keeps."""
DANGEROUS: Final = re.compile(
    r"["
    r"\x00-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u115f-\u1160"
    r"\u17b4-\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\u3164\ud800-\udfff\ufeff"
    r"\uffa0\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
    r"]"
)
"""Characters that move a cursor, start a command, turn the direction of writing, or are not seen: the categories Cc,
Cf, Cs, Zl and Zp of Unicode, and letters that look like nothing at all."""


def visible(text: str, *, kept: str = "") -> str:
    r"""Return text in which every character is seen: `\x1b` in place of an escape.

    What producers, files and servers say is printed this way. `kept` has the characters that may stay, such as LINES.
    """
    if text.isascii() and text.isprintable():
        return text
    return DANGEROUS.sub(lambda found: found[0] if found[0] in kept else _escaped(found[0]), text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
