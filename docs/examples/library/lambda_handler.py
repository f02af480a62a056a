"""The worker as an AWS Lambda function behind SQS. Switch on `ReportBatchItemFailures` at the event source mapping."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ach

rules = ach.load(Path(__file__).with_name("lessons.ach"))  # read while the function starts, not at its first batch


def handler(event: dict[str, Any], _context: object) -> ach.BatchResponse:
    """Commit the messages of one tenant's queue. DATABASE_URL names the database."""
    return ach.batch_sync(event, tenant="acme", rules=rules)
