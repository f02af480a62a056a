"""A toast in the answer to the request that has earned it, with FastAPI."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Header, HTTPException
from progress_table import ProgressTable
from pydantic import BaseModel

import ach

app = FastAPI()
rules = ach.load(Path(__file__).with_name("lessons.ach"))
table = ProgressTable(Path(os.environ.get("PROGRESS_DB", "progress.sqlite3")), rules)
outbox: list[bytes] = []
"""What is published to the stream EVENTS for the worker. In your application: rows that are written in the transaction
of the request, or `POST /v1/events`."""


class Lesson(BaseModel):
    """What the browser sends when a lesson is done. It draws the id once, and repeats it when it tries again."""

    event_id: str
    score: int


@app.post("/lessons")
def complete(lesson: Lesson, user: Annotated[str, Header(alias="X-User")]) -> dict[str, Any]:
    """Take a completed lesson; answer with what it has earned. The header stands for your own login."""
    event = ach.Event(
        event_id=lesson.event_id,
        tenant_id="acme",
        user_id=user,
        event_type="lesson.completed",
        occurred_at=datetime.now(UTC),
        payload={"score": lesson.score},
    )
    try:
        grants = table.feed(event)
    except ach.EventError as error:
        if error.reason == "id_conflict":  # the same id at another moment: the browser has tried again
            return {"toasts": []}
        raise HTTPException(422, str(error)) from error
    outbox.append(event.encode())
    return {"toasts": [{"unlock_id": one.unlock_id, "title": one.title("en"), "reward": one.reward} for one in grants]}


@app.get("/progress")
def progress(
    user: Annotated[str, Header(alias="X-User")], accept_language: Annotated[str, Header()] = "en"
) -> list[dict[str, Any]]:
    """Answer with where the user stands, as the read API does."""
    return msgspec.to_builtins(table.progress("acme", user, [accept_language]))
