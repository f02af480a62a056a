"""The analyses: their names, what they say, and the columns of their answers. Pure.

Each is the query of the same name in sql/analytics/; docs/analyze.md defines every figure.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple


class Kind(Enum):
    """What a column holds; all but text are figures."""

    TEXT = "text"
    COUNT = "count"
    PERCENT = "percent"
    SECONDS = "seconds"
    MILLIS = "milliseconds"


class Column(NamedTuple):
    """A column: its name in the query and in JSON, what it holds, and its title in tables."""

    name: str
    kind: Kind
    title: str


class Chart(NamedTuple):
    """One bar a row: labelled by some columns, as long as `value`; an interval from `low` to `high` is drawn over it.

    `axis` is what a length means, and `line` what the interval does. `counts` are columns that say how many the bar is
    about: so many, or so many of so many. `tone` is a column whose values are drawn in two tones.
    """

    labels: tuple[str, ...]
    value: str
    axis: str
    counts: tuple[str, ...] = ()
    line: str = ""
    low: str | None = None
    high: str | None = None
    tone: str | None = None


class Question(NamedTuple):
    """An analysis. `remark` is what a reader of the answer alone has to know; `empty` says why it has no rows."""

    name: str
    meaning: str
    columns: tuple[Column, ...]
    chart: Chart
    remark: str
    empty: str

    @property
    def query(self) -> str:
        """The name of its query."""
        return self.name.replace("-", "_")


_ACHIEVEMENT: Final = Column("achievement", Kind.TEXT, "achievement")
_TIER: Final = Column("tier", Kind.TEXT, "tier")
_RULE: Final = (_ACHIEVEMENT, _TIER)
_NO_ACHIEVEMENT: Final = "No achievement is in force."


def _share(part: str, whole: str, title: str | None = None) -> tuple[Column, Column, Column]:
    """Return the columns of a share: how many, of how many, and the percent."""
    return (
        Column(part, Kind.COUNT, title or part),
        Column(whole, Kind.COUNT, "of"),
        Column("percent", Kind.PERCENT, "%"),
    )


QUESTIONS: Final = (
    Question(
        "completion",
        "How many subjects have earned each achievement, of all that are known in its scope.",
        (*_RULE, *_share("earned", "eligible")),
        Chart(("achievement", "tier"), "percent", "% of the known subjects", ("earned", "eligible")),
        "Known is who has progress or an unlock. A `for` is not looked at: `segments` has shares by trait.",
        _NO_ACHIEVEMENT,
    ),
    Question(
        "funnel",
        "How far subjects come in each achievement, and who stays between two steps, how long.",
        (
            _ACHIEVEMENT,
            Column("step", Kind.TEXT, "step"),
            *_share("reached", "of_before"),
            Column("stuck", Kind.COUNT, "stuck here"),
            Column("stuck_p50_seconds", Kind.SECONDS, "for (p50)"),
            Column("stuck_p90_seconds", Kind.SECONDS, "for (p90)"),
        ),
        Chart(("achievement", "step"), "percent", "% of the step before", ("reached", "of_before")),
        "Each step is a share of the step before. Subjects are at their furthest step; those before count as reached.",
        _NO_ACHIEVEMENT,
    ),
    Question(
        "time",
        "Time to first value: from the first event of a user to the first unlock.",
        (
            _ACHIEVEMENT,
            Column("unlockers", Kind.COUNT, "unlockers"),
            Column("users", Kind.COUNT, "of"),
            Column("p50_seconds", Kind.SECONDS, "p50"),
            Column("p90_seconds", Kind.SECONDS, "p90"),
        ),
        Chart(
            ("achievement",), "p50_seconds", "median time (p50)", ("unlockers", "users"), "to p90", high="p90_seconds"
        ),
        "Of unlockers alone: who has none yet is not in p50 and p90. The row without an achievement is of any.",
        "No user has an event yet.",
    ),
    Question(
        "rarity",
        "How rare each achievement is within its tenant, as users see it.",
        (
            Column("tenant_id", Kind.TEXT, "tenant"),
            *_RULE,
            *_share("earned", "subjects"),
        ),
        Chart(
            ("tenant_id", "achievement", "tier"), "percent", "% of the tenant's known subjects", ("earned", "subjects")
        ),
        "0.0 is said of none alone, 100.0 of all alone.",
        "No subject is known yet, or no achievement is in force.",
    ),
    Question(
        "retention",
        "Who comes back after a landmark day: users with an unlock by then, and the others. A correlation.",
        (
            Column("stratum", Kind.TEXT, "stratum"),
            Column("day", Kind.COUNT, "day"),
            Column("cohort", Kind.TEXT, "cohort"),
            *_share("back", "alive"),
            Column("low", Kind.PERCENT, "from"),
            Column("high", Kind.PERCENT, "to"),
        ),
        Chart(
            ("stratum", "day", "cohort"),
            "percent",
            "% back on day n after the landmark",
            ("back", "alive"),
            "Wilson's interval of 95 %",
            "low",
            "high",
            "cohort",
        ),
        "This is a correlation and no effect: busy users unlock more, and come back more. Only users alive at the "
        "landmark count. Compare within a stratum; from-to is Wilson's interval of 95 %.",
        "No user was alive at the landmark whose days after it are over: wait, or choose an earlier --landmark.",
    ),
    Question(
        "near-miss",
        "Who stands close to what is not earned, of all who have not earned it.",
        (
            *_RULE,
            *_share("near", "not_earned"),
            Column("p50_reached", Kind.PERCENT, "reached % (p50)"),
        ),
        Chart(("achievement", "tier"), "percent", "% of those who have not earned it", ("near", "not_earned")),
        "Progress is that of the last row of progress_daily: up to a day older than unlocks are.",
        _NO_ACHIEVEMENT,
    ),
    Question(
        "streaks",
        "How many subjects keep a streak for n days, of those that began it.",
        (
            _ACHIEVEMENT,
            Column("n", Kind.COUNT, "n"),
            *_share("kept", "began"),
        ),
        Chart(("achievement", "n"), "percent", "% of those who began it", ("kept", "began")),
        "By the longest streak that a daily look at progress saw; what began and ended between two looks is not in it.",
        "No achievement that is asked for has a `streak(` that a subject began.",
    ),
    Question(
        "segments",
        "Who earned an achievement while a trait had a value, of all users that ever had it.",
        (
            Column("trait", Kind.TEXT, "trait"),
            Column("value", Kind.TEXT, "value"),
            *_RULE,
            *_share("earned", "users"),
        ),
        Chart(
            ("achievement", "tier", "trait", "value"),
            "percent",
            "% of users that ever had the value",
            ("earned", "users"),
        ),
        "By the value at the time of the unlock, not of today. The 20 most common values of a trait.",
        "No user has a trait: the rules declare none (`traits from`), or no event has brought one.",
    ),
    Question(
        "rules",
        "Which rules are dead, silent or starved of events.",
        (
            *_RULE,
            Column("rule_version", Kind.COUNT, "version"),
            Column("verdict", Kind.TEXT, "verdict"),
            Column("earned", Kind.COUNT, "earned"),
            Column("earned_gap_seconds", Kind.SECONDS, "earned every"),
            Column("since_earned_seconds", Kind.SECONDS, "last earned"),
            Column("events", Kind.COUNT, "events"),
            Column("event_gap_seconds", Kind.SECONDS, "event every"),
            Column("since_event_seconds", Kind.SECONDS, "last event"),
        ),
        Chart(("achievement", "tier", "verdict"), "earned", "subjects that have earned it"),
        "Events of a rule are those whose type occurs in its text. Gaps are the usual ones; `last` is how long ago.",
        _NO_ACHIEVEMENT,
    ),
    Question(
        "latency",
        "From an event to the announcement of what it earned, by region of its producer.",
        (
            Column("region", Kind.TEXT, "region"),
            Column("unlocks", Kind.COUNT, "unlocks"),
            Column("p50_broker_ms", Kind.MILLIS, "from broker p50"),
            Column("p99_broker_ms", Kind.MILLIS, "p99"),
            Column("p50_event_ms", Kind.MILLIS, "from event p50"),
            Column("p99_event_ms", Kind.MILLIS, "p99"),
        ),
        Chart(
            ("region",), "p50_broker_ms", "median from the broker (p50)", ("unlocks",), "to p99", high="p99_broker_ms"
        ),
        "Live grants that are announced. A region has figures from as many unlocks on as others need users.",
        "No live grant has been announced yet.",
    ),
    Question(
        "quality",
        "What is wrong with the events: late ones, clocks ahead, types without a rule, dead letters.",
        (
            Column("finding", Kind.TEXT, "finding"),
            Column("name", Kind.TEXT, "name"),
            *_share("found", "out_of"),
        ),
        Chart(("finding", "name"), "percent", "% of the events or messages that it is about", ("found", "out_of")),
        "Of events and messages, not of users: small numbers are shown. `sent again` is of its reason's dead letters.",
        "There are no events yet.",
    ),
)
BY_NAME: Final = {question.name: question for question in QUESTIONS}
