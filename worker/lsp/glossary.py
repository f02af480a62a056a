"""Every keyword in a sentence or two, for hover and completion; docs/language.md has the whole of it."""

from __future__ import annotations

from typing import Final

GLOSSARY: Final = {
    # declarations
    "event": "`event NAME { field: type ... }`: the contract of an event's payload.",
    "traits": "`traits from EVENT { ... }`: each such event updates these traits of its user; the last value wins.",
    "achievement": "`achievement NAME [version N [from INSTANT] [fresh]] { ... }`: something to be earned.",
    "example": "A test that lives beside the rule: events, and what must come of them.",
    "once": "`once per FIELD, ... [within DURATION]`: of events with equal fields only those count that lie that far "
    "apart; without a span only the first.",
    "version": "A version judges the events that occurred from its `from` on; what was earned before stays.",
    "fresh": "Progress counts from the version's `from` on.",
    # clauses
    "title": "What people read; one text, or one for each language.",
    "about": "A description for people.",
    "when": "The condition that earns it.",
    "for": "Only for users whose traits fulfil this. It makes the achievement contestable.",
    "after": "Earned only once these others are.",
    "active": "`active INSTANT .. INSTANT`: only events from the first, inclusive, to the second, exclusive, are seen.",
    "reveal": "When it is shown: `always`, `at N%` of the way, `after NAME`, or `secret` until it is earned.",
    "reward": "What is announced with the unlock: any JSON object.",
    "repeat": "`each`: again and again, afresh after every unlock. `every UNIT`: once in each calendar unit.",
    "scope": "Whose achievement it is: `user`, `tenant`, or the value of a payload field, such as a team.",
    "renamed": "`renamed from old_name`: the achievement had another name before. Its unlocks go on, with their ids.",
    "family": "A group in catalogues and analytics; it has no other meaning.",
    "settle": "Delays the grant of a contestable achievement: granted if it still holds after that long.",
    "tier": "`tier NAME { when ... }`: one of several. `tier NAME >= N { ... }`: it gives the bound that `when` lacks.",
    "list": '`list NAME = ["a", "b"]`: values with a name, for `x in NAME` and `for each VAR in NAME`.',
    # operators
    "count": "`count(event=E, [distinct=FIELD,] >= N)`: that many events, or different values of a field."
    " `count(by=FIELD, C, >= N)`, `count(per=UNIT, C, >= N)`: that many values, or calendar units, for which C holds.",
    "sum": "`sum(event=E, of=FIELD, >= N)`: the exact total of a number field.",
    "max": "`max(event=E, of=FIELD, >= N)`: one event's field reaches the bound.",
    "min": "`min(event=E, of=FIELD, <= N)`: one event's field is as small as the bound.",
    "streak": "`streak(event=E, per=UNIT, >= N, [min=K,] [grace=G])`: active calendar units in one run."
    " `streak(per=UNIT, C, >= N)`: a unit is active when C holds on its events.",
    "sequence": "`sequence([E, E, ...], [by=FIELD])`: the steps in this order; other events may lie between.",
    "all": "Every one of the conditions. What held once goes on holding.",
    "any": "One of the conditions.",
    "at_least": "`at_least(K, ...)`: K of the conditions.",
    "unlocked": "`unlocked(NAME[.TIER])`: the subject has that achievement.",
    # arguments
    "event=": "The event to look at, or a list of alternatives; `where` filters it.",
    "as": "`E as FIELD`: the event counts for every user that the field names, in place of the one who did it.",
    "distinct=": "Counts the different values of a field, or combinations of several: `distinct=[course_id, at.date]`.",
    "of=": "The number field to add up or compare.",
    "by=": "It holds on the events that have one value of this field, or of these: `by=[course_id, lesson_id]`.",
    "min=": "Events that make a unit active; 1 where not said.",
    "grace=": "Inactive units that a run may bridge between two active ones; 0 where not said.",
    "within=": "It held on events that all lie inside one span shorter than this exact length.",
    "per=": "It held on the events of one calendar unit: `minute hour day week month year`.",
    "unless=": "An event of this kind starts the condition afresh. It makes the achievement contestable.",
    "tz=": 'Whose calendar: a zone in quotes, `user` (the trait `timezone`), `event` (its own offset); else `"UTC"`.',
    # filters
    "where": "Filters the events by their fields.",
    "at.hour": "The hour of the event's own time, 0 to 23.",
    "at.weekday": 'The weekday of the event\'s own time: `"mon"` to `"sun"`.',
    "at.minute": "The minute of the event's own time, 0 to 59.",
    "at.day": "The day of the month of the event's own time, 1 to 31.",
    "at.month": "The month of the event's own time, 1 to 12.",
    "at.year": "The year of the event's own time.",
    "at.week": 'The ISO week of the event\'s own time: `"2026-W15"`.',
    "actor": "The user of the event. It compares with `user` fields.",
    "length": "`length(s)`: how many code points a string has.",
    "lower": "`lower(s)`: a string in lower case.",
    "size": "`size(list)`: how many elements a list has.",
    "starts": "`s starts with t`: of two strings.",
    "ends": "`s ends with t`: of two strings.",
    "contains": "`s contains t`: one string in another. For an element of a list write `x in list`.",
    "at.date": 'The date of the event\'s own time: `"2026-04-13"`.',
    # examples
    "at": "`at INSTANT USER EVENT { payload } [times N every DURATION] [tenant T] [id ID]`: what happens.",
    "expect": "`expect USER [not] NAME[.TIER] [at INSTANT] [progress C/T]`: what must come of it.",
    "until": "`until INSTANT`: how far the clock of the example goes; without it, to the latest event.",
    # units
    "minute": "A calendar minute.",
    "hour": "A calendar hour.",
    "day": "A calendar day.",
    "week": "An ISO week, from Monday.",
    "month": "A calendar month.",
    "year": "A calendar year.",
    # values
    "secret": "Hidden until it is earned.",
    "always": "Shown from the begin.",
    "each": "`repeat each`: again and again. `for each VAR in LIST`: one achievement for each element.",
    "every": "Once in each calendar unit.",
    "by": "Once for each value of a field.",
    "times": "So many events, `every` so long; `{n}` in strings counts from 1.",
    "progress": "How far a user is: current/target.",
    "occurrence": "Which one of an achievement that repeats: a number, the label of the unit, or a value.",
}
