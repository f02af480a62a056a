"""Slips that newcomers make, by what stands before and at the place where the reader stumbled.

Each is a pattern over one line of text: the innermost open bracket, `|`, what stands before the place, `»`, what stands
there. They only choose the hint; the message stays the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dsl.parse.reading import Reading

_BEFORE: Final = 240
_AFTER: Final = 40
_SPACE: Final = re.compile(r"\s+")

_UNITS: Final = {"minute": "minute", "hour": "hour", "dai": "day", "week": "week", "month": "month", "year": "year"}
_CLAUSES: Final = {
    "title": ("name", "label", "headline", "display_name"),
    "about": ("description", "desc", "text", "summary", "help"),
    "when": (
        "if",
        "condition",
        "conditions",
        "criteria",
        "rule",
        "requires_events",
        "trigger",
        "triggers",
        "on",
        "goal",
    ),
    "for": ("audience", "segment", "users", "only", "where", "who"),
    "after": ("requires", "depends", "depends_on", "prerequisite", "needs"),
    "reward": ("rewards", "points", "xp", "gives", "grant", "prize"),
    "reveal": ("hidden", "secret", "visible", "visibility", "show"),
    "repeat": ("repeats", "repeatable", "recurring", "every", "each"),
    "active": ("start", "starts", "end", "ends", "until", "during", "valid"),
    "family": ("group", "category", "tag", "tags"),
    "settle": ("delay", "wait", "grace"),
    "renamed": ("rename", "alias", "aliases", "formerly", "previously", "was", "old_name"),
    "tier": ("level", "levels", "tiers", "rank"),
}
_MEANT: Final = {word: clause for clause, words in _CLAUSES.items() for word in words}

_SLIPS: Final = tuple(
    (pattern, hint)  # compiled when a file with an error is read
    for pattern, hint in (
        (r"»--", "comments begin with #"),
        (r"([<>!]) »=", r"write it as one sign: \1="),
        (r"(?:\bgroup »by|»group by|»by) (\w+)", r"each value by itself is an argument: by=\1"),
        (
            r"^\|(?:.*\})?\s*»(?:[{\[]|(?:if|when|on|create|def|let|var|function|class|select)\b)",
            "begin with a declaration, such as: achievement first_lesson { ... }",
        ),
        (r"\b(title|about) »[a-z]", r'write it in quotes: \1 "..."'),
        (r"\btitle \{[^}]*?(\w+) »\"", r'write: \1: "..."'),
        (r"\bwhen event ?»=", "write: when count(event=lesson.completed, >= 1)"),
        (
            r"\bwhen (\w+) ?»[<>=]",
            r"a condition is about events: count(event=lesson.completed, >= 10), or sum(event=..., of=\1, >= 100)",
        ),
        (
            r"^\{\|.*»(?:count|sum|streak|sequence|at_least|unlocked) (?!\()",
            "a condition stands behind `when`: when count(event=lesson.completed, >= 10)",
        ),
        (r"\b(?:achievement|list|family) »\d", "a name starts with a letter"),
        (r": ?»\+(\d)", "leave out the `+`"),
        (r"»\.(\d)", r"write a digit before the point: 0.\1"),
        (r"»\$\{(\w+)\}", r"write $\1 in filters, and {\1} in strings"),
        (r"\bin »\$(\w+)", r"write the name of a list without `$`: in \1"),
        (r"^\|.*»for each\b", "`for each` follows the name: achievement pets for each color in colors { ... }"),
        (r"»foreach (\w+) (?:in|of) (\w+)", r"write: for each \1 in \2"),
        (r"\b(?:achievement|example) [^{}]*\bfor »\$?(\w+) (?:in|of)\b", r"write: for each \1 in ..."),
        (r"\bfor each (\w+) »(?:of|from|=|:)", r"write: for each \1 in ..."),
        (r"\bfor each (\w+) »\{", r"name the element and its list: for each color in \1"),
        (r"\blist (\w+) = ?»[\"({]", r'write the values in brackets: list \1 = ["wolf", "tiger"]'),
        (r"= »all\b|>= ?(?:size|length|count|len) ?»\(", "write `>= all`: every value of the list in the filter"),
        (
            r"([a-z][\w.]*) ?(?:>=|<=|!=|=|>|<) ?[^\s()\[\]]+ (?:or|and) »(>=|<=|!=|=|>|<) ?([^\s,)]+)",
            r"name the field again: \1 \2 \3",
        ),
        (
            r"([a-z][\w.]*) in \[ ?([\w\".-]+?) ?»\.\. ?([\w\".-]+)",
            r"a list names each value; for a range write: \1 >= \2 and \1 <= \3",
        ),
        (
            r"\b([a-z]\w*) »(?:has|includes?|including|containing) (\"[^\"]*\"|\w+)",
            r"write: \2 in \1, where \1 is a list",
        ),
        (r"\b([a-z][\w.]*) »between ([\w\".-]+) and ([\w\".-]+)", r"write: \1 >= \2 and \1 <= \3"),
        (
            r"\b(?!when\b|event\b)([a-z]\w*) »(?:like|matches|startswith|starts_with|endswith|ends_with)\b(?!\.)",
            r'write: \1 starts with "x", \1 ends with "x", or \1 contains "x"',
        ),
        (
            r"[<>]=? ?[\d_.]+ »(?:and|or) ?[<>]",
            "there is no upper bound: one more event would take the achievement back; give the lower bound alone",
        ),
        (
            r"\bevent ?= ?([a-z][\w.]*) »(?:or|and) ([a-z][\w.]*)",
            r"write alternatives in brackets: event=[\1, \2]",
        ),
        (r"\bof ?= ?\w+ »[-+*/]", "`of=` takes one field: let your product send the result in a field"),
        (r"\bcount\( ?»\*", "to count events write count(event=lesson.completed, >= 10)"),
        (r"\bwhen »(\d+) (?:x |times )?([a-z][\w.]*)", r"write: count(event=\2, >= \1)"),
        (
            r"\bwhen ([a-z]\w*) »(?:\}|(?:title|about|for|after|active|reveal|reward|repeat|scope|family|settle)\b)",
            r"write unlocked(\1) for an achievement, or count(event=\1, >= 1) for an event",
        ),
        (
            r"\b(all|any|at_least|count|sum|max|min|streak|sequence|unlocked) ?»[\[{]",
            r"its arguments stand in parentheses: \1(...)",
        ),
        (r"\bachievement \w+ »v(?:ersion|er)?\.?(\d+)", r"write: version \1 from 2026-05-01T00:00:00Z"),
        (
            r"\bversion \d+ fresh »from\b",
            "`fresh` stands behind the instant: version 2 from 2026-05-01T00:00:00Z fresh",
        ),
        (
            r"\bachievement \w+ »(?:extends|inherits|implements)\b",
            "achievements do not inherit; several of one kind are a family: for each color in colors",
        ),
        (
            r"\b(settle|within) »(\d+) (s|m|h|d|w)(?:ec|econd|in|inute|our|ay|eek)?s?\b",
            r"write a duration as one word: \1 \2\3",
        ),
        (r"\bafter »\"(\w+)\"", r"write names without quotes: after \1"),
        (r"\bafter [\w., ]+ »(?:and|&&?|or)\b", "separate names with commas: after first, second"),
        (r"\bfor ([a-z]\w*) »(\"[^\"]*\"|\d+)", r"write a comparison: for \1 = \2"),
        (
            r"\bfor (?:users?|people|players?|members?|everyone) »(?:where|with|whose|who|having)\b",
            'the filter stands right behind `for`: for plan = "pro"',
        ),
        (r"\bscope (?:per|by|of|each|for) »(\w+)", r"write: scope \1"),
        (r"\brepeat by »[\[(]", "`repeat by` takes one field; groups by several are by=[course_id, lesson_id]"),
        (
            r"^\{\|.*»(?:cooldown|throttle|rate_limit|limit|max_times|at_most)\b",
            "once in each calendar unit is: repeat every day",
        ),
        (r"\btier (\w+) \{ ?»([<>]=? ?[\d_.]+)", r"write the bound before the braces: tier \1 \2 { ... }"),
        (r"^\|.*\bevent ([\w.]+) »([a-z]\w*) ?: ?(\w+)", r"write the fields in braces: event \1 { \2: \3 }"),
        (r"^\|.*\bevent »\{", "an event has a name: event lesson.completed { ... }"),
        (r"^\|.*\bachievement »\{", "an achievement has a name: achievement first_lesson { ... }"),
        (r"\bevent [\w.]+ ?\{[^}]*\b(\w+) ?»\? ?: ?(\w+)", r"the `?` follows the type: \1: \2?"),
        (
            r"\b(?:event|traits from) [\w.]+ ?\{[^}]*\b(\w+): ?(\w+) ?»\| ?(?:null|none|nil|undefined)\b",
            r"mark an optional field with `?` after its type: \1: \2?",
        ),
        (r"\bonce per [\w, ]*, ?»\}", "leave out the comma behind the last field of `once per`"),
        (r"\bonce per »[(\[]", "write the fields without brackets: once per course_id, lesson_id"),
        (r"\bonce per [\w, ]+? »(?:in|every|for|each) (\d+[smhdw])\b", r"write: within \1"),
        (r"\bexample »([a-z]\w*)", r'write the title in quotes: example "\1" { ... }'),
        (r"^\|.*»(?:test|scenario|spec|case|it|describe|feature)\b", "did you mean `example`?"),
        (r"\bat (\d{4}-\d\d-\d\d) (\d\d)»:(\d\d)", r"write date, time and offset as one: at \1T\2:\3:00Z"),
        (r"\bat (\d\d)»:(\d\d)", r"write a whole instant: at 2026-04-13T\1:\2:00Z"),
        (r"\bat [\dTtZz:.+-]+ \S+ [\w.]+ \{[^}]*?(\"?\w+\"?) »=", r"write \1: ..."),
        (r"(?:\bat [\dTtZz:.+-]+ \S+ [\w.]+|\breward) \{[^}]*: »([a-z]\w*)", r'write a string in quotes: "\1"'),
        (r"\bprogress »\d+%", "write what is counted and the target: progress 5/10"),
        (r"\bexpect \S+ »!", "write: expect USER not NAME"),
        (r"\b(at [\dTtZz:.+-]+|expect) ([\w.-]+)»@([\w.-]*)", r'write the user in quotes: \1 "\2@\3"'),
        (r"\bactive »(?:until|till|before|to|through|by|ends?) ?(\d[\dT:.Z+-]*)", r"write: active .. \1"),
        (r"\bactive »(?:from|since|after|on|starts?) ?(\d[\dT:.Z+-]*)", r"write: active \1 .."),
        (r"\bdefault »", "a field has no default: mark it with `?` where it may be missing"),
        (r"\bonce per \w+(?: ?, ?\w+)* within »(\d+) ?([smhdw])", r"write a duration as one word: within \1\2"),
        (r"^\{\|.*[{,] ?(\w+) ?»\? ?:", r"`?` follows the type: \1: string?"),
        (r"\bachievement \w+ for »(\w+) in\b", r"write: for each \1 in"),
        (r"\bfor each \w+ ?»,", "a family goes over one list: write out the combinations as elements"),
        (r"\bfor each \w+ in »\d", "write the elements of the list: [1, 2, 3]"),
        (
            r"^\{\|.*\bfor each »\w",
            "`for each` stands before the brace: achievement pets for each color in colors { ... }",
        ),
        (r"[<>]=? ?»\$", "a bound is a number; several bounds are tiers: tier bronze >= 10 {} tier silver >= 20 {}"),
        (r"\bachievement (\w+) »v(\d+)\b", r"write: achievement \1 version \2 from 2026-05-01T00:00:00Z"),
        (r"\bachievement (\w+) »(?!for\b|version\b)(\w+) ?\{", r"a name is one word: \1_\2"),
        (r"\bversion (\d+) »(?:since|at|on|starting|after)\b", r"write: version \1 from 2026-05-01T00:00:00Z"),
        (
            r"^\{\|.*»version\b",
            "`version` stands before the brace: achievement first version 2 from 2026-05-01T00:00:00Z",
        ),
        (r"\bachievement »(\d+)_?(\w+)", r"a name starts with a letter: \2_\1"),
        (r"\} ?»[*x×] ?(\d+)", r"write: times \1 every 1h"),
        (r"\bprogress »", "progress is the current value and the target: progress 5/10"),
        (r"\bexample »[a-z]", 'an example has a title in quotes: example "ten lessons" { ... }'),
        (r"\blist \w+ ?= ?»", 'write: list base_pets = ["wolf", "tiger"]'),
        (
            r"\bwhere\b.*?(-?[\w.]+) ?(<=?|>=?) ?([a-z][\w.]*) ?»(<=?|>=?) ?(-?[\w.]+)",
            r"write two comparisons: \1 \2 \3 and \3 \4 \5",
        ),
        (
            r"([\w.]+) ?[<>=!]=? ?[\w.\"]+ (and|or) »([<>=!]=?) ?([\w.\"]+)",
            r"name the field again: \2 \1 \3 \4",
        ),
        (r"\bevent ?= ?([\w.]+) »(?:or|and|\||/) ?([\w.]*)", r"write several events in brackets: event=[\1, \2]"),
        (r"\bevent ?= ?[\w.]+»\.\*", "an event has one name; a list takes several: event=[post.liked, post.shared]"),
        (r"\b(event|of|per|by|within|distinct|unless|tz|min|grace) ?(?:== ?»|»:|:=? ?»)", r"write \1=..."),
        (
            r"\b(count|sum|max|min|streak|sequence|all|any|at_least|unlocked) »(?![({\s])",
            r"write the arguments in parentheses: \1(...)",
        ),
        (r"^\{\|.*\)\s*»(and|or|\|\||&&|\||&)", "combine conditions with all(..., ...) or any(..., ...)"),
        (r"\)\s*»(?:>=|>) ?\[", "several bounds are tiers: tier bronze >= 10 {} tier silver >= 20 {}"),
        (r"^\[\|.*, ?\[ ?»\d", "several bounds are tiers: tier bronze >= 10 {} tier silver >= 20 {}"),
        (
            r"^\{\|.*\btier (\w+) ?\{ ?»(?:count|sum|total|>=?|\d|at_least|bound)",
            r"write the bound before the braces: tier \1 >= 10 {}",
        ),
        (
            r"^\{\|.*»once per (\w+)",
            r"`once per` leaves out copies of an event, in its declaration; write: repeat by \1",
        ),
        (
            r"^\{\|.*»(?:limit|max|maximum|times|max_times|cap)\b",
            "it is earned once, or again and again with `repeat`: nothing limits how often",
        ),
        (
            r"^\{\|.*»(?:cooldown|interval|debounce|throttle)\b",
            "nothing waits between two unlocks: `repeat every day` is once in each day",
        ),
        (
            r"\brepeat by \w+ ?»,|\brepeat by »\[",
            "`repeat by` takes one field: let your product send both values as one",
        ),
        (
            r"\brepeat every »\d+ ?(?:minute|hour|day|week|month|year)",
            "a unit has no number: write repeat every week, or send an event for a longer span",
        ),
        (r"\breveal »(?:never|no|none|false|off)\b", "write: reveal secret; it is shown once it is earned"),
        (r"\breward \{[^}]*: ?»([a-z_]\w*)", r'write strings in quotes: "\1"'),
        (r"\b(all|any|at_least) »\{", r"write the conditions in parentheses, with commas between them: \1(..., ...)"),
        (r"\bwhen ([a-z][\w.]*) »(?:then|followed by|before|->) ?([a-z][\w.]*)", r"write: sequence([\1, \2])"),
        (r"^\{\|.*\)\s*»[<>=]", "write the bound as an argument: count(event=lesson.completed, >= 10)"),
        (r"\bwhen »not\b", "a condition cannot be negated; `unless=` names the events that reset it"),
        (r"\bwhen »([a-z_]+\.[a-z_.]+) ?(>=?|==?) ?(\d[\d_]*)", r"to count events write count(event=\1, >= \3)"),
        (r"\bwhen »([a-z_]+\.[a-z_.]+)", r"to count events write count(event=\1, >= 1)"),
        (r"^\{\|.*\bevent [\w.]+ ?\{ ?(?:[^{}]*, ?)?(\w+) ?»[},]", r"write a type behind the name: \1: string"),
        (r"^\{\|.*: *(string|int|decimal|user) ?»\[ ?\]", r"write a list as [\1]"),
        (r"^\{\|.*: *(?:array|list|set) ?<[^>]*»", "write a list as [string]"),
        (
            r"^\{\|.*\bevent [\w.]+ ?\{[^}]*\b(?:required|optional) »(\w+)",
            r"a field is required unless `?` follows its type: \1: string?",
        ),
        (
            r"^\{\|.*\bevent [\w.]+ ?\{[^}]*: *\w+\?? ?»=",
            "a field has no default: mark it with `?` where it may be missing",
        ),
        (
            r"^\{\|.*\bevent [\w.]+ ?\{[^}]*: *\w+ ?»!",
            "a field is required unless `?` follows its type; leave out the `!`",
        ),
        (
            r"^\{\|.*\bevent [\w.]+ ?\{[^}]*: *\w+[^,:}]*?,? ?»(?:<|-?\d|between\b|min\b|max\b)",
            "a field takes only a lower bound: >= 0",
        ),
        (
            r"^\{\|.*\bevent [\w.]+ ?\{[^}]*: ?»\"[^\"]*\" ?\|",
            "there are no lists of allowed values: write string, and compare it in a filter",
        ),
        (
            r"^\{\|.*\bevent [\w.]+ ?\{[^}]*: ?(?:enum|oneof|one_of) ?»\(",
            "there are no lists of allowed values: write string",
        ),
        (
            r"^\{\|.*\bevent [\w.]+ ?\{[^}]*\b(\w+): ?»\{",
            r"payloads are flat: write a field for each value, such as \1_id: string",
        ),
        (
            r"\b(?:event|unless) ?=? ?\[?[\w., ]+»\.\*",
            "an event has one name; a list takes several: event=[post.liked, post.shared]",
        ),
        (r"\btraits »\{", "name the event that carries them: traits from user.updated { ... }"),
        (r"\btraits »([a-z][\w.]*)", r"write: traits from \1 { ... }"),
        (r"^\|.*»(?:import|include|require|use)\b", "all files of one folder are one rule set: nothing is imported"),
        (r"^\|.*»(?:rule|badge|trophy|award|medal|quest|goal|level|challenge)\b", "did you mean `achievement`?"),
        (r"\b(achievement|event|example|tier) (?:\"[^\"]*\"|[\w.]+) ?»[:=]", "leave it out: braces follow the name"),
        (r"^\{\|.*»,", "leave out the comma: clauses follow each other"),
        (
            r"^\{\|.*»(count|sum|max|min|streak|sequence|all|any|at_least|unlocked)\b ?\(",
            r"write `when` before it: when \1(...)",
        ),
        (r"\bwhen »\{", "write the condition without braces: when count(event=lesson.completed, >= 10)"),
        (
            r"^\{\|.*»(?:expires?|expiry|deadline|until|ends?|starts?|from)\b",
            "write: active 2026-05-01T00:00:00Z .. 2026-06-01T00:00:00Z",
        ),
        (r"\brepeat »(?:\d|\})", "write repeat each, or repeat every day"),
        (r"\bachievement [\w.]+ »renamed\b", "write it into the braces: { renamed from old_name ... }"),
        (
            r"\brenamed »(?:to|into|as)\b",
            "write the old name in the achievement that has the new one: renamed from old_name",
        ),
        (r"\brenamed »([a-z_]\w*)", r"write: renamed from \1"),
        (r"\brenamed from [\w, ]*»[a-z_]\w*\.", "a tier keeps its name: leave out the dot and what is behind it"),
        (r"\brenamed from »\"([a-z_]\w*)\"", r"write names without quotes: renamed from \1"),
        (r"\brenamed from »\[", "separate names with commas, the latest first: renamed from second, first"),
        (r"\b(tier \w+ ?[<>]=? ?[\d_.]+) ?»", r"braces follow, though they may be empty: \1 {}"),
        (r"\btier \w+ »(?:when|title|reward|reveal)\b", "write the tier in braces: tier gold { when ... }"),
        (r"\bexample »\{", 'an example has a title in quotes: example "ten lessons" { ... }'),
        (r"\b(achievement|event|tier|family|scope) »\"", "write names without quotes; `title` holds the display text"),
        (r"\bachievement [\w.]+ »(when|title|about|tier|reward)\b", "is the `{` missing?"),
        (r"\b(event|traits from|achievement|tier) [\w.]+ ?»\(", "write a declaration in braces: { ... }"),
        (r"^\|.*\bevent [\w.]+ ?»$", "declare an event without a payload with {}"),
        (r"\bwhere .*»as\b", "a filter follows the role: event=like as author where ..."),
        (
            r"([\w.]+) »between\b ?\(?\[? ?(-?[\w.:+-]+) ?(?:and|,|\.\.) ?(-?[\w.:+-]+)",
            r"write: \1 >= \2 and \1 <= \3",
        ),
        (r"»between\b", "write: seconds >= 5 and seconds <= 10"),
        (r"([\w.]+)\)? »(start|end)s?_?with\b", r'write: \1 \2s with "x"'),
        (
            r"([\w.]+)\)? »(?:like|ilike|matches|match|regex|regexp|rlike|~|includes?|has|contain|containing)\b",
            r'write: \1 starts with "x", \1 ends with "x", or \1 contains "x"',
        ),
        (
            r"([\w.]+) ?[!=]=? ?»\[",
            r'a list is not compared: size(\1) = 0 asks if it is empty, \1 in ["a", "b"] for one of several values',
        ),
        (
            r"\bgrace ?= ?\d+ »(?:per|a|an|each|every|in)\b",
            "`grace=G` bridges up to G units between two active ones, each time",
        ),
        (r"[<>]=? ?[\d_.]+ ?»[*/+-]", "a bound is one number: write the result"),
        (r"\bwhere\b.*\w »-\d", "put a space behind the `-`: seconds - 5"),
        (r"\bfor each »\$", "write the name alone: for each color in colors; in filters `$color` is the element"),
        (r"\bwhere\b.*[=<>] »\{", "write `$color` for the element of a family; braces stand in strings"),
        (r"\btier \w+ »\d", "write the bound with its comparison: tier bronze >= 10 { ... }"),
        (r"^\|.*\blist \w+ ?»[:\[]", 'write: list base_pets = ["wolf", "tiger"]'),
        (r"\bwhere\b.*\bin »\"", 'write values in brackets: in ["a", "b"]; of two strings: title contains "a"'),
        (r"([\w.]+) is »(true|false)\b", r"write \1 = \2"),
        (r"([\w.]+) is not »true\b", r"write not \1"),
        (r"([\w.]+) is not »false\b", r"write \1 = true"),
        (r"\bas »\"(\w+)\"", r"write the name of the field without quotes: as \1"),
        (r"\bis »null\b", "write `is not present`"),
        (r"\bis not »null\b", "write `is present`"),
        (r"\bin »\(", 'write the values in brackets: in ["a", "b"]'),
        (r"[=<>]\s*(\d+) »([smhdw])(ec|econd|in|inute|our|r|ay|eek|k)?s?\b", r"write a duration as one word: \1\2"),
        (r"\breward »", "write rewards in braces: reward { xp: 10 }"),
        (r"\breward \{.*»;", "separate the parts with commas"),
        (r"^\{\|.*\breward \{[^}]*?(\"?\w+\"?) »=", r"write \1: ..."),
        (r"^\{\|.*: *\w+\??( >= \d+)?»;", "separate fields with commas"),
        (
            r"\bevent ([\w.]+) \{ ?(\w+)\b[^{}]*\} ?»once\b(?: per (\w+))?(?: (?:within|every) (\w+))?",
            r"`once per` stands within the braces, and names the fields in which copies agree: once per \2 within 1d",
        ),
        (
            r"\bevent ([\w.]+) \{ ?\} ?»once\b",
            r"`once per` stands within the braces: event \1 { id: string once per id within 1d }",
        ),
        (
            r"^\{\|.*\bevent [\w.]+ \{ ?(\w+):.*\bonce »(?:within|every|in|a|each)\b",
            r"name the fields in which copies agree: once per \1 within 1d",
        ),
        (r"\brepeat every »\d+\b(?![smhdw])", "`repeat each` counts on from one unlock to the next: write repeat each"),
        (r"\brepeat each »(minute|hour|day|week|month|year)s?\b", r"write: repeat every \1"),
        (r"\brepeat »(once|yes|true|always|forever|unlimited)\b", "write repeat each, or repeat every day"),
        (r"^\{\|.*»(secret|hidden)\b", "write: reveal secret"),
        (
            r"^\{\|.*»(bronze|silver|gold|platinum|diamond)\b",
            r"write a tier: tier \1 { when count(event=lesson.completed, >= 10) }",
        ),
        (r"\btier »\d", "a tier has a name: tier bronze { ... }"),
        (
            r"^\{\|.*»(icon|image|picture|badge|color|colour|emoji|rarity|url|link)\b",
            r"put it into the reward: reward { \1: ... }",
        ),
        (
            r"([\w.]+) is »(empty|blank|none|undefined|missing|unset|nil)\b",
            r'write `is not present`; an empty text is \1 = "", an empty list size(\1) = 0',
        ),
        (
            r"([\w.]+) is not »(empty|blank|none|undefined|missing|unset|nil)\b",
            r'write `is present`; a text that is not empty is \1 != "", a list size(\1) > 0',
        ),
        (r"\b(?:time|hour|clock)\w* ?[<>=]+ ?\"?(\d+)»:\d", r"the hour of an event is `at.hour`: write at.hour < \1"),
        (
            r"»/ ?[a-z\d]",
            "there is no division in a filter: multiply on the other side, or let your product send the quotient",
        ),
        (r"\brepeat every »", "write a calendar unit: hour, day, week, month or year"),
        (r"\bafter »\[", "separate names with commas: after first, second"),
        (r"\breveal »\d+%", "write: reveal at 30%"),
        (r"([\w.]+) in »(\d+) ?(?:\.\.\.?|-|to) ?(\d+)", r"write \1 >= \2 and \1 <= \3"),
        (r"([\w.]+) in \[ ?(\d+) ?»(?:\.\.\.?|-) ?(\d+)", r"write \1 >= \2 and \1 <= \3"),
        (r"\bwithin ?= ?(\d+) »(month|year)s?\b", r"a \2 has no exact length: write per=\2, or a number of days"),
        (r"\bof ?= ?\w+ ?»[+*/-]", "`of=` takes one field: let your product send the result as a field of its own"),
        (
            r"\bevent ?= ?([\w.]+) »(?:with|for|to|by|of|via|on|from|received_by|in) (\w+)",
            r"for the users that a field names write event=\1 as \2",
        ),
        (
            r"\brepeat every \w+ »(?:at|from|on|starting|between|in)\b",
            "units are those of the calendar: a day begins at midnight by its `tz=`, a week on Monday",
        ),
        (r"^\{\|.*\bat \d[^{}]*\{(?:[^{}]*,)? ?(\"?\w+\"?) »=", r"write \1: ..."),
        (r"^\{\|.*: ?»([a-z_]\w*) ?[,}]", r'write strings in quotes: "\1"'),
        (r"\bactive [\dTtZz:.+-]+ »", "write a span as FROM .. TO"),
        (
            r"^\{\|.*\bevent [\w.]+ \{.*\b(optional|nullable|null) ?»",
            "mark an optional field with `?` after its type: id: string?",
        ),
        (
            r"^\{\|.*\b(event|traits from) [\w.]+ \{[^}]*\b(\w+) »(string|int|decimal|bool|timestamp|user)\b",
            r"write \2: \3",
        ),
        (r"^\{\|.*\b(event|traits from) [\w.]+ \{[^}]*: »\"(\w+)\"", r"write types without quotes: \2"),
        (r"^\{\|.*\bevent [\w.]+ \{[^}]*»\[", "a field takes only a lower bound: >= 0"),
        (
            r"\b(event|unless)\s*=\s*»(?![=:\"'])",
            r"write an event or a list of events: \1=[lesson.completed, quiz.passed]",
        ),
    )
)
_QUOTED: Final = (
    (re.compile(r"\btz ?= ?»([A-Z][\w+-]*(?:/[\w+-]+)*)"), r'write a zone in quotes: tz="\1"'),
    (re.compile(r"\btitle \{[^}]*»([a-z]{2,3}-\w+)"), r'write a language with a hyphen in quotes: "\1"'),
    (re.compile(r"»None\b"), "nothing is written `null`"),
    (re.compile(r"\b(tenant|id|occurrence) »([\w-]+)"), r'write it in quotes: \1 "\2"'),
    (re.compile(r"\b(?:at [\dTtZz:.+-]+|expect) »([\w.@-]+)"), r'write a user that is no name in quotes: "\1"'),
)
"""Words that are no names of the language, where their text is asked for."""
_REPEAT: Final = re.compile(r"\brepeat »(hour|dai|week|month|year)ly\b")
_CLAUSE: Final = re.compile(r"^\{\|.*»([a-z_]+)\b")


def quoted(text: str, start: int) -> str | None:
    """Return the hint for a word at an offset that must be in quotes, where its very text is meant."""
    line = f"{_SPACE.sub(' ', text[max(0, start - _BEFORE) : start])}»{text[start : start + _AFTER]}"
    for pattern, hint in _QUOTED:
        found = pattern.search(line)
        if found is not None:
            return found.expand(hint)
    return None


def hint_for(reading: Reading, start: int, *, clause: bool) -> str | None:
    """Return the hint for a known slip at an offset; `clause` means that a clause is valid there."""
    text = reading.source.text
    bracket = reading.open[-1].value if reading.open else ""
    before = _SPACE.sub(" ", text[max(0, start - _BEFORE) : start])
    line = f"{bracket}|{before}»{_SPACE.sub(' ', text[start : start + _AFTER])}".strip()
    for pattern, hint in _SLIPS:
        found = re.search(pattern, line)
        if found is not None:
            return found.expand(hint)
    repeat = _REPEAT.search(line)
    if repeat is not None:
        return f"write: repeat every {_UNITS[repeat[1]]}"
    word = _CLAUSE.search(line) if clause else None
    meant = None if word is None else _MEANT.get(word[1])
    return None if meant is None else f"did you mean `{meant}`?"
