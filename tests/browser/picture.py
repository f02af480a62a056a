"""Makes the pictures of the console that the README shows, light and dark: `just picture`.

python -m tests.browser.picture FOLDER
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import anyio
from playwright.async_api import async_playwright

from tests.browser.conftest import FLAGS
from tests.browser.console_server import OPERATOR, console_at
from tests.integration.console_world import fill
from worker.console.web import link
from worker.local.servers import embedded
from worker.process import logs
from worker.settings import Settings

if TYPE_CHECKING:
    from playwright.async_api import Browser

TENANT = "pallets/flask"
SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
BUSIEST = """
SELECT subject FROM unlock WHERE tenant_id = $1 AND scope = 'user' GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1 OFFSET 4
"""


async def _shoot(browser: Browser, address: str, page_path: str, scheme: Literal["light", "dark"], path: Path) -> None:
    page = await browser.new_page(viewport={"width": 1200, "height": 1000}, color_scheme=scheme)
    await page.goto(f"{address}/login", wait_until="load")
    await page.fill("#token", OPERATOR)
    await page.press("#token", "Enter")
    await page.wait_for_selector("h1:has-text('Now')")
    await page.goto(f"{address}{page_path}", wait_until="load")
    # To the end of the timeline: what follows is tables.
    timeline = await page.locator("section:has(h2:has-text('Timeline'))").first.bounding_box()
    assert timeline is not None
    bottom = timeline["y"] + timeline["height"] + 12
    await page.screenshot(path=path, clip={"x": 0, "y": 0, "width": 1200, "height": bottom}, full_page=True)
    await page.close()


async def _main(folder_of_pictures: Path) -> None:
    logs.quiet()
    with tempfile.TemporaryDirectory() as folder:
        async with embedded(Path(folder), durable=False) as servers:
            settings = Settings(nats_url=servers.nats_url, database_url=servers.database_url)
            engine = await fill(settings, streams=("lark", "flask"))
            (row,) = await engine.rows(BUSIEST, TENANT)
            user = link("/subject", tenant=TENANT, id=row["subject"])
            async with console_at(settings) as address, async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
                for scheme in SCHEMES:
                    await _shoot(browser, address, user, scheme, folder_of_pictures / f"console-{scheme}.png")
                await browser.close()


if __name__ == "__main__":
    anyio.run(_main, Path(sys.argv[1]))
