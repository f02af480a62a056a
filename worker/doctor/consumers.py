"""Checks of the consumer that workers pull from. Pure.

What a worker refuses or doubts is decided in broker/consumer.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import structs

from worker.broker.consumer import Setting, doubts, enough_pending, unfit
from worker.doctor.finding import Check, Verdict, error, ok, warning
from worker.doctor.mends import edit_consumer, remake_consumer
from worker.doctor.subjects import covers

if TYPE_CHECKING:
    from worker.doctor.facts import ConsumerConfig, ConsumerSeen


def _remake(seen: ConsumerSeen) -> str:
    return remake_consumer(seen.settings.input_stream, seen.settings.consumer)


def _edit(seen: ConsumerSeen, *flags: str) -> str:
    return edit_consumer(seen.settings.input_stream, seen.settings.consumer, *flags)


def _fit(seen: ConsumerSeen) -> Verdict:
    if (flaw := unfit(seen.config)) is None:
        return ok("a pull consumer with explicit acknowledgements")
    if seen.config.headers_only and unfit(_with_bodies(seen)) is None:
        return error(flaw, _edit(seen, "--no-headers-only"))
    return error(flaw, _remake(seen))


def _with_bodies(seen: ConsumerSeen) -> ConsumerConfig:
    return structs.replace(seen.config, headers_only=False)


_FLAGS: Final = {
    Setting.MAX_DELIVER: "--max-deliver=-1",
    Setting.MAX_ACK_PENDING: "--max-pending {enough}",
    Setting.MAX_BATCH: "--max-pull-batch {batch}",
    Setting.ACK_WAIT: "--wait {wait}s",
}
"""What `nats consumer edit` can change; for the rest a worker has to make another consumer."""


def _doubted(*names: Setting) -> Check[ConsumerSeen]:
    """Return a check of settings that make a worker slow, or let it miss events."""

    def judge(seen: ConsumerSeen) -> Verdict:
        found = [one for one in doubts(seen.config, seen.settings) if one.setting in names]
        if not found:
            return ok("as a worker makes it")
        return warning("; ".join(one.said for one in found), _mend(seen, {one.setting for one in found}))

    return Check(names[0].value, judge)


def _mend(seen: ConsumerSeen, settings: set[Setting]) -> str:
    if not settings <= _FLAGS.keys() or (Setting.ACK_WAIT in settings and seen.config.backoff):
        return _remake(seen)
    batch, wait = seen.settings.batch_size, seen.settings.ack_wait
    enough = enough_pending(seen.settings)
    return _edit(seen, *(_FLAGS[one].format(enough=enough, batch=batch, wait=wait) for one in sorted(settings)))


def _paused(seen: ConsumerSeen) -> Verdict:
    if not seen.info.paused:
        return ok("it delivers")
    name = f"{seen.settings.input_stream} {seen.settings.consumer}"
    return warning("it is paused: no event reaches a worker", f"nats consumer resume {name} --force")


def _inactive(seen: ConsumerSeen) -> Verdict:
    seconds = seen.config.inactive_threshold / 1_000_000_000
    if seconds <= 0:
        return ok("it stays without workers")
    said = f"inactive_threshold is {seconds:g} s: after so long without a worker it goes, and with it what was read"
    return warning(said, _remake(seen))


def _memory(seen: ConsumerSeen) -> Verdict:
    if not seen.config.mem_storage:
        return ok("on disk")
    said = "mem_storage: after a restart of nats-server all events of the stream are delivered again"
    return warning(said, _remake(seen))


def _replicas(seen: ConsumerSeen) -> Verdict:
    ours, stream = seen.config.num_replicas, seen.stream
    if not ours or stream is None or ours >= stream.num_replicas:
        return ok("as many as the stream has")
    said = f"replicas are {ours}, and {stream.num_replicas} of the stream: it stops with one server"
    return warning(said, _edit(seen, f"--replicas {stream.num_replicas}"))


def _filter(seen: ConsumerSeen) -> Verdict:
    config, wanted = seen.config, f"{seen.settings.input_prefix}.>"
    filters = [one for one in (config.filter_subject, *config.filter_subjects) if one]
    if not filters or any(covers(one, wanted) for one in filters):
        return ok(f"all of {wanted}")
    return ok(f"{', '.join(filters)} alone; another consumer has to read the rest of {wanted}")


CONSUMER_CHECKS: Final[tuple[Check[ConsumerSeen], ...]] = (
    Check("use", _fit),
    Check("filter", _filter),
    _doubted(Setting.DELIVER_POLICY),
    _doubted(Setting.REPLAY_POLICY),
    _doubted(Setting.MAX_DELIVER),
    _doubted(Setting.ACK_WAIT),
    _doubted(Setting.MAX_ACK_PENDING, Setting.MAX_BATCH, Setting.MAX_WAITING),
    Check("paused", _paused),
    Check("inactive threshold", _inactive),
    Check("storage", _memory),
    Check("replicas", _replicas),
)
