"""Bounds: the comparison of a total or a value, and the progress towards it."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Final

from dsl.nodes.node import Measure, measure, whole

if TYPE_CHECKING:
    from dsl.progress import Amount

LEAST: Final = Fraction(1, 10**38)
"""The smallest decimal above 0 that an event may carry."""


class Bound:
    """`>= n` or `> n`, `<= n` or `< n`; `target` is the target of progress."""

    def __init__(self, op: str, bound: Amount, *, integral: bool) -> None:
        self.op = op
        self.bound = bound
        self.integral = integral
        self.target: Amount = int(bound) + 1 if op == ">" and integral else bound

    def reached(self, total: Amount) -> bool:
        """Return whether `total` satisfies the bound."""
        if self.op == ">=":
            return total >= self.bound
        if self.op == ">":
            return total > self.bound
        return total <= self.bound if self.op == "<=" else total < self.bound

    def measure(self, total: Amount) -> Measure:
        """Return how far a total is: full where it satisfies the bound, and nowhere else."""
        if self.reached(total):
            return whole(self.target)
        found = measure(total, self.target)
        # On a bound that it must exceed: the least decimal that is more would do.
        return found if found.fraction < 1 else found._replace(fraction=1 / (1 + LEAST / Fraction(self.target)))
