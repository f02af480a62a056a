"""The file that `ach plan --out` writes and `ach apply` takes: which rules, against which epoch, and their effects.

A plan holds all rule files, so that what was looked at is what is applied. Its hash covers the files, the epoch and the
rules of that epoch; what the plan says of effects is for people, and is no part of it.
"""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Raw, Struct

from worker.engine.rule_set import RuleFile, rules_hash, sources_of
from worker.rulefiles import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FORMAT: Final = 2
MOST_BYTES: Final = 256 * 1024 * 1024
"""A larger file is no plan."""
_HEAD_BYTES: Final = 64
_NOTHING: Final = Raw(b"{}")


class PlanFileError(ValueError):
    """The file is no plan, or not as it was written; the message says why and what to do."""


class PlanFile(Struct, frozen=True):
    """A plan as it is kept in a file."""

    ach_plan: int
    """The format: `FORMAT`."""
    plan: str
    """SHA-256, in hexadecimal, of format, epoch, `against` and rules; a change that comes of the plan names it."""
    epoch: int
    """The epoch that was in force when the plan was made; 0 before the first."""
    rules: str
    """SHA-256, in hexadecimal, of the rule files: what the table `rule_set` has as `hash`."""
    against: str
    """SHA-256, in hexadecimal, of the rule files of that epoch; "" before the first."""
    made_at: str
    """RFC 3339."""
    made_by: str
    files: tuple[RuleFile, ...]
    """Sorted by name."""
    report: Raw = _NOTHING
    """A JSON object: what `ach plan --json` says."""


class _Head(Struct, frozen=True):
    """What plans of all formats have."""

    ach_plan: int


def plan_file(
    files: Iterable[RuleFile],
    *,
    epoch: int,
    against: str,
    made_at: str,
    made_by: str,
    report: bytes = b"{}",
) -> PlanFile:
    """Return a plan of rule files against an epoch, whose rules have the hash `against`; `report` is a JSON object."""
    ordered = tuple(sorted(files, key=lambda file: file.name))
    rules = rules_hash(sources_of(ordered)).hex()
    digest = _plan_hash(epoch, against, rules)
    return PlanFile(FORMAT, digest, epoch, rules, against, made_at, made_by, ordered, Raw(report))


def plan_text(plan: PlanFile) -> bytes:
    """Return a plan as it is written to a file."""
    return msgspec.json.format(msgspec.json.encode(plan), indent=2) + b"\n"


def is_plan_file(path: Path) -> bool:
    """Tell whether a file is read as a plan, and not as rules: by its name, or because it begins as a plan does.

    An empty file with another name than that of rules is what a full disk has left of a plan. What cannot be read is
    none. A pipe is none either: what is read of it here would be missing from the rules.
    """
    with suppress(OSError):
        if path.is_file():
            head = _head(path)
            return head.startswith(b"{") or path.suffix == ".json" or not (head or path.suffix == SUFFIX)
    return False


def names_a_plan(path: Path) -> bool:
    """Tell whether a file that is read as rules begins as a plan does."""
    with suppress(OSError):
        return path.is_file() and _head(path).startswith(b"{") and b'"ach_plan"' in _head(path)
    return False


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES).lstrip()


def read_plan(path: Path) -> PlanFile:
    """Return the plan that a file holds.

    Raises:
        PlanFileError: it holds none, one of another release, or one that was edited.
    """
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= MOST_BYTES else b""
    except OSError as error:
        raise PlanFileError(f"{path} cannot be read: {error.strerror}") from error
    return plan_of(content, str(path))


def plan_of(content: bytes, where: str) -> PlanFile:
    """Return the plan that the content of a file is; `where` names the file in messages.

    Raises:
        PlanFileError: as in `read_plan`.
    """
    try:
        head = msgspec.json.decode(content, type=_Head)
        if head.ach_plan != FORMAT:
            said = f"{where} has format {head.ach_plan}, and this release reads {FORMAT}: make the plan again"
            raise PlanFileError(said)
        plan = msgspec.json.decode(content, type=PlanFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PlanFileError(f"{where} is no plan ({error}): make one with `ach plan RULES --out FILE`") from error
    rules = rules_hash(sources_of(plan.files)).hex()
    if (plan.rules, plan.plan) != (rules, _plan_hash(plan.epoch, plan.against, rules)):
        raise PlanFileError(f"{where} was edited after it was made: change the rules and make the plan again")
    return plan


def _plan_hash(epoch: int, against: str, rules: str) -> str:
    return sha256(f"ach plan {FORMAT} epoch {epoch} against {against} rules {rules}".encode()).hexdigest()
