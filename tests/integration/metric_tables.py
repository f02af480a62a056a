"""Tables of metrics in the documents, and what an exposition shows: to be compared."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from prometheus_client import Metric

DOCS: Final = Path(__file__).parents[2] / "docs"
_ROW: Final = re.compile(r"^\| `(ach_\w+)` \| (counter|gauge|histogram) \| ((?:`\w+`(?:, )?)*) ?\|", re.MULTILINE)

Shapes = dict[str, tuple[str, frozenset[str]]]
"""Type and labels of metrics, by the name that a user sees."""


def written(page: str) -> Shapes:
    """Return what the tables of a page say."""
    rows = _ROW.findall((DOCS / page).read_text("utf-8"))
    return {name: (kind, frozenset(re.findall(r"\w+", labels))) for name, kind, labels in rows}


def shown_name(family: Metric) -> str:
    """Return the name as users see it: the parser takes the suffix of counters off."""
    return f"{family.name}_total" if family.type == "counter" else family.name


def shown(text: str) -> Shapes:
    """Return what an exposition shows; of a metric without a sample, the labels are unknown and left out."""
    found: Shapes = {}
    for family in text_string_to_metric_families(text):
        name = shown_name(family)
        labels = {label for sample in family.samples for label in sample.labels if label != "le"}
        found[name] = (family.type, frozenset(labels))
    return found


def samples(text: str) -> int:
    """Return the number of samples in an exposition."""
    return sum(len(family.samples) for family in text_string_to_metric_families(text))
