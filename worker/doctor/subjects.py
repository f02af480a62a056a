"""How patterns of NATS subjects relate: `*` is one token, `>` is one or more at the end. Pure."""

from __future__ import annotations


def covers(pattern: str, other: str) -> bool:
    """Return whether each subject that `other` matches is matched by `pattern` too."""
    ours, theirs = pattern.split("."), other.split(".")
    for place, part in enumerate(ours):
        if part == ">":
            return len(theirs) > place
        if place >= len(theirs) or theirs[place] == ">":
            return False
        if part != "*" and part != theirs[place]:
            return False
    return len(ours) == len(theirs)


def overlap(one: str, other: str) -> bool:
    """Return whether some subject is matched by both patterns."""
    ours, theirs = one.split("."), other.split(".")
    for mine, their in zip(ours, theirs, strict=False):
        if ">" in {mine, their}:
            return True
        if "*" not in {mine, their} and mine != their:
            return False
    return len(ours) == len(theirs)
