"""What belongs to the meaning of a version, and what does not: rules before, rules after, and the reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from dsl.compile import compile_rules
from worker.engine.meaning import SCHEME, Recorded, change_of, meanings_of, recalled, recorded
from worker.engine.rule_set import RuleFile, read_rules

if TYPE_CHECKING:
    from dsl.schema import Rules

A = "event a.done { n: int >= 0, s: string, spare: int, team: string once per s within 10m }\n"
B = "event b.done { m: int, t: bool? }\n"
TRAITS = "traits from user.updated { plan: string, level: int, timezone: string }\n"
DECLARED = A + B + TRAITS


def one(says: str, name: str = "x") -> str:
    return f'achievement {name} {{ title "T" {says} }}\n'


COUNT = one("when count(event=a.done, >= 3)")
SUM = one("when sum(event=a.done, of=n, >= 8)")
B_COUNT = one("when count(event=b.done, >= 3)")


def rules_of(text: str) -> Rules:
    return read_rules([RuleFile("rules.ach", text)]).rules


def changed(before: str, after: str, key: tuple[str, int] = ("x", 1)) -> tuple[str, ...] | None:
    """Return the reasons for which a version means something else, None where it does not."""
    one = change_of(*key, meanings_of(rules_of(before))[key], meanings_of(rules_of(after))[key])
    return None if one is None else one.reasons


BOUND = (A, A.replace(">= 0", ">= 5"), "event a.done: n was `int >= 0`, is `int >= 5`")
LOOSER = (A, A.replace(" >= 0", ""), "event a.done: n was `int >= 0`, is `int`")
DECIMAL = (A, A.replace("int >= 0", "decimal >= 0"), "event a.done: n was `int >= 0`, is `decimal >= 0`")
OPTIONAL = (A, A.replace("n: int", "n: int?"), None)
SPARE = (A, A.replace("spare: int", "spare: decimal >= 1"), None)
MORE = (A, A.replace("spare: int", "spare: int, more: string?"), None)
AGAIN = (A, A.replace(">= 0", ">= 0.0"), None)
WITHIN = (A, A.replace("10m", "1h"), "event a.done: once per was `s within 10m`, is `s within 1h`")
NO_ONCE = (A, A.replace("once per s within 10m", ""), "event a.done: once per was `s within 10m`, is `none`")
OTHER_ONCE = (
    A,
    A.replace("once per s", "once per s, n"),
    "event a.done: once per was `s within 10m`, is `n, s within 10m`",
)
COPIES = (A, A.replace("s: string", "s: int"), "event a.done: s was `string`, is `int`")
FOREIGN = (B, B.replace("m: int", "m: int >= 1"), None)
TEAM = (A, A.replace("team: string", "team: int"), "event a.done: team was `string`, is `int`")
NO_FIELD = (B, B.replace("t: bool?", "team: string?"), "event b.done: team was `not declared`, is `string`")
FILTER = (B, B.replace("m: int", "m: int >= 1"), "event b.done: m was `int`, is `int >= 1`")
PLAN = (TRAITS, TRAITS.replace("plan: string", "plan: int"), None)
LEVEL = (TRAITS, TRAITS.replace("level: int", "level: int >= 2"), "event user.updated: level was `int`, is `int >= 2`")
ALSO = (
    TRAITS,
    TRAITS + "traits from c.done { level: int }\n",
    "trait level: from was `user.updated`, is `c.done, user.updated`",
)
ZONE = (
    TRAITS,
    TRAITS + "traits from c.done { timezone: string }\n",
    "trait timezone: from was `user.updated`, is `c.done, user.updated`",
)
TELLER = (
    TRAITS,
    TRAITS + "traits from c.done { other: int }\n",
    "traits: from was `user.updated`, is `c.done, user.updated`",
)
NEWS = (
    B,
    B + "event z.done {}\n",
    "events: declared was `a.done, b.done, user.updated`, is `a.done, b.done, user.updated, z.done`",
)
STRANGE = (
    TRAITS.replace("plan: string", "plan: string"),
    "event user.updated { plan: string once per plan }\n" + TRAITS,
    "event user.updated: once per was `none`, is `plan`",
)

CASES = {
    # -- a field that is read, by its type and bound --
    "sum, bound": (SUM, BOUND),
    "sum, looser": (SUM, LOOSER),
    "sum, type": (SUM, DECIMAL),
    "sum, may be left out": (SUM, OPTIONAL),
    "sum, the same bound": (SUM, AGAIN),
    "max": (one("when max(event=a.done, of=n, >= 8)"), BOUND),
    "distinct": (one("when count(event=a.done, distinct=n, >= 3)"), BOUND),
    "by": (one("when sequence([a.done, a.done], by=n)"), BOUND),
    "filter": (one("when count(event=a.done where n >= 7, >= 3)"), BOUND),
    "filter of one of many": (one('when count(event=[a.done where not (n >= 7 or s = "x"), b.done], >= 3)'), BOUND),
    "filter of all": (one('when count(event=[a.done, a.done] where n >= 7 and s = "x", >= 3)'), BOUND),
    "is present": (one("when count(event=a.done where n is present, >= 3)"), BOUND),
    "step": (one("when sequence([b.done where m >= 2, a.done])"), FILTER),
    "streak": (one("when streak(event=b.done where m >= 2, per=day, >= 3)"), FILTER),
    "unless": (one("when count(event=a.done, >= 3, unless=b.done where m >= 2)"), FILTER),
    "part": (one("when all(count(event=a.done, >= 3), count(event=b.done where m >= 2, >= 1))"), FILTER),
    "tier": (
        one("tier low { when count(event=a.done, >= 3) } tier high { when sum(event=b.done, of=m, >= 9) }"),
        FILTER,
    ),
    # -- a field that is not --
    "count, bound": (COUNT, (*BOUND[:2], None)),
    "count, type": (COUNT, (*DECIMAL[:2], None)),
    "spare": (SUM, SPARE),
    "one more": (SUM, MORE),
    "another event": (SUM, FOREIGN),
    "another event's once": (B_COUNT, (*WITHIN[:2], None)),
    # -- once per, whatever is read --
    "within": (COUNT, WITHIN),
    "no copies": (COUNT, NO_ONCE),
    "other copies": (COUNT, OTHER_ONCE),
    "copies by a field": (COUNT, COPIES),
    # -- the scope --
    "team": (one("scope team when count(event=a.done, >= 3)"), TEAM),
    "no team": (one("scope team when count(event=[a.done, b.done], >= 3)"), NO_FIELD),
    "no team in an unless": (one("scope team when count(event=a.done, >= 3, unless=b.done)"), NO_FIELD),
    "user": (COUNT, (*TEAM[:2], None)),
    "tenant": (one("scope tenant when count(event=a.done, >= 3)"), (*TEAM[:2], None)),
    # -- traits --
    "for": (one("for level >= 2 when count(event=b.done, >= 3)"), LEVEL),
    "for, of several": (one('for not (plan = "pro") or level >= 2 when count(event=b.done, >= 3)'), LEVEL),
    "for, from another": (one("for level >= 2 when count(event=b.done, >= 3)"), ALSO),
    "for, another moment": (one("for level >= 2 when count(event=b.done, >= 3)"), TELLER),
    "for, another trait": (one("for level >= 2 when count(event=b.done, >= 3)"), PLAN),
    "for, copies": (one("for level >= 2 when count(event=b.done, >= 3)"), STRANGE),
    "no for": (B_COUNT, (*LEVEL[:2], None)),
    "no for, from another": (B_COUNT, (*TELLER[:2], None)),
    "zone": (one("when streak(event=b.done, per=day, >= 3, tz=user)"), ZONE),
    "zone of a part": (one("when any(count(event=b.done, >= 9), streak(event=b.done, per=day, >= 3, tz=user))"), ZONE),
    "zone of a repeat": (one("repeat every day tz=user when count(event=b.done, >= 3)"), ZONE),
    "zone, another trait": (one("when streak(event=b.done, per=day, >= 3, tz=user)"), (*TELLER[:2], None)),
    "no zone": (one("when streak(event=b.done, per=day, >= 3)"), (*ZONE[:2], None)),
    # -- every event is a moment --
    "zone of the event": (one("when count(event=b.done, >= 3, per=day, tz=event)"), NEWS),
    "no span": (one("when streak(event=b.done, per=day, >= 3, tz=event)"), (*NEWS[:2], None)),
    "unlocked in a part of time": (
        one("repeat each when all(unlocked(y), count(event=b.done, >= 1), within=1d)")
        + one("when count(event=b.done, >= 1)", "y"),
        NEWS,
    ),
    "unlocked": (
        one("when all(unlocked(y), count(event=b.done, >= 1), within=1d)") + one("when count(event=b.done, >= 1)", "y"),
        (*NEWS[:2], None),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_declarations(case: tuple[str, tuple[str, str, str | None]]) -> None:
    achievements, (old, new, reason) = case
    before = DECLARED + achievements
    after = DECLARED.replace(old, new) + achievements
    assert before != after
    found, back = changed(before, after), changed(after, before)
    assert (None if found is None else found[0]) == reason
    assert (back is None) is (found is None)


def test_what_a_plan_reads_is_in_its_fingerprint() -> None:
    """Of every event heard, the whole contract: a state folded by another one is never taken for valid."""
    for achievements, (old, new, reason) in CASES.values():
        one, two = (compile_rules(rules_of(text + achievements)) for text in (DECLARED, DECLARED.replace(old, new)))
        if reason is not None:
            assert one.fingerprint != two.fingerprint, achievements
    for old, new, _ in (OPTIONAL, SPARE, BOUND, WITHIN, NO_ONCE):
        one, two = (compile_rules(rules_of(text + COUNT)) for text in (DECLARED, DECLARED.replace(old, new)))
        assert one.fingerprint != two.fingerprint, new
    one, two = (compile_rules(rules_of(text + COUNT)) for text in (DECLARED, DECLARED.replace(">= 0", ">= 0.0")))
    assert one.fingerprint == two.fingerprint


def test_moments_of_a_for() -> None:
    """A version with a `for` is judged at every event that tells a trait: which of those are copies matters."""
    text = DECLARED + "event c.done { s: string }\ntraits from c.done { other: int }\n"
    x = one("for level >= 2 when count(event=b.done, >= 3)")
    found = changed(text + x, text.replace("c.done { s: string }", "c.done { s: string once per s }") + x)
    assert found == ("event c.done: once per was `none`, is `s`",)


def test_a_teller_that_was_heard_before() -> None:
    """An event that the plan hears anyway tells a trait from now on: its contract says the same as before."""
    x = one("for level >= 2 when count(event=c.done, >= 3)")
    before = TRAITS + "event c.done { level: int? }\n"
    fingerprints = {
        compile_rules(rules_of(text + x)).fingerprint
        for text in (before, before + "traits from c.done { level: int }\n")
    }
    assert len(fingerprints) == 2


# -- achievements that others name ------------------------------------------------------------------------------------

Y = one("when sum(event=a.done, of=n, >= 3)", "y")
Y_2 = 'achievement y version 2 from 2026-05-01T00:00:00Z { title "T" when sum(event=a.done, of=n, >= 9) }\n'
Y_2_LATER = Y_2.replace("05-01", "06-01")
Z = one("after y when count(event=b.done, >= 1)", "z")


@pytest.mark.parametrize(
    "says", ["after y when count(event=b.done, >= 3)", "when all(unlocked(y), count(event=b.done, >= 3))"]
)
def test_what_is_named(says: str) -> None:
    x = one(says)
    for old, new, _ in (BOUND, WITHIN):
        found = changed(DECLARED + Y + x, DECLARED.replace(old, new) + Y + x)
        assert found == ("achievement y version 1, which it names, means something else",)
    assert changed(DECLARED + Y + x, DECLARED.replace(SPARE[0], SPARE[1]) + Y + x) is None
    words = Y.replace('"T"', '"Words"')
    assert changed(DECLARED + Y + x, DECLARED + words + x) is None
    other = Y.replace(">= 3", ">= 4")
    assert changed(DECLARED + Y + x, DECLARED + other + x) is not None


def test_versions_of_what_is_named() -> None:
    x = one("after y when count(event=b.done, >= 3)")
    new = changed(DECLARED + Y + x, DECLARED + Y + Y_2 + x)
    assert new == ("achievement y version 2 is new, and it names that achievement",)
    gone = changed(DECLARED + Y + Y_2 + x, DECLARED + Y_2 + x)
    assert gone == ("achievement y version 1, which it names, is gone",)
    moved = changed(DECLARED + Y + Y_2 + x, DECLARED + Y + Y_2_LATER + x)
    assert moved == ("achievement y version 2, which it names, means something else",)


def test_what_is_named_by_what_is_named() -> None:
    x = one("after z when count(event=b.done, >= 3)")
    found = changed(DECLARED + Y + Z + x, DECLARED.replace(BOUND[0], BOUND[1]) + Y + Z + x)
    assert found == ("achievement z version 1, which it names, means something else",)


def test_a_version_that_follows_ends_the_one_before_and_does_not_change_it() -> None:
    assert changed(DECLARED + Y, DECLARED + Y + Y_2, ("y", 1)) is None
    assert changed(DECLARED + Y + Y_2, DECLARED + Y_2, ("y", 2)) is None


def test_its_own_text() -> None:
    assert changed(DECLARED + COUNT, DECLARED + COUNT.replace(">= 3", ">= 4")) == ("its own text has changed",)
    both = changed(DECLARED + SUM, DECLARED.replace(BOUND[0], BOUND[1]) + SUM.replace(">= 8", ">= 9"))
    assert both == ("its own text has changed",)
    assert changed(DECLARED + Y + Y_2, DECLARED + Y + Y_2_LATER, ("y", 2)) == ("its own text has changed",)


# -- on record --------------------------------------------------------------------------------------------------------


def test_what_is_recorded_is_recalled() -> None:
    for meaning in meanings_of(rules_of(DECLARED + Y + Z + SUM)).values():
        assert recalled(meaning.own, meaning.starts_at, recorded(meaning)) == meaning
        backwards = dict(sorted((meaning.declared or {}).items(), reverse=True))
        assert recorded(meaning) == recorded(meaning._replace(declared=backwards))


def test_what_is_recorded_otherwise_is_not_taken_for_the_same() -> None:
    (meaning,) = meanings_of(rules_of(DECLARED + SUM)).values()
    assert recalled(meaning.own, None, None) is None
    later = msgspec.json.encode(Recorded(SCHEME + 1, dict(meaning.declared or {}))).decode()
    assert recalled(meaning.own, None, later) is None
    # Where nothing is known of it, its own text has to do.
    unknown = meaning._replace(declared=None)
    assert change_of("x", 1, unknown, meaning) is None
