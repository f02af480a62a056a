"""Places of mirrors that commands are given: a folder as it is, a bucket with how it is reached."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from worker.distribution import install
from worker.mirror.access import AccessError, access_of
from worker.report import screen

if TYPE_CHECKING:
    from worker.mirror.copied import Copied
    from worker.mirror.objects import Objects
    from worker.mirror.place import Bucket, Place


def opened(place: Place) -> Path | Objects:
    """Return what a run writes to; where the extra for buckets is not installed, say so and end the command.

    Raises:
        click.UsageError: a variable that says how the bucket is reached cannot be used.
    """
    return place if isinstance(place, Path) else _objects(place)


def readable(place: Place, *, waiting: bool = False) -> Path | Copied:
    """Return what answers are read from; as `opened`. With `waiting`, a person waits for the answer."""
    if isinstance(place, Path):
        return place
    objects = _objects(place, waiting=waiting)
    from worker.mirror.copied import Copied  # noqa: PLC0415 - for buckets alone

    return Copied(objects)


def _objects(bucket: Bucket, *, waiting: bool = False) -> Objects:
    try:
        from worker.mirror.objects import PAGE, Objects, Patience
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] != "obstore":
            raise
        screen.fail("s3:// needs obstore, which is not installed", install("s3"))
        sys.exit(1)
    for name in [name for name, value in os.environ.items() if name.startswith("AWS_") and not value]:
        # The library looks there, too, and takes an empty text for a value.
        del os.environ[name]
    try:
        return Objects(bucket, access_of(os.environ), PAGE if waiting else Patience())
    except AccessError as error:
        raise screen.usage(str(error)) from error
