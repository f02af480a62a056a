"""What can be proven about rules without any event: which filters let something pass, and what implies what.

Everything here is a proof, not a guess: what is reported as impossible is impossible, and what is reported to follow
follows. Where a question is too large, or the language has no answer, the answer is "not proven".
"""

from dsl.prove.conditions import Conditions
from dsl.prove.patterns import Patterns
from dsl.prove.predicates import Search

__all__ = ["Conditions", "Patterns", "Search"]
