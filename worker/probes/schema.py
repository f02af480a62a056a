"""Whether the schema of the database is one that a service can work with, for a service that begins without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import structlog

from worker.retry import delays
from worker.store import NotMigratedError, RefusedError, UnavailableError, UnusableError

if TYPE_CHECKING:
    from worker.store import Store

log = structlog.get_logger()


async def watch_schema(store: Store, *, needed: bool = True) -> None:
    """See once whether this release can work with the schema, for a service that begins although servers are away.

    A database that is away, or that nothing has migrated yet, is asked again; where the service can do without one
    (`needed` is false), also one that refuses it.

    Raises:
        UnusableError: it refuses the login, or a file that DATABASE_URL names cannot be used.
        SchemaMismatchError: a newer release has changed the schema so that this one cannot run beside it.
    """
    before = ""
    for delay in delays():
        wrong = said = ""
        try:
            await store.check_schema()
        except NotMigratedError as error:
            wrong, said = "the schema is not there yet", str(error)
        except UnusableError as error:
            if needed:
                raise
            wrong, said = "the database cannot be used", str(error)
        except (UnavailableError, RefusedError) as error:
            log.debug("the schema cannot be read yet", said=str(error))
        else:
            return
        if said not in {"", before}:
            before = said
            log.warning(wrong, said=said)
        await anyio.sleep(delay)
