"""Who works on which partition in a group of workers, and how that is written down. Pure.

The form is that of the elastic consumer groups of Synadia's orbit (`pcgroups`), with mappings, so that its tool `cg`
shows a group: key `<stream>.<group>` of the bucket `elastic-consumer-groups`.

Why so, and what else there was: docs/decisions/0039-worker-groups.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from worker.contract.partition import PARTITIONS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

BUCKET: Final = "elastic-consumer-groups"


class Share(msgspec.Struct, frozen=True):
    """The partitions of one member, in order."""

    member: str
    partitions: tuple[int, ...]


class Filter(msgspec.Struct, frozen=True):
    """Subjects of the group, and the places of the wildcards that make the partition."""

    filter: str
    partitioning_wildcards: tuple[int, ...]


class Sheet(msgspec.Struct, frozen=True, omit_defaults=True):
    """The sheet of a group: how it divides its stream, and who has what."""

    max_members: int
    partitioning_filters: tuple[Filter, ...]
    members: tuple[str, ...] = ()
    """Those of a group that deals by itself, which is another program's."""
    member_mappings: tuple[Share, ...] = ()

    @property
    def shares(self) -> dict[str, tuple[int, ...]]:
        """The partitions of each member."""
        return {one.member: one.partitions for one in self.member_mappings}


def filters(prefix: str) -> tuple[Filter, ...]:
    """Return all forms of subjects below a prefix; none overlaps with another."""
    return (
        Filter(f"{prefix}.*", (1,)),
        Filter(f"{prefix}.*.*", (1, 2)),
        Filter(f"{prefix}.*.*.>", (1, 2)),
    )


def transforms(prefix: str) -> tuple[Transform, ...]:
    """Return what puts the partition of tenant and user in front of a subject; `deliveries.py` takes it away again."""
    return tuple(Transform(one.filter, _destination(one)) for one in filters(prefix))


def _destination(one: Filter) -> str:
    tokens: list[str] = []
    number = 0
    for token in one.filter.split("."):
        if token == "*":  # noqa: S105 - a wildcard
            number += 1
            tokens.append(f"{{{{wildcard({number})}}}}")
        else:
            tokens.append(token)
    places = ",".join(map(str, one.partitioning_wildcards))
    return f"{{{{partition({PARTITIONS},{places})}}}}.{'.'.join(tokens)}"


def empty(prefix: str) -> Sheet:
    """Return the sheet of a group that nothing belongs to yet."""
    return Sheet(PARTITIONS, filters(prefix))


def with_shares(sheet: Sheet, shares: Mapping[str, Sequence[int]]) -> Sheet:
    """Return a sheet with other shares."""
    dealt = tuple(Share(member, tuple(shares[member])) for member in sorted(shares))
    return msgspec.structs.replace(sheet, members=(), member_mappings=dealt)


def is_like(sheet: Sheet, prefix: str) -> bool:
    """Tell whether a sheet divides the stream as we do."""
    return (sheet.max_members, sheet.partitioning_filters) == (PARTITIONS, filters(prefix)) and not sheet.members


def read_sheet(body: bytes) -> Sheet | None:
    """Return the sheet that was written down, None where it is none."""
    try:
        return msgspec.json.decode(body, type=Sheet)
    except msgspec.DecodeError:
        return None


def write_sheet(sheet: Sheet) -> bytes:
    """Return a sheet as it is written down."""
    return msgspec.json.encode(sheet)


def deal(
    before: Mapping[str, Sequence[int]], members: Collection[str], partitions: int = PARTITIONS
) -> dict[str, tuple[int, ...]]:
    """Return the shares of members: equal but for one, and as few partitions moved as that takes.

    Members beyond the number of partitions get none, and are not in the answer. The same members again get the same.
    """
    # Those who have something come first: a newcomer displaces none of a full group.
    names = sorted(members, key=lambda name: (name not in before, name))[:partitions]
    if not names:
        return {}
    had = {name: [one for one in sorted(set(before.get(name, ()))) if 0 <= one < partitions] for name in names}
    taken: set[int] = set()
    for name in names:  # a sheet of another hand may give one partition twice
        had[name] = [one for one in had[name] if one not in taken]
        taken.update(had[name])
    least, over = divmod(partitions, len(names))
    # The larger shares go to those that have most already.
    by_size = sorted(names, key=lambda name: (-len(had[name]), name))
    size = {name: least + (place < over) for place, name in enumerate(by_size)}
    kept = {name: had[name][: size[name]] for name in names}
    free = iter(sorted(set(range(partitions)) - {one for share in kept.values() for one in share}))
    return {name: tuple(sorted([*kept[name], *_some(free, size[name] - len(kept[name]))])) for name in names}


def _some(numbers: Iterable[int], wanted: int) -> list[int]:
    return [number for _, number in zip(range(wanted), numbers, strict=False)]


def subjects_of(share: Sequence[int]) -> list[str]:
    """Return the filter subjects of partitions; none for all of them: without a filter the broker has less to do."""
    return [] if len(share) == PARTITIONS else [f"{one}.>" for one in share]


def ranges(share: Iterable[int]) -> str:
    """Return partitions in words: `0-3, 7`; "-" for none."""
    runs: list[list[int]] = []
    for one in sorted(share):
        if runs and one == runs[-1][-1] + 1:
            runs[-1].append(one)
        else:
            runs.append([one])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs) or "-"


def member_name(host: str, identity: str) -> str:
    """Return the name of a worker in its groups, which names its consumer too: its host and the start of its id."""
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in host)[:40] or "worker"
    return f"{plain}-{identity.replace('-', '')[:8]}"


def group_stream(stream: str, group: str) -> str:
    """Return the name of the stream that a group works on."""
    return f"{stream}-{group}"


def sheet_key(stream: str, group: str) -> str:
    """Return the key of a group's sheet."""
    return f"{stream}.{group}"


def beat_subject(stream: str, group: str, member: str) -> str:
    """Return the subject on which a member says that it lives; `*` as the member stands for all."""
    return f"ach.group.{stream}.{group}.{member}"


class Beat(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a member says of itself, about twice a second."""

    worker_id: str
    holds: tuple[int, ...] = ()
    """The partitions that it reads at the moment."""
    leaves: bool = False


def read_beat(body: bytes) -> Beat | None:
    """Return what a member says, None of anything else."""
    try:
        return msgspec.json.decode(body, type=Beat)
    except msgspec.DecodeError:
        return None


class Transform(msgspec.Struct, frozen=True):
    """What becomes of a subject on its way into a stream."""

    src: str
    dest: str


class Mirror(msgspec.Struct, frozen=True):
    """What a stream copies."""

    name: str
    subject_transforms: tuple[Transform, ...] = ()


class StreamConfig(msgspec.Struct, frozen=True):
    """A stream's configuration, as far as a group uses it."""

    retention: str = "limits"
    storage: str = "file"
    num_replicas: int = 1
    mirror: Mirror | None = None


def stream_flaw(config: StreamConfig, source: str, prefix: str) -> str:
    """Return why a stream is not what a group works on, "" where it is."""
    if config.mirror is None or config.mirror.name != source:
        return f"it is no mirror of {source}"
    if config.retention != "workqueue":
        return f"its retention is {config.retention}, and a group needs workqueue"
    if config.mirror.subject_transforms != transforms(prefix):
        return f"it divides other subjects than those below {prefix}"
    return ""
