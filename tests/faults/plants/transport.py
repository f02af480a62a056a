"""Planted bugs: the region and the broker's time of an event, which mean nothing and have to be right."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

REGION: Final = "integration/test_region.py"
TRANSPORT: Final = "worker/contract/test_transport.py"
MINUTES: Final = "worker/engine/test_minutes.py"

BUGS: Final[tuple[Bug, ...]] = (
    Bug(
        "setting_over_header",
        "the closest to the event names its region",
        at="transport:_each_by_itself",
        old="region if one is None else one",
        new="region or one or NO_REGION",
        tests=(TRANSPORT,),
    ),
    Bug(
        "one_header_for_all",
        "a message does not name the region of another",
        at="transport:_say_the_same",
        old="sum([line in block for block in blocks]) == len(blocks)",
        new="len(blocks)",
        tests=(TRANSPORT,),
    ),
    Bug(
        "attributes_of_arrays_ignored",
        "the closest to the event names its region",
        at="PlainReader._read",
        old="if named.count(UNSAID) < len(named):",
        new="if named.count(UNSAID) < 0:",
        tests=(TRANSPORT,),
    ),
    Bug(
        "regions_of_any_length",
        "a region is bounded and safe as a label",
        at="transport:_REGION",
        old='rf"[A-Za-z0-9._-]{{1,{MAX_REGION_BYTES}}}"',
        new='r"[A-Za-z0-9._-]+"',
        tests=(TRANSPORT,),
    ),
    Bug(
        "bad_region_replaced_by_the_setting",
        "a bad region is stored as none",
        at="transport:_checked",
        old="return text if is_region(text) else NO_REGION",
        new="return text if is_region(text) else None",
        tests=(TRANSPORT,),
    ),
    Bug(
        "time_of_the_worker_for_the_brokers",
        "the time of publication is the broker's",
        at="sql:insert_new_events",
        old="to_timestamp((f[11]::bigint / 1000)::float8 / 1000000)",
        new=":now::timestamptz",
        tests=(f"{REGION}::test_both_ways_store_them",),
    ),
    Bug(
        "row_made_again_without_its_end",
        "values of any content move neither region nor time",
        at="event_rows:_row",
        old="end_of(item.row)",
        new='f"{item.message.seq}\\x1f\\x1f"',
        tests=(f"{REGION}::test_marks_of_rows_within_values_move_neither",),
    ),
    Bug(
        "region_lost_when_sent_again",
        "a dead letter that is sent again says what it said",
        at="dead_letters:_headers_again",
        old="if named else headers",
        new="if not named else headers",
        tests=(f"{REGION}::test_a_dead_letter_that_is_sent_again_keeps_its_region",),
    ),
    Bug(
        "regions_of_a_batch_as_one",
        "events are counted by their own regions",
        at="minutes:_sizes",
        old="if len(arrivals.regions) <= 1:",
        new="if arrivals.regions:",
        tests=(MINUTES,),
    ),
    Bug(
        "regions_without_bound",
        "a producer that names many regions fills no table",
        at="minutes:_admitted",
        old="if len(known) > most:",
        new="if len(known) > 1000 * most:",
        tests=(MINUTES,),
    ),
    Bug(
        "pairs_without_bound",
        "many tenants in many regions fill no table",
        at="_Apart.admit",
        old="if len(self._pairs) < MOST_PAIRS",
        new="if self._pairs is not None",
        tests=(MINUTES,),
    ),
    Bug(
        "latency_without_region",
        "the latency of an unlock is that of its event's region",
        at="Stats._time_grants_of",
        old="region_of(group.rows[at])",
        new='""',
        tests=(f"{REGION}::test_what_is_counted_is_counted_by_region",),
    ),
)
