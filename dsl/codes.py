"""Every code of the language's problems, with a title of one line.

Codes are stable: a retired code is never reused.
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

NAMES: Final = {
    "ACH201": "Unknown event",
    "ACH202": "Unknown field",
    "ACH203": "Unknown trait",
    "ACH204": "Unknown achievement",
    "ACH205": "Unknown tier",
    "ACH206": "Unknown calendar unit",
    "ACH207": "Unknown time zone",
    "ACH208": "Unknown type",
    "ACH210": "An event declared twice",
    "ACH211": "A field or trait declared twice",
    "ACH212": "A version declared twice",
    "ACH213": "A tier declared twice",
    "ACH223": "A list declared twice",
    "ACH224": "Unknown list",
    "ACH225": "A name of both a list and a field",
    "ACH231": "An old name that an achievement has",
    "ACH232": "An old name given twice",
    "ACH233": "Old names that differ between versions",
}
"""Found while looking names up."""

TYPES: Final = {
    "ACH301": "Compared with a value of another type",
    "ACH302": "An order comparison on a type without order",
    "ACH303": "Not a condition",
    "ACH304": "Not a number",
    "ACH305": "Declared with different types",
    "ACH306": "Not a value of the event's own time",
    "ACH307": "A lower bound on a type that is not a number",
    "ACH308": "A payload that breaks the contract of its event",
    "ACH315": "A list or a user where one plain value is needed",
    "ACH316": "An operation on values that do not have it",
    "ACH325": "A role that names no user",
}
"""Found while comparing types."""

MEANING: Final = {
    "ACH401": "Neither a condition nor tiers",
    "ACH402": "Both a condition and tiers",
    "ACH403": "A later version without `from`",
    "ACH404": "`fresh` without `from`",
    "ACH405": "Versions that do not follow each other",
    "ACH406": "Scope or repeat changed between versions",
    "ACH407": "An achievement that waits for itself",
    "ACH408": "An achievement of another scope",
    "ACH409": "Traits used outside the scope `user`",
    "ACH410": "A window on a sum that may fall",
    "ACH411": "A bound that always holds",
    "ACH412": "A bound that can never hold",
    "ACH413": "Not a whole number",
    "ACH414": "A number out of its range",
    "ACH415": "A span of zero length",
    "ACH416": "Active for no time",
    "ACH417": "A scope that no event has",
    "ACH418": "A filter that nothing passes",
    "ACH419": "An `unless` that undoes everything",
    "ACH420": "A version that is active at no time",
    "ACH421": "Waits for an achievement that comes too late",
    "ACH422": "Changed meaning under an unchanged version",
    "ACH423": "A reward too large to be announced",
    "ACH430": "A span that reaches beyond its calendar unit",
    "ACH431": "Counts the unlocks of no achievement",
    "ACH432": "An unlock asked for a user",
    "ACH433": "An event called `unlocks`",
    "ACH443": "Not a list of elements",
    "ACH444": "A bound `all` without its list",
    "ACH445": "A ladder that does not fit its `when`",
    "ACH446": "A list or a family that is too large",
    "ACH447": "Elements that make one name",
    "ACH448": "A `$var` that stands for nothing",
    "ACH455": "A role outside the scope `user`",
    "ACH456": "Too many roles of one event",
}
"""Found while asking what the rules mean."""

ADVICE: Final = {
    "ACH501": "An event that no rule uses",
    "ACH502": "The user's time zone, which nothing declares",
    "ACH503": "Weekdays in alphabetical order",
    "ACH504": "A filter that excludes nothing",
    "ACH505": "Contestable without `settle`",
    "ACH506": "A tier that does not imply the one below it",
    "ACH507": "A condition that another makes redundant",
    "ACH508": "Achievements that always come together",
    "ACH509": "Memory without bound",
    "ACH510": "A rule that no example covers",
    "ACH511": "An `allow` that is not needed",
    "ACH520": "An `unless` that resets nothing any more",
    "ACH521": "A `grace` that forgives more days than meant",
    "ACH522": "A `settle` that waits for nothing to happen",
    "ACH523": "Dates that have all passed",
    "ACH524": "`once per` where `distinct` says the same",
    "ACH525": "An `unless` that resets every group",
    "ACH526": "`repeat each` beside `by`",
    "ACH527": "Events counted where days are meant",
    "ACH528": "A count of one unit where the title says several, or of several where it says one",
    "ACH529": "A clock that differs from the one around it",
    "ACH530": "A `tz=` that nothing reads",
    "ACH543": "An element that a later version drops",
    "ACH544": "A span that may be negative",
    "ACH545": "A field that rules cannot see",
    "ACH546": "Tiers that a ladder says more shortly",
    "ACH547": "Achievements that a family says more shortly",
    "ACH548": "A `$var` in a string",
}
"""Warnings: the rules can be used as they are."""

CODES: Final = {**SYNTAX, **NAMES, **TYPES, **MEANING, **ADVICE}
"""Every code and its title."""
