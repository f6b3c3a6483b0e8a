"""The whole page: self-contained, without scripts, whatever names there are."""

from __future__ import annotations

import asyncio
import re
from functools import cache

import pytest

from pipeline.report.page import Problem, Report, Row, Speed, page
from pipeline.report.pictures import PictureSource
from tests.pipeline.report.recordings import NASTY, eventful, recording
from tests.pipeline.report.stored import RUN, line, one
from tests.pipeline.report.test_markup import Reader
from tests.pipeline.web.browser import browser_page, find_browser

NOTHING = PictureSource(None, text=NASTY)


@cache
def single(**names):
    found = eventful(**names)
    return page(Report(names.get("name", "clip"), [Row.of(found)], [(found, NOTHING)]))


@cache
def several(name="clip"):
    found = [eventful(name=f"{name} {i}") for i in range(3)]
    problems = [Problem(f"{name} a", "failed", f"{name} is damaged"), Problem("b", "skipped", "--limit")]
    details = [(one, NOTHING) for one in found[:2]]
    return page(Report(name, [Row.of(one) for one in found], details, problems, Speed(100.0, 303, 2, 0.0314)))


@pytest.mark.parametrize("make", [single, several], ids=["single", "several"])
def test_a_browser_finds_nothing_to_fetch_or_to_run(make):
    html = make()
    tags = Reader(html).tags
    assert not {tag for tag, _ in tags} & {"script", "link", "iframe", "object", "embed", "a", "form", "base"}
    for _, given in tags:
        assert not [key for key in given if key.startswith("on")]
        assert all(given[key].startswith(("data:image/", "#")) for key in ("src", "href", "xlink:href") if key in given)
    assert not re.search(r"url\((?!#)", html)
    assert "@import" not in html
    policy = next(given for tag, given in tags if given.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_names_cannot_become_markup():
    html = single(name=NASTY, label=NASTY, line_name=NASTY, zone_name=NASTY)
    harmless = single()
    assert [tag for tag, _ in Reader(html).tags] == [tag for tag, _ in Reader(harmless).tags]
    assert Reader(html).text.count(NASTY) > 10
    tags = [tag for tag, _ in Reader(several(NASTY)).tags]
    assert tags == [tag for tag, _ in Reader(several()).tags]


def test_several_recordings():
    text = Reader(several()).text
    assert "3 recordings, 0:30 of video" in text
    assert "3 people and 3 buses in 3 recordings." in text
    assert "At most 2 at once: clip 0 at 0:02.0." in text
    assert "door: 21 crossed, 12 in and 9 out." in text
    assert "desk: 0 entered, stayed 3.0 s on average, 5.0 s at most." in text
    assert "1 recording failed; the reasons are below." in text
    assert "processed in1:40rate3.0 fpsworkers2network, a frame31 ms" in text
    assert "clip afailedclip is damaged" in text
    assert "Those with the most objects follow in detail" in text
    assert several().count('<details open="">') == 2


def test_images_among_several_recordings_are_numbered():
    stills = {"run": RUN | {"kind": "stills"}}
    found = recording(*(line(i, *[one()] * (1 + i % 2), pts=0.0, **(stills if i == 0 else {})) for i in range(3)))
    text = Reader(page(Report("all", [Row.of(found)] * 2, [(found, NOTHING)]))).text
    assert "At most 2 at once: clip at image 2." in text
    assert "clip4 people2image 230:00" in text


def test_many_recordings_are_folded_away():
    found = eventful()
    html = page(Report("results", [Row.of(found)] * 4, [(found, NOTHING)] * 4))
    assert html.count("<details>") == 4


def test_nothing_but_failures():
    html = page(Report("results", [], [], [Problem("a.mp4", "failed", "no video")]))
    assert "Nothing was found in 0 recordings." in html
    assert "a.mp4" in html


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser_at_the_width_of_a_phone_and_of_a_screen(tmp_path, width):
    (tmp_path / "report.html").write_text(several(), encoding="utf-8")
    asyncio.run(_look(tmp_path, width))


async def _look(tmp_path, width):
    async with browser_page(find_browser(), tmp_path / "profile") as page:
        await page.open((tmp_path / "report.html").as_uri(), width=width)
        await page.ask("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        assert await page.ask("document.documentElement.scrollWidth") <= width
        shown = "[...document.querySelectorAll('.plot svg')].filter(one => one.getBoundingClientRect().width > 0)"
        assert await page.ask(f"{shown}.length") == 10
        # A pixel of the plot is about a pixel of the page, so that its text can be read.
        assert await page.ask(
            f"{shown}.every(one => Math.abs(one.getBoundingClientRect().width / one.viewBox.baseVal.width - 1) < 0.15)"
        )
        assert page.problems == []
