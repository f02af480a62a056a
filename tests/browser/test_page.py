"""The example page of docs/serve.md in a browser, with a worker behind it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from playwright.async_api import expect

from dsl.outcome import Subject
from tests.integration.engine import Engine, event
from tests.integration.serving import SECRETS, connected, serving
from worker.serve.access import sign
from worker.settings import Settings

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.anyio

RULES = """
event lesson.completed { score: int? }

achievement beginner { title "First steps" when count(event=lesson.completed, >= 1) }
achievement student { title { en: "Student", de: "Schüler" } when count(event=lesson.completed, >= 3) }
achievement scholar { title "<b>Scholar</b> & co." when count(event=lesson.completed, >= 20) }
achievement easter_egg { title "You found it" reveal secret when count(event=lesson.completed, >= 100) }
"""
NAME = "ann/ä <b>"
SHOTS = Path(__file__).parents[2] / "build"


@pytest.fixture
async def engine(database_url: str, nats_url: str) -> Engine:
    made = Engine(Settings(nats_url=nats_url, database_url=database_url, consumer=f"c{uuid4().hex}"))
    await made.apply(RULES)
    return made


def lesson(number: int) -> dict[str, object]:
    return event(number, "lesson.completed", user=NAME, id=f"e{number}")


async def test_bars_secrets_and_a_toast(engine: Engine, browser: Browser, pages: str) -> None:
    context = await browser.new_context(viewport={"width": 480, "height": 640}, locale="en-GB")
    page = await context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(str(error)))
    async with engine.worker() as stats, serving(engine.settings, origins=[pages]) as client:
        await engine.publish([lesson(1), lesson(2)])
        await stats.reach("announced", 1)
        await connected(client)
        token = sign(SECRETS["t1"], Subject("t1", "user", NAME), 900)
        settings = {"api": str(client.base_url).rstrip("/"), "tenant": "t1", "user": NAME, "token": token}
        async with page.expect_response(lambda response: response.url.endswith("/live")):
            await page.goto(f"{pages}/achievements.html#{urlencode(settings).replace('+', '%20')}")
        rows = page.locator("#list li")
        await expect(rows).to_have_count(3)
        await expect(page.locator("li", has_text="Student").locator("small")).to_have_text("2 of 3")
        await expect(page.locator("li.earned")).to_have_count(1)
        await expect(page.locator("#hidden")).to_have_text("1 more to discover")
        assert "You found it" not in await page.content()
        assert await page.locator("#list b b").count() == 0
        await engine.publish([lesson(3)])
        await expect(page.locator("#toast")).to_have_text("Unlocked: Student", timeout=20_000)
        await expect(page.locator("li.earned")).to_have_count(2)
        await engine.publish([lesson(4)])
        await expect(page.locator("li", has_text="Scholar").locator("small")).to_have_text("4 of 20", timeout=20_000)
        await shot(page)
        await context.close()
    assert said == []


async def shot(page: Page) -> None:
    SHOTS.mkdir(exist_ok=True)
    await page.screenshot(path=str(SHOTS / "example-page.png"))
