"""Contestable without `settle`: achievements that are announced at once, though late evidence may take them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl.analyze import Kind, names, verdicts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.advice.rulebook import Rulebook
    from dsl.analyze import Reason, Verdict
    from dsl.check.problems import Problems
    from dsl.syntax import Achievement


def advise_on_settling(book: Rulebook, problems: Problems) -> None:
    """Report each achievement once: at its latest version that is contestable without `settle`."""
    found = verdicts(book.rules)
    for name, versions in book.rules.achievements.items():
        for version in reversed(versions):
            reason = _reason(book, found, version)
            if reason is not None:
                message = f"late evidence may take `{name}` back: {reason.text}"
                hint = "`settle 1h` delays the grant; # ach: allow ACH505 accepts the risk"
                problems.of(book.source(version)).warn("ACH505", reason.span, message, hint)
                break


def _reason(book: Rulebook, found: dict[tuple[str, int], Verdict], version: Achievement) -> Reason | None:
    """Return the reason to report. A reason of another achievement is reported there, unless that has `settle`."""
    if version.settle is not None:
        return None
    reasons = found[version.name.text, version.version].reasons
    own = next((reason for reason in reasons if reason.kind is not Kind.NAMED), None)
    if own is not None or not reasons:
        return own
    waiting = {span for other, span in names(version) if _waits(found, book.rules.achievements[other])}
    return next((reason for reason in reasons if reason.span in waiting), None)


def _waits(found: dict[tuple[str, int], Verdict], versions: Sequence[Achievement]) -> bool:
    """Return whether an achievement is contestable, and all its contestable versions have `settle`."""
    shaky = [version for version in versions if not found[version.name.text, version.version].final]
    return bool(shaky) and all(version.settle is not None for version in shaky)
