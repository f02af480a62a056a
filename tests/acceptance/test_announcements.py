"""Every message that a recorded stream leads to fits the schema, and what `ach schema unlock` prints is that schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import jsonschema
import pytest

from tests.faults.oracle import announcements, corrected
from worker.settings import read_settings

if TYPE_CHECKING:
    from tests.acceptance.conftest import Shell

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
STREAM = ROOT / "fixtures" / "streams" / "lark.jsonl.gz"


@pytest.fixture
def deployed(on_servers: Shell) -> Shell:
    """A shell whose environment names servers with the rules applied."""
    on_servers.environment.update(ACH_BATCH_SIZE="100", ACH_ACK_WAIT="2")
    ran = on_servers.ach("apply", ROOT / "fixtures" / "rules" / "commits.ach")
    assert ran.code == 0, ran.err
    return on_servers


async def test_every_message_of_a_recorded_stream_fits_the_schema(deployed: Shell) -> None:
    printed = deployed.ach("schema", "unlock").out
    assert printed == (ROOT / "docs" / "unlock.schema.json").read_text("utf-8")
    assert deployed.ach("emit", STREAM).code == 0
    assert deployed.ach("run", "--drain").code == 0
    revoked = deployed.ach("revoke", "-a", "committer.bronze", "--reason", "a bad rule", "--yes")
    assert revoked.code == 0
    assert deployed.ach("run", "--drain").code == 0
    said = await announcements(read_settings(deployed.environment))
    validator = jsonschema.Draft202012Validator(json.loads(printed))
    for one in said:
        validator.validate(one)
    assert {"granted", "revoked"} <= {one["kind"] for one in said}
    connection = await asyncpg.connect(deployed.environment["DATABASE_URL"])
    try:
        rows = [dict(row) for row in await connection.fetch("SELECT * FROM unlock")]
    finally:
        await connection.close()
    assert [*corrected(said, rows)] == []
    assert {one["unlock_id"] for one in said} == {str(row["unlock_id"]) for row in rows}
