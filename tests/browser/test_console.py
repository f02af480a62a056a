"""The console in a real browser: every page, by axe, by its log of errors, by keyboard alone, and without a script."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import pytest

from tests.browser.console_server import OPERATOR, VIEWER, console_at
from tests.integration.console_world import HOSTILE, fill
from tests.worker.analysis.worlds import drawn, write
from worker.analysis.kept import Keeper
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.anyio

AXE: Final = (Path(__file__).parent / "axe.min.js").read_text(encoding="utf-8")
PAGES: Final = (
    "/",
    "/rules",
    "/rules/writer",
    "/rules/committer",
    "/subjects",
    "/subjects?tenant=acme",
    "/subjects?tenant=acme&scope=team",
    "/subject?tenant=acme&id=ann",
    "/subject?tenant=acme&id=ann&as=user",
    "/subject?tenant=acme&scope=team&id=red",
    "/subject?tenant=acme&id=unknown",
    "/subject/why?tenant=acme&id=ann&achievement=writer",
    "/subject/why?tenant=acme&id=ann&achievement=all_rounder",
    "/subject/grant?tenant=acme&id=ann",
    "/subject?tenant=acme&scope=team&id=unknown",
    "/subjects?tenant=acme&start=zzz",
    "/rules/novelist",
    "/letters",
    "/letters?reason=malformed_json&all=1",
    "/letters?reason=none",
    "/letters/1",
    "/letters/2",
    "/letters/3/replay",
    "/changes",
    "/changes/1",
    "/changes/2",
    "/cohorts",
    "/tenants",
    "/tenant?id=acme",
    "/actions",
    "/nothing",
)
Scheme = Literal["dark", "light"]
LOOKS: Final[tuple[tuple[int, Scheme], ...]] = (
    (1280, "light"),
    (1280, "dark"),
    (360, "light"),
    (360, "dark"),
)


@pytest.fixture
async def address(database_url: str, nats_url: str, tmp_path: Path) -> AsyncGenerator[str]:
    settings = Settings(nats_url=nats_url, database_url=database_url)
    await fill(settings)
    async with console_at(settings, Keeper(write(tmp_path / "mirror", drawn(1)))) as found:
        yield found


# Nothing is wider than its window; on a phone no table is moved sideways either, but for the picture of a timeline.
TOO_WIDE: Final = """
() => {
  const wide = (one) => one.scrollWidth - one.clientWidth > 1;
  const tables = innerWidth > 400 ? [] : [...document.querySelectorAll(".scroll:has(table)")];
  return [document.documentElement, ...tables].filter(wide).map((one) => `too wide: ${one.outerHTML.slice(0, 120)}`);
}
"""


class Looked:
    """A page, and what its browser complained of."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.complaints: list[str] = []
        page.on("console", lambda said: self.complain(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog {dialog.message}"))

    def complain(self, text: str) -> None:
        self.complaints.append(text)

    async def go(self, path: str) -> None:
        await self.page.goto(f"{self.address}{path}", wait_until="load")

    async def login(self, token: str) -> None:
        await self.go("/login")
        await self.page.fill("#token", token)
        await self.page.press("#token", "Enter")
        await self.page.wait_for_selector("nav[aria-label=Pages]")

    async def links(self, path: str, selector: str, most: int) -> list[str]:
        """Return where the first links of a page lead that a selector finds."""
        await self.go(path)
        found: Any = await self.page.locator(selector).evaluate_all("all => all.map((a) => a.getAttribute('href'))")
        return found[:most]

    async def violations(self) -> list[str]:
        """Return what axe finds wrong, in short."""
        await self.page.evaluate(f"(() => {{ {AXE} }})()")
        options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
        found: Any = await self.page.evaluate("options => axe.run(document, options)", options)
        return [f"{one['id']}: {node['html'][:200]}" for one in found["violations"] for node in one["nodes"]]


@asynccontextmanager
async def looking(
    browser: Browser,
    address: str,
    *,
    width: int = 1280,
    scheme: Scheme = "light",
    script: bool = True,
    timezone: str = "Europe/Berlin",
) -> AsyncGenerator[Looked]:
    context = await browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, java_script_enabled=script, timezone_id=timezone
    )
    yield Looked(await context.new_page(), address)
    await context.close()


@pytest.mark.timeout(900)
async def test_every_page_is_accessible_and_fits(browser: Browser, address: str) -> None:
    wrong: list[str] = []
    for width, scheme in LOOKS:
        async with looking(browser, address, width=width, scheme=scheme) as look:
            await look.go("/login")
            wrong += [f"/login {width} {scheme} {one}" for one in await look.violations()]
            await look.login(OPERATOR)
            for path in PAGES:
                await look.go(path)
                wrong += [f"{path} {width} {scheme} {one}" for one in await look.violations()]
                wrong += [f"{path} {width}: {one}" for one in await look.page.evaluate(TOO_WIDE)]
            (revoke,) = await look.links("/subject?tenant=acme&id=ann", "a[href$=revoke]", 1)
            for path in (revoke, "/subject/grant?tenant=acme&id=ann"):
                await look.go(path)
                assert await look.page.locator("button.main").count() == 1
                wrong += [f"{path} {width} {scheme} {one}" for one in await look.violations()]
            missing = "Failed to load resource: the server responded with a status of 404 (Not Found)"
            wrong += [one for one in look.complaints if one != missing]
            assert look.complaints.count(missing) == 1  # the page that is not there
    assert wrong == []


async def test_hostile_ids_do_nothing_and_are_shown(browser: Browser, address: str) -> None:
    async with looking(browser, address, width=360) as look:
        await look.login(VIEWER)
        for user in HOSTILE:
            await look.go("/subjects")
            await look.page.fill("#tenant", "acme")
            await look.page.fill("#start", user)
            await look.page.press("#start", "Enter")
            await look.page.click("#found tbody a")
            shown = await look.page.inner_text("h1")
            assert shown.startswith(user[:1]) or "\\u" in shown
            assert await look.page.locator("svg.timeline circle").count() == 3
            assert await look.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
            assert await look.violations() == []
        assert look.complaints == []


MOVED: Final = """
window.moved = new Promise((done) => document.addEventListener("DOMContentLoaded", () => {
  const live = document.getElementById("live");
  if (live) new MutationObserver(() => done(live.querySelectorAll(".tile").length)).observe(live, { childList: true });
}));
"""


async def test_the_first_page_moves_and_has_its_chart(browser: Browser, address: str) -> None:
    async with looking(browser, address) as look:
        await look.login(OPERATOR)
        await look.page.add_init_script(MOVED)
        await look.go("/")
        assert await look.page.evaluate("window.moved") == 5
        await look.page.wait_for_selector("#chart canvas")
        assert await look.page.locator("#live #live").count() == 0
        assert await look.violations() == []
        assert look.complaints == []


async def test_the_keyboard_is_enough(browser: Browser, address: str) -> None:
    async with looking(browser, address) as look:
        page = look.page
        await look.go("/")
        await page.keyboard.type(OPERATOR)  # the field has the focus
        await page.keyboard.press("Enter")
        await page.wait_for_selector("h1:has-text('Now')")
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "Skip to the page"
        await page.keyboard.press("Enter")
        assert await page.evaluate("document.activeElement.id") == "main"
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.className") == "hint"
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert await page.evaluate(outline) == "solid"
        await page.keyboard.press("Enter")
        assert "ledger took" in await page.inner_text(".hint-text")
        # A grant, from the page of a user on.
        await look.go("/subject?tenant=acme&id=ben")
        await page.focus("a.button:has-text('Grant by hand')")
        await page.keyboard.press("Enter")
        await page.focus("#achievement")
        await page.keyboard.type("writer.gold")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Tab")
        await page.keyboard.type("a fine year")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await page.wait_for_selector(".notice.good")
        assert "granted writer.gold" in await page.inner_text(".notice.good")
        await look.go("/actions")
        assert "a fine year" in await page.inner_text("main")
        assert await look.violations() == []
        assert look.complaints == []


async def test_a_link_logs_in_and_forgets_its_token(browser: Browser, address: str) -> None:
    path = "/subject?tenant=acme&id=ann"
    for token, good in ((VIEWER, True), ("wrong-token-of-a-stranger", False)):
        async with looking(browser, address) as look:
            sent: list[str] = []
            look.page.on("request", lambda request, sent=sent: sent.append(request.url + str(request.headers)))
            await look.go(f"{path}#token={token}")
            await look.page.wait_for_selector("h1:has-text('ann')" if good else "[role=alert]")
            assert look.page.url.endswith(path if good else "/login?next=%2Fsubject%3Ftenant%3Dacme%26id%3Dann")
            assert not any(token in one for one in sent)
            # Once logged in, a link with any token opens its page; the address loses it all the same.
            if good:
                await look.go(f"/rules#token={token}")
                assert look.page.url == f"{address}/rules"
                assert look.complaints == []


async def test_times_are_also_by_the_viewers_clock(browser: Browser, address: str) -> None:
    async with looking(browser, address, timezone="Asia/Tokyo") as look:
        await look.login(VIEWER)
        await look.go("/changes")
        first = look.page.locator("time").first
        utc, at = await first.inner_text(), await first.get_attribute("datetime")
        assert utc.endswith("UTC")
        await look.page.click("#own-time")
        own = (datetime.fromisoformat(str(at)) + timedelta(hours=9)).strftime("%Y-%m-%d %H:%M:%S GMT+9")
        assert await first.inner_text() == own
        await look.go("/changes")  # the choice stays
        assert await first.inner_text() == own
        assert "Asia/Tokyo" in await look.page.inner_text("#zone")
        await look.page.click("#own-time")
        assert await first.inner_text() == utc
        assert look.complaints == []


async def test_pages_work_without_a_script(browser: Browser, address: str) -> None:
    async with looking(browser, address, script=False) as look:
        await look.login(OPERATOR)
        for path in PAGES:
            await look.go(path)
            assert await look.page.locator("h1").count() == 1
        await look.go("/")
        assert await look.page.is_visible("noscript p")
        await look.go("/letters/3")
        await look.page.click("button:has-text('See what would become of it')")
        assert "would" in await look.page.inner_text(".checks")
        await look.page.fill("#reason", "try it")
        await look.page.click("button:has-text('Send it again')")
        assert "sent dead letter 3" in await look.page.inner_text(".notice.good")
        await look.page.click("button:has-text('Log out')")
        assert await look.page.is_visible("#token")
