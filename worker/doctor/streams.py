"""Checks of the two streams. Pure.

What the guarantees assume of them: docs/guarantees.md. Why a setting is an error or a warning:
docs/decisions/0035-doctor.md.
"""

from __future__ import annotations

from typing import Final

from worker.doctor.facts import Role, StreamSeen
from worker.doctor.finding import Check, Verdict, error, ok, warning
from worker.doctor.mends import add_stream, edit_stream, edit_stream_by_file, remake_stream
from worker.doctor.subjects import covers, overlap

DAY: Final = 24 * 3600 * 1_000_000_000
"""Nanoseconds."""
LEAST_AGE: Final = DAY
"""For which events are kept at the least: a weekend's outage is longer, so this is no recommendation."""
LEAST_PER_SUBJECT: Final = 10_000
"""Messages of one user and type that may wait, at the least, before the oldest are dropped unread."""
LONGEST_WINDOW: Final = 3600 * 1_000_000_000
FULL: Final = 90
"""Percent of a limit."""
MAJORITY: Final = 3


def _events(seen: StreamSeen) -> bool:
    return seen.role is Role.EVENTS


def _subjects(seen: StreamSeen) -> Verdict:
    config, wanted = seen.config, seen.wanted
    if config.mirror is not None:
        return ok(f"a mirror of {config.mirror.name}, which has the subjects")
    mend = edit_stream(seen.name, f"--subjects '{wanted}'")
    if not any(overlap(one, wanted) for one in config.subjects):
        return error(f"it takes {_list(config.subjects)}, and nothing on {wanted} reaches it", mend)
    if not any(covers(one, wanted) for one in config.subjects):
        said = f"it takes {_list(config.subjects)}, which is not all of {wanted}"
        return warning(said, mend) if _events(seen) else error(said, mend)
    return ok(f"it takes {_list(config.subjects)}")


def _others(seen: StreamSeen) -> Verdict:
    settings = seen.settings
    if _events(seen):
        theirs = f"{settings.unlock_prefix}.>"
        if any(overlap(one, theirs) for one in seen.config.subjects):
            said = f"it takes {theirs} too: each announcement comes back as a dead letter"
            return error(said, edit_stream(seen.name, f"--subjects '{seen.wanted}'"))
        return ok("announcements do not come back")
    foreign = [one for one in seen.config.subjects if not covers(seen.wanted, one)]
    if foreign:
        said = f"it takes {_list(foreign)} too: consumers of unlocks see messages that no worker has written"
        return warning(said, edit_stream(seen.name, f"--subjects '{seen.wanted}'"))
    return ok("it takes announcements alone")


def _retention(seen: StreamSeen) -> Verdict:
    kind = seen.config.retention
    if kind == "limits":
        return ok("limits")
    if kind == "interest":
        mend = edit_stream(seen.name, "--retention limits")
    else:
        mend = remake_stream(seen.name, '.retention = "limits"')
    if not _events(seen):
        return error(
            f"{kind}: announcements go once they are read, and with them the memory of what was announced", mend
        )
    if kind == "interest":
        return error("interest: an event that arrives while there is no consumer is acknowledged, and dropped", mend)
    return warning(
        f"{kind}: events go once they are read, and a database that loses commits cannot read them again", mend
    )


def _storage(seen: StreamSeen) -> Verdict:
    config = seen.config
    if config.storage == "file":
        return ok("file")
    age = ("--max-age 30d",) if _events(seen) else ()
    remake = add_stream(seen.name, seen.wanted, f"--replicas {max(config.num_replicas, 1)}", *age)
    # A stream in memory cannot be backed up.
    mend = f"nats stream rm {seen.name} --force && {remake}"
    what = "events that it has acknowledged" if _events(seen) else "the memory of what was announced"
    if config.num_replicas >= MAJORITY:
        return warning(f"memory: if all replicas stop, {what} is lost; mend it once all messages are read", mend)
    return error(f"memory: a restart of nats-server loses {what}; mend it once all messages are read", mend)


def _age(seen: StreamSeen) -> Verdict:
    age = seen.config.max_age
    if age <= 0:
        return ok("no limit")
    said = f"max_age is {_seconds(age)}"
    if not _events(seen):
        lost = "an unlock that is announced again after that, such as from a restored backup, is there twice"
        return warning(f"{said}: {lost}", edit_stream(seen.name, "--max-age 0s"))
    if age < LEAST_AGE:
        return warning(
            f"{said}: an outage of the workers that is longer loses events", edit_stream(seen.name, "--max-age 30d")
        )
    return ok(said)


