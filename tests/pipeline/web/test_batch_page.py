"""The page of a batch in a real browser: it follows the batch, fits a phone, and says how the batch ended."""

import asyncio

import pytest

from tests.pipeline.web.browser import browser_page, find_browser
from tests.pipeline.web.served_batch import REPORT, served_batch

BROWSER = find_browser()
pytestmark = pytest.mark.browser
STATE = "document.getElementById('state')"
ROWS = "[...document.querySelectorAll('#workers li')].map((row) => row.innerText.split('\\n').join(' '))"


def text(element):
    return f"document.getElementById('{element}').textContent"


async def try_progress(page, run):
    await page.open(run.url)
    await page.until(f"{STATE}.textContent === 'Starting …'")
    run.work()
    await page.until(f"{STATE}.textContent === 'Working'")
    assert await page.ask(text("frames")) == "450 of about 1,000 frames (45 %)"
    assert await page.ask("[bar.value, bar.max]") == [450, 1000]
    assert [await page.ask(text(name)) for name in ("inputs", "done", "failed", "skipped")] == ["40", "3", "1", "36"]
    assert await page.ask(text("workers-title")) == "1 of 2 workers busy"
    assert await page.ask(ROWS) == ["1: waiting", "2: day1/cam1.mp4 30 / 120"]
    assert await page.ask("document.querySelectorAll('#workers progress')[1].position") == 0.25
    assert await page.ask("[report.hidden, troubles.hidden]") == [True, True]


async def try_failures(page, run):
    run.status.event("again", name="a<b>.mp4", reason="locked", attempt=1, delay_s=15.0)
    run.status.event("worker_ended", worker=2, reason="SIGKILL")
    run.status.event("failed", name="c.mp4", reason="no video", attempts=1)
    await page.until("document.querySelectorAll('#troubles li').length === 3")
    assert await page.ask("[...document.querySelectorAll('#troubles .name')].map((one) => one.textContent)") == [
        "c.mp4: no video",
        "Worker 3 ended: SIGKILL",
        "a<b>.mp4: locked; trying again in 15 s",
    ]


async def try_many(page, run):
    run.work(workers=1000)
    await page.until("document.querySelectorAll('#workers li').length === 101")
    assert (await page.ask(ROWS))[-2:] == ["100: day1/cam99.mp4 30 / 120", "… and 900 more"]
    await page.resize(390, 844, mobile=True)
    assert await page.ask("document.documentElement.scrollWidth") <= 390
    run.work()
    await page.until("document.querySelectorAll('#workers li').length === 2")


async def try_report(page, run):
    run.report.write_text(REPORT, encoding="utf-8")
    await page.until("!report.hidden")
    await page.ask("document.querySelector('#report a').click()")
    await page.until("location.pathname === '/report.html' && document.readyState === 'complete'")
    assert await page.ask("getComputedStyle(document.querySelector('h1')).color") == "rgb(255, 0, 0)"
    await page.open(run.url)
    await page.until(f"{STATE}.textContent === 'Working'")


def test_the_page_of_a_batch(tmp_path):
    results = tmp_path / "results"
    results.mkdir()

    async def everything(run):
        async with browser_page(BROWSER, tmp_path / "profile") as page:
            await try_progress(page, run)
            await try_failures(page, run)
            await try_many(page, run)
            await try_report(page, run)
            assert page.problems == []  # nothing blocked, nothing missing, nothing thrown
            run.work(frames=1000, done=39, failed=1, workers=0)
            run.page.close()
            await page.until(f"{STATE}.textContent === 'Ended: 1 failed'")
            assert await page.ask(text("done")) == "39"

    with served_batch(results) as run:
        asyncio.run(everything(run))
