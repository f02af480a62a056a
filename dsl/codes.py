"""Every code of the language's problems, with a title of one line.

Codes are stable: a code that is no longer used is not given to another problem. `ACH1xx` syntax, `ACH2xx` names,
`ACH3xx` types, `ACH4xx` meaning, `ACH5xx` advice.
"""

from __future__ import annotations

from typing import Final

SYNTAX: Final = {
    "ACH101": "Something else was expected here",
    "ACH102": "A character that the language does not use",
    "ACH103": "A string that is not closed, or not a JSON string",
    "ACH104": "Half of a surrogate pair in a string",
    "ACH105": "Not a number of the language",
    "ACH106": "Not an instant",
    "ACH107": "Not a duration",
    "ACH108": "Nested too deeply",
    "ACH109": "Unknown operator",
    "ACH110": "An argument that the operator does not take",
    "ACH111": "An argument given twice",
    "ACH112": "An argument is missing",
    "ACH113": "An argument of the wrong kind",
    "ACH114": "Not a comparison that fits here",
    "ACH115": "A comma or a name is missing before a bound",
    "ACH116": "A clause given twice",
    "ACH117": "A key given twice",
    "ACH118": "Not a name",
    "ACH119": "A bracket that is not closed",
    "ACH120": "A line of an example that cannot be read",
    "ACH121": "Too many errors",
    "ACH122": "A clause that does not belong here",
    "ACH123": "Not a value that fits a filter",
}
"""Found while reading the text."""

CODES: Final = {**SYNTAX}
"""Every code and its title."""
