from __future__ import annotations

from worker.engine.tenants import LONGEST_LABEL, OTHER, RANK_SECONDS, SKETCHED, SWAPS, Tenants, label_of

MINUTE = RANK_SECONDS * 1_000_000


def send(tenants: Tenants, sizes: dict[str, int], now: int) -> None:
    tenants.see(sizes, now)
    for name, number in sizes.items():
        tenants.of(name).events += number


def events(tenants: Tenants) -> dict[str, int]:
    return {label: one.events for label, one in tenants.counts().items()}


def test_the_first_tenants_are_counted_apart_and_the_rest_together() -> None:
    tenants = Tenants(2)
    send(tenants, {"a": 3, "b": 2, "c": 1}, 0)
    assert events(tenants) == {"a": 3, "b": 2, OTHER: 1}


def test_a_tenant_that_sends_much_takes_the_place_of_another_and_no_counter_falls() -> None:
    tenants = Tenants(2)
    send(tenants, {"a": 30, "b": 20, "c": 10}, 0)
    before = events(tenants)
    for minute in range(1, 5):
        send(tenants, {"a": 30, "b": 1, "c": 5000}, minute * MINUTE)
        after = events(tenants)
        assert all(after[label] >= number for label, number in before.items() if label in after)
        assert after[OTHER] >= before[OTHER]
        before = after
    assert before.keys() == {"a", "c", OTHER}
    rest = before[OTHER]
    send(tenants, {"b": 7}, 9 * MINUTE)
    assert events(tenants)[OTHER] == rest + 7


def test_a_little_more_changes_nothing() -> None:
    tenants = Tenants(1)
    for minute in range(20):
        send(tenants, {"a": 100, "b": 150 if minute else 50}, minute * MINUTE)
    assert events(tenants).keys() == {"a", OTHER}


def test_a_flood_of_names_is_bounded_and_does_not_hide_the_one_that_sends_most() -> None:
    tenants = Tenants(5)
    seen: set[str] = set()
    for minute in range(60):
        send(tenants, {f"n{minute}-{n}": 3 for n in range(3 * SKETCHED)} | {"loud": 900}, minute * MINUTE)
        seen.update(events(tenants))
    assert "loud" in events(tenants)
    assert len(events(tenants)) == 6
    assert len(seen) <= 6 + SWAPS + 60 // 15 + 1


def test_a_new_loud_name_each_minute_is_seldom_shown() -> None:
    tenants = Tenants(5)
    seen: set[str] = set()
    for minute in range(60):
        send(tenants, {f"loud{minute}-{n}": 2000 + minute for n in range(3)}, minute * MINUTE)
        seen.update(events(tenants))
    assert len(seen) <= 6 + SWAPS + 60 // 15 + 1


def test_names_are_harmless_labels_and_unlike_each_other() -> None:
    hostile = ["other", "a\nb", 'a"b', "x" * 600, "x" * 601, "\ud800", "a\x00", label_of("other"), "é"]
    labels = [label_of(name) for name in hostile]
    assert len(set(labels)) == len(hostile)
    assert all(len(label) <= LONGEST_LABEL and label.isprintable() and label != OTHER for label in labels)
    assert label_of("acme/x é") == "acme/x é"


def test_with_none_apart_no_tenant_is_named() -> None:
    tenants = Tenants(0)
    send(tenants, {"a": 3}, 0)
    assert events(tenants) == {OTHER: 3}
