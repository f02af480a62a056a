"""The worker's counts, and how they look to Prometheus.

Every label has a closed set of values, or a bounded one: tenants (engine/tenants.py), achievements, scopes and event
types of the rules in force. Counters with a label of a closed set begin at 0, so that the first increase is seen.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Final, NamedTuple

from worker.contract.reasons import Reason
from worker.distribution import release
from worker.engine.long_way import LongWay
from worker.engine.reconcile import Kind
from worker.engine.silence import HOUR
from worker.engine.tenants import OTHER
from worker.probes.families import Family, HistogramFamily, by_name, renderer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from worker.engine.observed import Observed
    from worker.engine.rule_set import Deployed
    from worker.engine.stats import Stats
    from worker.probes.families import Scrape

_SECOND: Final = 1_000_000
_NONE: Final[tuple[str, ...]] = ()


class Connections(NamedTuple):
    """Of a worker: those made to the broker and their errors by kind, and those that it has to the database now."""

    made: int = 0
    errors: Mapping[str, int] = {}
    kinds: Iterable[str] = ()
    """Of errors."""
    database: int = 0


class Live(NamedTuple):
    """What is asked when a scrape comes; `now` is in microseconds."""

    now: Callable[[], int] = lambda: 0
    rules: Callable[[], Deployed | None] = lambda: None
    connections: Callable[[], Connections] = Connections


class Metrics:
    """The metrics of one worker. `gauges` has a function for each pair of a name (with its unit) and a help text."""

    def __init__(
        self, stats: Stats, gauges: Mapping[tuple[str, str], Callable[[], float]], live: Live | None = None
    ) -> None:
        self._stats = stats
        self._gauges = gauges
        self._live = live or Live()
        self._build = _build()
        self._render = renderer(self._families)

    def render(self, accept: str = "") -> Scrape:
        """Return all metrics, in the format that a scrape accepts."""
        return self._render(accept)

    def _families(self) -> Iterator[Family | HistogramFamily]:
        yield from _counted(self._stats, self._live.connections())
        yield from _timed(self._stats)
        yield from _of_tenants(self._stats)
        yield from _of_rules(self._stats, self._live.rules())
        yield from _waiting(self._stats.observed, self._live.now())
        for (name, text), read in self._gauges.items():
            yield _gauge(name, text, read())
        yield self._build


def _build() -> Family:
    labels = {"version": release(), "python": platform.python_version(), "system": platform.system().lower()}
    values = {tuple(labels.values()): 1.0}
    return Family("gauge", "ach_build_info", "What this worker is, with the value 1.", tuple(labels), values)


def _counted(stats: Stats, made: Connections) -> Iterator[Family]:
    for name, text, value in (
        ("ach_messages", "Messages that were committed.", stats.messages),
        ("ach_events", "Events that the ledger did not have before.", stats.events),
        ("ach_duplicates", "Events that the ledger had already.", stats.duplicates),
        ("ach_late_events", "Events that arrived after a later event of their user.", stats.late),
        ("ach_erased_events", "Events of erased users, which were left out.", stats.erased),
        ("ach_batches", "Batches that were committed.", stats.batches),
        ("ach_refolds", "Subjects whose state was folded again from the ledger.", stats.refolded),
        ("ach_retries", "Attempts at a batch that failed for a temporary reason.", stats.retries),
        ("ach_announcements", "Unlocks that were announced.", stats.announced),
        ("ach_corrections", "Corrections of unlocks that were announced.", stats.corrected),
        ("ach_repeated_announcements", "Announcements that the broker had already.", stats.repeated),
        ("ach_refused_announcements", "Announcements that the broker refused.", stats.refused),
        ("ach_nats_connections", "Connections made to the broker.", made.made),
    ):
        yield Family("counter", name, text, (), {_NONE: float(value)})
    for name, text, label, names, counts in (
        ("ach_dead_letters", "Dead letters by reason.", "reason", Reason, stats.dead),
        ("ach_decisions", "Decisions about unlocks by kind.", "decision", Kind, stats.decisions),
        ("ach_long_way", "Users and batches that took the long way by reason.", "reason", LongWay, stats.long_ways),
        (
            "ach_nats_errors",
            "Errors of connections to the broker by kind.",
            "kind",
            made.kinds,
            made.errors,
        ),
    ):
        yield Family("counter", name, text, (label,), by_name(names, counts))
    name = "ach_postgresql_connections"
    yield _gauge(name, "Connections to the database that are open at present.", made.database)


def _timed(stats: Stats) -> Iterator[HistogramFamily]:
    for name, text, histogram in (
        ("ach_unlock_latency_seconds", "Time from an event to the announcement of its unlock.", stats.unlock_seconds),
        ("ach_batch_commit_seconds", "Duration of the transaction of a batch.", stats.commit_seconds),
        ("ach_rule_evaluation_seconds", "Duration of evaluating the rules for a batch.", stats.evaluation_seconds),
        ("ach_batch_events", "Events that a batch added to the ledger.", stats.batch_events),
    ):
        yield HistogramFamily(name, text, (), {_NONE: histogram})


def _of_tenants(stats: Stats) -> Iterator[Family]:
    counts = stats.minutes.tenants.counts()
    for name, text, field in (
        ("ach_tenant_events", "New events of the tenants that send most.", "events"),
        ("ach_tenant_duplicates", "Events of these tenants that the ledger had already.", "duplicates"),
        ("ach_tenant_dead_letters", "Dead letters on the subjects of these tenants.", "dead"),
        ("ach_tenant_unlocks", "Announced unlocks of these tenants.", "unlocks"),
    ):
        values = {(tenant,): float(getattr(one, field)) for tenant, one in counts.items()}
        yield Family("counter", name, text, ("tenant",), values)


def _of_rules(stats: Stats, rules: Deployed | None) -> Iterator[Family]:
    heard: list[str] = [] if rules is None else sorted(rules.heard)
    text = "Events that arrived by type, for types that a rule reads."
    yield Family("counter", "ach_type_events", text, ("type",), by_name([*heard, OTHER], stats.types))
    yield _gauge("ach_rules_epoch", "Number of the rule set in force.", 0 if rules is None else rules.epoch)
    observed = stats.observed
    known = observed.grants.grants
    latest = {(name,): one.latest / _SECOND for name, one in known.items()}
    name, text = "ach_achievement_granted_timestamp_seconds", "When an achievement was last granted, to any subject."
    yield Family("gauge", name, text, ("achievement",), latest)
    usual = {(name,): one.quiet_hours * HOUR / _SECOND for name, one in known.items() if one.quiet_hours}
    name, text = "ach_achievement_usual_gap_seconds", "Time that an achievement has been without a grant at most."
    yield Family("gauge", name, text, ("achievement",), usual if observed.whole else {})


def _waiting(observed: Observed, now: int) -> Iterator[Family]:
    """Yield what the servers said; nothing is shown of what they do not say."""

    def age(at: int | None) -> float:
        return 0.0 if at is None else max(0, now - at) / _SECOND

    backlog, outbox = observed.backlog, observed.outbox
    building = observed.building or {}
    waits = outbox and age(outbox.oldest_at)
    for name, text, value in (
        ("ach_pending_messages", "Messages that the broker has not delivered yet.", backlog and backlog.pending),
        ("ach_unacknowledged_messages", "Messages that were delivered and not acknowledged.", backlog and backlog[1]),
        ("ach_pending_oldest_seconds", "Age of the oldest message that is not acknowledged.", _oldest(observed, age)),
        ("ach_outbox_unlocks", "Granted unlocks that are not announced.", outbox and outbox.unlocks),
        ("ach_outbox_corrections", "Corrections that are not announced.", outbox and outbox.corrections),
        ("ach_outbox_oldest_seconds", "Age of what has waited longest to be announced.", waits),
    ):
        yield Family("gauge", name, text, (), {} if value is None else {_NONE: float(value)})
    running = {scope: age(one.since) for scope, one in building.items()}
    lasted = {scope: spent / _SECOND for scope, spent in observed.built.items()}
    for name, text, values in (
        ("ach_backfill_running_seconds", "Time since a backfill began.", running),
        ("ach_backfill_duration_seconds", "Duration of the last backfill.", lasted),
    ):
        yield Family("gauge", name, text, ("scope",), by_name((), values))
    states = {
        (scope, state): float(number)
        for scope, one in building.items()
        for state, number in (("current", one.current), ("stale", one.stale))
    }
    name, text = "ach_backfill_subjects", "Stored states of subjects while a backfill runs."
    yield Family("gauge", name, text, ("scope", "state"), states)
    text = "Dead letters that were neither sent again nor deleted."
    yield Family("gauge", "ach_dead_letters_waiting", text, ("reason",), by_name((), observed.letters or {}))
    text = "Workers of the last day by state."
    yield Family("gauge", "ach_workers", text, ("state",), by_name((), observed.workers or {}))


def _oldest(observed: Observed, age: Callable[[int | None], float]) -> float | None:
    """Return the age of the oldest message; None where messages wait, and it is not known since when."""
    backlog = observed.backlog
    if backlog is None or (backlog.oldest_at is None and backlog.pending):
        return None
    return age(backlog.oldest_at)


def _gauge(name: str, text: str, value: float) -> Family:
    return Family("gauge", name, text, (), {_NONE: float(value)})
