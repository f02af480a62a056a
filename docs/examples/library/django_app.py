"""A toast in the answer to the request that has earned it, with Django: views, and urls for them."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST
from progress_table import ProgressTable

import ach

rules = ach.load(Path(__file__).with_name("lessons.ach"))
table = ProgressTable(Path(os.environ.get("PROGRESS_DB", "progress.sqlite3")), rules)
outbox: list[bytes] = []
"""What is published to the stream EVENTS for the worker."""


class Lesson(msgspec.Struct):
    """What the browser sends when a lesson is done. It draws the id once, and repeats it when it tries again."""

    event_id: str
    score: int


@csrf_exempt  # the example has no pages with a token
@require_POST
def complete(request: HttpRequest) -> HttpResponse:
    """Take a completed lesson; answer with what it has earned. The header stands for your own login."""
    try:
        lesson = msgspec.json.decode(request.body, type=Lesson)
        event = ach.Event(
            event_id=lesson.event_id,
            tenant_id="acme",
            user_id=request.headers["X-User"],
            event_type="lesson.completed",
            occurred_at=datetime.now(UTC),
            payload={"score": lesson.score},
        )
        grants = table.feed(event)
    except msgspec.MsgspecError as error:
        return JsonResponse({"error": str(error)}, status=422)
    except ach.EventError as error:
        if error.reason == "id_conflict":  # the same id at another moment: the browser has tried again
            return JsonResponse({"toasts": []})
        return JsonResponse({"error": str(error)}, status=422)
    outbox.append(event.encode())
    toasts = [{"unlock_id": one.unlock_id, "title": one.title("en"), "reward": one.reward} for one in grants]
    return JsonResponse({"toasts": toasts})


@require_GET
def progress(request: HttpRequest) -> HttpResponse:
    """Answer with where the user stands, as the read API does."""
    languages = [request.headers.get("Accept-Language", "en")]
    body = msgspec.json.encode(table.progress("acme", request.headers["X-User"], languages))
    return HttpResponse(body, content_type="application/json")


urlpatterns = [path("lessons", complete), path("progress", progress)]
