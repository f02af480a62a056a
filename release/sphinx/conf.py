"""Settings of Sphinx for the site of the documents: release/site.py. They run in .venv-site."""  # noqa: INP001 - Sphinx reads this file by its path

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pygments.lexer import RegexLexer, bygroups, words
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Text

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "ach"
html_title = "ach"
html_theme = "furo"
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
# Anchors are those that hosts of repositories make of headings: links fit both places.
myst_heading_anchors = 6
# Answers and recordings in the documents are cut with `...`, so they are not JSON to the last character; what benches
# write begins with headings of the third level.
suppress_warnings = ["misc.highlighting_failure", "myst.header"]

_OPERATORS: Final = ("count", "sum", "max", "min", "streak", "sequence", "all", "any", "at_least", "unlocked")
_DECLARATIONS: Final = ("event", "achievement", "example", "traits", "from", "list", "expect", "at")
_CLAUSES: Final = (
    *("about", "active", "after", "by", "each", "every", "family", "for", "fresh", "in", "once", "per", "repeat"),
    *("reveal", "reward", "scope", "settle", "tier", "times", "title", "until", "version", "when", "where", "as"),
    *("and", "or", "not", "progress"),
)


class RulesLexer(RegexLexer):
    """Colours of rules."""

    name = "ach"
    aliases: ClassVar = ["ach"]
    flags = re.MULTILINE
    tokens: ClassVar = {
        "root": [
            (r"#.*$", Comment.Single),
            (r'"(?:\\.|[^"\\\n])*"', String),
            (r"\d{4}-\d\d-\d\d[Tt][\d:.]+(?:[Zz]|[+-][\d:]+)?", Number),
            (r"\d+(?:_\d+)*(?:\.\d+)?(?:%|[smhdw]\b)?", Number),
            (words(_OPERATORS, suffix=r"(?=\s*\()"), Name.Function),
            (r"([a-z][a-z0-9_]*)(\s*)(=)(?!=)", bygroups(Name.Attribute, Text, Operator)),
            (r"([a-z][a-z0-9_]*)(\s*)(:)", bygroups(Name.Attribute, Text, Punctuation)),
            (words(("string", "int", "decimal", "bool", "timestamp", "user"), suffix=r"\b"), Keyword.Type),
            (words(_DECLARATIONS, prefix=r"\b", suffix=r"(?![\w.])"), Keyword.Declaration),
            (words(_CLAUSES, prefix=r"\b", suffix=r"(?![\w.])"), Keyword),
            (words(("true", "false", "null"), suffix=r"\b"), Keyword.Constant),
            (r"\$?[a-z][a-z0-9_.]*", Name),
            (r"[<>=!+*/?-]+", Operator),
            (r"[{}()\[\],:.|]", Punctuation),
            (r"\s+", Text),
            (r".", Text),
        ]
    }


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx of the language of rules."""
    app.add_lexer("ach", RulesLexer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