def _size(seen: StreamSeen) -> Verdict:
    config = seen.config
    limits = [
        (name, flag, value, held)
        for name, flag, value, held in (
            ("max_msgs", "--max-msgs=-1", config.max_msgs, seen.info.state.messages),
            ("max_bytes", "--max-bytes=-1", config.max_bytes, seen.info.state.bytes),
        )
        if value > 0
    ]
    if not limits:
        return ok("no limit")
    said = " and ".join(f"{name} is {value}" for name, _, value, _ in limits)
    mend = edit_stream(seen.name, *(flag for _, flag, _, _ in limits))
    full = any(held * 100 >= value * FULL for _, _, value, held in limits)
    if config.discard == "new":
        refused = "events are refused" if _events(seen) else "announcements wait in the outbox"
        if full:
            return error(f"{said}, and {FULL} % of it is in use: {refused}", mend)
        return (
            ok(f"{said}, with room; when it is full, {refused}")
            if _events(seen)
            else warning(f"{said}: when it is full, {refused}", mend)
        )
    if _events(seen):
        return warning(
            f"{said}, discard old: what is oldest goes, read or not", edit_stream(seen.name, "--discard new")
        )
    return warning(f"{said}, discard old: what goes may be announced again", mend)


def _per_subject(seen: StreamSeen) -> Verdict:
    limit = seen.config.max_msgs_per_subject
    if limit <= 0:
        return ok("no limit")
    said = f"max_msgs_per_subject is {limit}"
    if not _events(seen):
        return ok(f"{said}: each announcement has a subject of its own")
    mend = edit_stream(seen.name, "--max-msgs-per-subject=-1")
    if limit < LEAST_PER_SUBJECT:
        return error(f"{said}: a user's events of one type push each other out, read or not", mend)
    return warning(f"{said}: a user's events of one type can push each other out", mend)


def _message_size(seen: StreamSeen) -> Verdict:
    limit = seen.config.max_msg_size
    if limit <= 0 or limit >= 1024 * 1024:
        return ok("1 MiB fits")
    mend = edit_stream(seen.name, "--max-msg-size=-1")
    if _events(seen):
        return ok(f"messages over {limit} bytes are refused")
    return warning(f"max_msg_size is {limit}: unlocks with a larger announcement wait in the outbox", mend)


def _window(seen: StreamSeen) -> Verdict:
    window = seen.config.duplicate_window
    if window > LONGEST_WINDOW:
        said = f"duplicate_window is {_seconds(window)}: the broker keeps each message id in memory for so long"
        return warning(said, edit_stream(seen.name, "--dupe-window 2m"))
    return ok(_seconds(window))


def _replicas(seen: StreamSeen) -> Verdict:
    cluster, number = seen.info.cluster, seen.config.num_replicas
    if not cluster.name:
        return ok("one server")
    if not cluster.leader:
        return error("it has no leader: most of its replicas are away", f"nats stream info {seen.name}")
    away = [one.name for one in cluster.replicas if one.offline]
    if away:
        return warning(f"{_list(away)} is away", "nats server report jetstream")
    if number < MAJORITY:
        plural = "1 replica" if number == 1 else f"{number} replicas"
        said = f"{plural} in cluster {cluster.name}: it stops with one server"
        return warning(said, edit_stream(seen.name, f"--replicas {MAJORITY}"))
    return ok(f"{number} in cluster {cluster.name}")


def _acknowledgement(seen: StreamSeen) -> Verdict:
    if not seen.config.no_ack:
        return ok("each message is acknowledged")
    waits = "a producer cannot know that an event is stored" if _events(seen) else "a worker waits for ever"
    return error(f"no_ack: {waits}", edit_stream(seen.name, "--ack"))


def _sealed(seen: StreamSeen) -> Verdict:
    if not seen.config.sealed:
        return ok("it takes messages")
    mend = remake_stream(seen.name, ".sealed = false | .deny_delete = false | .deny_purge = false")
    return error("sealed: it takes no message, for good", mend)


def _purge(seen: StreamSeen) -> Verdict:
    if not seen.config.deny_purge:
        return ok("a user's messages can be erased")
    said = "deny_purge: `ach erase --purge-streams` cannot erase a user's messages"
    return warning(said, remake_stream(seen.name, ".deny_purge = false"))


