"""What an author meant by an operator that there is none of: one of ours by another name, or what no rule can say."""

from __future__ import annotations

import re
from typing import Final

from dsl.diagnostics import Suggestion
from dsl.parse.calls import Call, call_at, flat
from dsl.source import Span

_OURS: Final = {
    "count": "times number occurrences exists happened happens every each once has did quantity counter tally events",
    "sum": "total add sum_of cumulative accumulated accumulate points",
    "max": "maximum highest best greatest peak largest record",
    "min": "minimum lowest fastest least shortest smallest",
    "streak": "consecutive daily weekly days row in_a_row chain_of_days run",
    "sequence": "then followed_by chain funnel ordered in_order steps order path flow before after",
    "all": "and both all_of each_of every_of",
    "any": "or either any_of some one_of",
    "at_least": "atleast at_least_of min_of n_of some_of",
    "unlocked": "earned achieved has_badge badge achievement awarded granted has_achievement",
}
_MEANT: Final = {word: operator for operator, words in _OURS.items() for word in words.split()}
_ONCE: Final = frozenset("first once last exists happened did has occurred ever".split())  # noqa: SIM905 - a list of words
_DISTINCT: Final = frozenset({"distinct", "unique", "count_distinct", "distinct_count", "count_unique", "unique_count"})
_RANKS: Final = frozenset("rank top leaderboard position place percentile ranking ranked top_n".split())  # noqa: SIM905 - a list of words
_AVERAGES: Final = frozenset("avg average mean median ratio rate percent percentage share accuracy".split())  # noqa: SIM905
_NEVER: Final = frozenset({"never", "none", "no", "none_of", "without", "absent", "missing"})

_RANKED: Final = "count(event=league.placed where rank <= 3, >= 1)"
_NO_RANK: Final = (
    "a rule looks at one user's own events, and a rank changes by those of others: let your product send it, "
    "as `event league.placed { rank: int >= 1 }`, and"
)
NO_AVERAGE: Final = (
    "there are no averages and ratios: one more event could lower them. Let your product send the value when it is "
    "settled, and write: max(event=course.closed, of=average, >= 90)"
)


def other_operator(text: str, at: int) -> Suggestion | None:
    """Return what may be meant by the unknown operator at an offset."""
    found = re.match(r"[a-z_]\w*", text[at : at + 40])
    name = "" if found is None else found[0]
    span = Span(at, at + len(name))
    call = call_at(text, at + len(name) + 1) if text[at + len(name) : at + len(name) + 1] == "(" else None
    if name in _DISTINCT and call is not None:
        return _distinct(call)
    if name in _ONCE and call is not None and call.arguments:
        return _once(call)
    if name in _RANKS:
        return Suggestion(f"{_NO_RANK} write: {_RANKED}", span if call is None else call.span, _RANKED)
    if name in _AVERAGES:
        return Suggestion(NO_AVERAGE, span, "")
    if name in _NEVER:
        hint = (
            "what must not happen is `unless=` of what must: count(event=lesson.completed, >= 10, unless=quiz.failed)"
        )
        return Suggestion(hint, span, "")
    meant = _MEANT.get(name)
    return None if meant is None else Suggestion(f"did you mean `{meant}`?", span, "")


def _once(call: Call) -> Suggestion | None:
    """`first(event=E)` is a count of one."""
    written = [each.text for each in call.arguments if not re.fullmatch(r"(>=|=|==)?\s*1", each.text)]
    if re.fullmatch(r"[a-z]\w*(\.\w+)*( where .*)?", written[0] if written else ""):
        written[0] = f"event={written[0]}"
    if not written or not written[0].startswith("event"):
        return None
    if call.name == "has" and re.fullmatch(r"event=[a-z]\w*", written[0]):
        name = written[0].removeprefix("event=")
        hint = f"write unlocked({name}) for an achievement, or count({written[0]}, >= 1) for an event"
        return Suggestion(hint, call.span, "")
    text = f"count({', '.join([*written, '>= 1'])})"
    return Suggestion(f"an event that happened once is a count of one; write: {text}", call.span, text)


def _distinct(call: Call) -> Suggestion | None:
    """`distinct(event=E, of=F, >= 3)` counts values."""
    written = [re.sub(r"^(?:of|field|by|on|value)\s*=", "distinct=", flat(each.text)) for each in call.arguments]
    bare = [each for each in written if re.fullmatch(r"[a-z]\w*", each)]
    if not any(each.startswith("distinct=") for each in written) and bare:
        written[written.index(bare[-1])] = f"distinct={bare[-1]}"
    if not any(each.startswith("distinct=") for each in written):
        return None
    if written and re.fullmatch(r"[a-z]\w*(\.\w+)+", written[0]):
        written[0] = f"event={written[0]}"
    text = f"count({', '.join(written)})"
    return Suggestion(f"different values are counted by `distinct=`; write: {text}", call.span, text)
