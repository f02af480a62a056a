"""Rules of `just bench change`: fifty in force, and what comes on top of them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_BENCH: Final = Path(__file__).with_name("rules.ach").read_text(encoding="utf-8")
DECLARED: Final = """
event lesson.completed { lesson_id: string, amount: int >= 0 }
event tutorial.finished {}
event project.created {}
event quiz.passed { score: int >= 0, topic: string }
event comment.posted {}
"""
FIVE: Final = _BENCH[_BENCH.index("achievement") :]
"""The five rules of the benchmark, without what they declare."""
FAR: Final = "tier high { when count(event=quiz.passed, >= 1000) }"
"""A tier that no user reaches."""
NEAR: Final = "tier middle { when count(event=quiz.passed, >= 18) }"
"""A tier that some eight in a hundred reach."""
ALL_TYPES: Final = """
achievement everything {
  title "Everything"
  when  count(event=[lesson.completed, tutorial.finished, project.created, quiz.passed, comment.posted], >= 10)
}
"""
RARE: Final = """
achievement rare {
  title "Rare"
  when  count(event=[lesson.completed, tutorial.finished, project.created, quiz.passed], >= 3000)
}
"""
"""A new aggregate with a bound that some ten users reach."""
EACH: Final = 10
"""Of each kind."""


def in_force(tiers: str = "") -> str:
    """Return the rules in force, fifty and a ladder; `tiers` are more tiers of that."""
    made = [DECLARED]
    for n in range(EACH):
        kinds = {
            "quizzes": f"count(event=quiz.passed, >= {4 * (n + 1)})",
            "score": f"sum(event=quiz.passed, of=score, >= {250 * (n + 1)})",
            "topics": f"count(event=quiz.passed, distinct=topic, >= {6 + 2 * n})",
            "talk": f"count(event=comment.posted, >= {3 + n}, within=7d)",
            "long": f"streak(event=lesson.completed where amount >= 30, per=day, >= {3 + n})",
        }
        made += [f'achievement {name}_{n} {{ title "{name} {n}" when {when} }}' for name, when in kinds.items()]
    ladder = f"tier low {{ when count(event=quiz.passed, >= 4) }} {tiers}"
    return "\n".join([*made, f'achievement ladder {{ title "Ladder" {ladder} }}\n'])