def _origin(seen: StreamSeen) -> Verdict:
    config = seen.config
    if config.mirror is not None:
        if not _events(seen):
            return error(
                f"a mirror of {config.mirror.name}: nothing can be announced in it",
                edit_stream(seen.name, "--no-mirror"),
            )
        said = f"a mirror of {config.mirror.name}: `ach emit` and `ach dead replay` cannot publish to it"
        return warning(said, edit_stream(seen.name, "--no-mirror"))
    names = ", ".join(one.name for one in config.sources)
    if not names:
        return ok("producers alone write to it" if _events(seen) else "workers alone write to it")
    if _events(seen):
        return ok(f"also from {names}")
    said = f"it takes messages from {names}: consumers of unlocks see what no worker of yours has written"
    return warning(said, edit_stream_by_file(seen.name, "del(.sources)"))


def _copies(seen: StreamSeen) -> Verdict:
    republish = seen.config.republish
    if republish is None:
        return ok("messages are not republished")
    said = f"messages are republished on {republish.dest}: an erasure does not reach what is kept from there"
    return warning(said, edit_stream_by_file(seen.name, "del(.republish)"))


def _transform(seen: StreamSeen) -> Verdict:
    transform = seen.config.subject_transform
    if transform is None:
        return ok("subjects stay as they are")
    mend = edit_stream(seen.name, "--no-transform")
    if not _events(seen):
        return error("subject_transform: announcements are stored on other subjects than are asked for", mend)
    if overlap(transform.dest.replace("{{", "").replace("}}", ""), seen.wanted):
        return ok(f"subjects become {transform.dest}")
    said = f"subjects become {transform.dest}, which is not below {seen.wanted}: events belong to no tenant"
    return error(said, mend)


def _rollup(seen: StreamSeen) -> Verdict:
    if not seen.config.allow_rollup_hdrs:
        return ok("off")
    said = "allow_rollup_hdrs: a message with one header deletes all others, of all tenants"
    if seen.config.allow_msg_schedules:
        return warning(said, remake_stream(seen.name, ".allow_rollup_hdrs = false | .allow_msg_schedules = false"))
    return warning(said, edit_stream(seen.name, "--no-allow-rollup"))


def _atomic(seen: StreamSeen) -> Verdict:
    if not seen.config.allow_atomic:
        return ok("off")
    # The broker answers within a batch with an empty message, wherever the producer says: also at its own API.
    said = "allow_atomic: producers of its account can delete streams"
    return warning(said, edit_stream(seen.name, "--no-allow-batch"))


def _counter(seen: StreamSeen) -> Verdict:
    if not seen.config.allow_msg_counter:
        return ok("off")
    said = "allow_msg_counter: it takes counts alone, and refuses all other messages"
    return error(said, remake_stream(seen.name, ".allow_msg_counter = false"))


def _schedules(seen: StreamSeen) -> Verdict:
    if not seen.config.allow_msg_schedules:
        return ok("off")
    said = "allow_msg_schedules: a producer can have messages stored on subjects where it may not publish"
    return warning(said, remake_stream(seen.name, ".allow_msg_schedules = false"))


def _ttl(seen: StreamSeen) -> Verdict:
    if not seen.config.allow_msg_ttl:
        return ok("off")
    if _events(seen):
        return ok("producers may limit the time for which their events wait")
    said = "allow_msg_ttl: an announcement may be limited in time, and what is gone may be announced again"
    return warning(said, remake_stream(seen.name, ".allow_msg_ttl = false"))


def _persistence(seen: StreamSeen) -> Verdict:
    if seen.config.persist_mode != "async":
        return ok("a message is written before it is acknowledged")
    said = "persist_mode is async: a message is acknowledged before it is written, and a crash loses it"
    return error(said, remake_stream(seen.name, "del(.persist_mode)"))


STREAM_CHECKS: Final[tuple[Check[StreamSeen], ...]] = (
    Check("subjects", _subjects),
    Check("other subjects", _others),
    Check("retention", _retention),
    Check("storage", _storage),
    Check("persistence", _persistence),
    Check("age", _age),
    Check("size", _size, refuses=False),
    Check("messages per subject", _per_subject),
    Check("message size", _message_size),
    Check("duplicate window", _window),
    Check("replicas", _replicas, refuses=False),
    Check("acknowledgement", _acknowledgement),
    Check("sealed", _sealed),
    Check("purge", _purge),
    Check("origin", _origin),
    Check("republish", _copies),
    Check("transform", _transform),
    Check("roll-up", _rollup),
    Check("atomic batches", _atomic),
    Check("counters", _counter),
    Check("schedules", _schedules),
    Check("message ttl", _ttl),
)


def _list(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names) or "nothing"


def _seconds(nanoseconds: int) -> str:
    seconds = nanoseconds / 1_000_000_000
    for size, unit in ((24 * 3600, "d"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
