"""Planted bugs: what pictures of rules and of explanations promise."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

GRAPHS: Final = "worker/catalogue/test_graphs.py"
HTML: Final = "worker/commands/test_explain_html.py"
LAYERS: Final = "worker/report/test_layers.py"

BUGS: Final = (
    Bug(
        "drawn_text_is_obeyed",
        "no character of a received text turns the direction of a page, or breaks its XML",
        at="worker.report.svg:_clean",
        old="visible(text).translate(_NO_XML)",
        new="text",
        tests=(
            f"{HTML}::test_nothing_received_gets_out_of_its_place",
            f"{GRAPHS}::test_a_hostile_label_stays_a_label",
        ),
    ),
    Bug(
        "page_may_load",
        "the page of an explanation loads nothing, whatever stands on it",
        at="worker.report.explain_page:POLICY",
        old="\"default-src 'none'; style-src 'unsafe-inline'\"",
        new="\"default-src *; style-src 'unsafe-inline'\"",
        tests=(f"{HTML}::test_nothing_received_gets_out_of_its_place",),
    ),
    Bug(
        "page_without_bound",
        "a page shows a bounded number of events",
        at="worker.report.timeline_svg:shown",
        old="if len(story.events) <= MOST",
        new="if story.events",
        tests=(f"{HTML}::test_a_page_is_bounded",),
    ),
    Bug(
        "dots_at_the_bound",
        "a dot stands as high as the progress with its event",
        at="worker.report.timeline_svg:_height",
        old="min(Fraction(progress.fraction), Fraction(1))",
        new="max(Fraction(progress.fraction), Fraction(1))",
        tests=(f"{HTML}::test_what_it_shows",),
    ),
    Bug(
        "unbounded_lanes",
        "a dense graph is drawn in bounded time and room",
        at="_Grid._way",
        old="if len(self.depth) - len(self.widths) + len(passed) > MOST_LANES:",
        new="if not passed:",
        tests=(f"{LAYERS}::test_the_work_is_bounded",),
    ),
    Bug(
        "boxes_overlap",
        "no two boxes of a graph overlap",
        at="_Grid._stack",
        old="(down[node] - up[node] - self._height(node)) // 2",
        new="wanted[node]",
        tests=(f"{LAYERS}::test_boxes_never_overlap_and_stay_inside",),
    ),
    Bug(
        "small_bar_not_seen",
        "every bucket with a value has a bar",
        at="worker.report.bars:histogram",
        old="-(-counts[at] * LONGEST // most)",
        new="(counts[at] * LONGEST // most)",
        tests=("worker/report/test_bars.py::test_the_smallest_number_is_seen",),
    ),
)
