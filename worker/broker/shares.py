"""Who works on which partition in a group of workers, and how that is written down. Pure.

The form is that of the elastic consumer groups of Synadia's orbit (`pcgroups`), with mappings, so that its tool `cg`
shows a group: key `<stream>.<group>` of the bucket `elastic-consumer-groups`.

Why so, and what else there was: docs/decisions/0039-worker-groups.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from worker.contract.partition import PARTITIONS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

BUCKET: Final = "elastic-consumer-groups"


MARK: Final = "@"
"""First token of the subjects that are dealt out; no prefix begins with it."""
MODULI: Final = (2, 4, 8, 16, 32, 64)
"""Of the tokens behind the mark."""


class Transform(msgspec.Struct, frozen=True):
    """What becomes of a subject on its way into a stream."""

    src: str
    dest: str


class Mirror(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a stream copies."""

    name: str
    filter_subject: str = ""


class StreamConfig(msgspec.Struct, frozen=True):
    """A stream's configuration, as far as a group uses it."""

    subjects: tuple[str, ...] = ()
    retention: str = "limits"
    storage: str = "file"
    num_replicas: int = 1
    mirror: Mirror | None = None
    subject_transform: Transform | None = None


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
    """Return the form of the subjects that are dealt out; the rest below the prefix may carry any users."""
    return (Filter(f"{prefix}.*.*.>", (1, 2)),)


def transform(prefix: str) -> Transform:
    """Return what puts a mark and the partition in front of a subject, modulo 2, 4 and so on up to 64.

    So the share of a member is one filter: a consumer with 32 of them cost the broker 200 microseconds a message.
    `deliveries.py` takes the tokens away again.
    """
    tokens = ".".join(f"{{{{partition({modulus},1,2)}}}}" for modulus in MODULI)
    return Transform(f"{prefix}.*.*.>", f"{MARK}.{tokens}.{prefix}.{{{{wildcard(1)}}}}.{{{{wildcard(2)}}}}.>")


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


def deal(before: Mapping[str, Sequence[int]], members: Collection[str]) -> dict[str, tuple[int, ...]]:
    """Return the shares of members: each the partitions of one residue, so that one filter stands for them.

    Shares are equal where the members are a power of two in number; else some are twice as large as others. Members
    beyond the number of partitions get none, and are not in the answer. As few partitions move as that allows, and
    the same members again get the same.
    """
    # Those who have something come first: a newcomer displaces none of a full group.
    names = sorted(members, key=lambda name: (name not in before, name))[:PARTITIONS]
    if not names:
        return {}
    modulus = 1 << (len(names).bit_length() - 1)
    had = {name: frozenset(before.get(name, ())) for name in names}
    shares = _shares(modulus, len(names) - modulus, {*had.values()})
    pairs = [(-len(had[name] & share), min(share), name, share) for name in names for share in shares]
    dealt: dict[str, frozenset[int]] = {}
    taken: set[frozenset[int]] = set()
    for _, _, name, share in sorted(pairs, key=lambda pair: pair[:3]):
        if name not in dealt and share not in taken:
            dealt[name] = share
            taken.add(share)
    return {name: tuple(sorted(share)) for name, share in dealt.items()}


def _shares(modulus: int, halved: int, had: set[frozenset[int]]) -> list[frozenset[int]]:
    """Return the partitions of each residue, some of them in two halves: first of all those that are so already."""
    halves = {
        residue: [_residue(2 * modulus, residue), _residue(2 * modulus, residue + modulus)]
        for residue in range(modulus)
    }
    first = sorted(halves, key=lambda residue: (-sum([half in had for half in halves[residue]]), residue))
    whole = [_residue(modulus, residue) for residue in first[halved:]]
    return [*(half for residue in first[:halved] for half in halves[residue]), *whole]


def _residue(modulus: int, residue: int) -> frozenset[int]:
    return frozenset(range(residue, PARTITIONS, modulus))


class Source(NamedTuple):
    """A consumer of a member: its name, and the one filter that it has; None for all that is in the stream."""

    consumer: str
    filter: str | None


REST: Final = "-rest"
"""Ends the name of the consumer of what is not dealt out."""


def sources_of(member: str, share: Sequence[int], prefix: str) -> list[Source]:
    """Return the consumers of a member; the owner of the first partition has what is not dealt out, too.

    Raises:
        ValueError: the share is no residue.
    """
    modulus, residue = PARTITIONS // len(share), share[0]
    if frozenset(share) != _residue(modulus, residue):
        raise ValueError(f"partitions {ranges(share)} are not those of one residue")
    if modulus == 1:
        return [Source(member, None)]
    # All tokens up to the one that counts: the broker refuses filters that could overlap, whatever there is.
    tokens = [str(residue % smaller) for smaller in MODULI if smaller <= modulus]
    dealt = Source(member, f"{MARK}.{'.'.join(tokens)}.>")
    return [dealt, Source(member + REST, f"{prefix}.>")] if residue == 0 else [dealt]


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


def mirror_of(source: str, subjects: Collection[str], prefix: str) -> Mirror:
    """Return how the stream of a group copies a stream that takes `subjects`.

    Whatever else the source takes is left out: a message on a subject of ours with the mark in front would come as
    one of any tenant. Where the source takes nothing else, the broker is spared the filter.
    """
    alone = bool(subjects) and all(subject.startswith(f"{prefix}.") for subject in subjects)
    return Mirror(source, "" if alone else f"{prefix}.>")


def stream_flaw(config: StreamConfig, mirror: Mirror, prefix: str) -> str:
    """Return why a stream is not what a group works on, "" where it is."""
    if config.mirror is None or config.mirror.name != mirror.name:
        return f"it is no mirror of {mirror.name}"
    if config.retention != "workqueue":
        return f"its retention is {config.retention}, and a group needs workqueue"
    if config.subject_transform != transform(prefix):
        return f"it divides other subjects than those below {prefix}"
    if mirror.filter_subject and config.mirror.filter_subject != mirror.filter_subject:
        return f"{mirror.name} takes subjects outside of {prefix} by now, and the stream of the group takes them too"
    return ""
