"""The page in a real browser: the picture moves, the numbers change, the switches switch, a stall shows as such."""

import asyncio
import threading

import pytest

from pipeline.settings.output_settings import ColorBy
from pipeline.threads.stage import THREAD_PREFIX
from tests.pipeline.web.browser import browser_page, find_browser
from tests.pipeline.web.served import Camera, TwoThings, served
from tests.pipeline.web.served_cameras import DEADLINE_S, served_cameras

BROWSER = find_browser()
pytestmark = pytest.mark.browser

COPY = """(() => {
  const copy = new OffscreenCanvas(picture.width, picture.height);
  const pen = copy.getContext("2d", { willReadFrequently: true });
  pen.drawImage(picture, 0, 0);
  return pen;
})()"""
FINGERPRINT = f"{COPY}.getImageData(0, 0, picture.width, picture.height).data.reduce((a, b) => (a * 31 + b) % 1000003)"
STATE = "document.getElementById('state')"


class AnsweringCamera(Camera):
    """Holds the thread of the page's server while `answers` is cleared: the server asks why no frame comes."""

    def __init__(self):
        super().__init__()
        self.answers = threading.Event()
        self.answers.set()

    @property
    def state(self):
        if threading.current_thread().name == f"{THREAD_PREFIX}page server":
            self.answers.wait(DEADLINE_S)
        return super().state


def pixel(x, y):
    return f"[...{COPY}.getImageData({x}, {y}, 1, 1).data].slice(0, 3)"


async def try_live(page, run):
    await page.open(run.url)
    await page.until(f"{STATE}.dataset.state === 'good'")
    assert await page.ask(f"{STATE}.textContent") == "Live"
    assert await page.ask("[picture.width, picture.height]") == [322, 180]
    assert await page.ask("document.getElementById('source').textContent") == "camera <1>"
    before = await page.ask(FINGERPRINT)
    await page.until(f"{FINGERPRINT} !== {before}")
    frames = await page.ask("document.querySelector('#facts dd:nth-of-type(4)').textContent")
    await page.until(f"document.querySelector('#facts dd:nth-of-type(4)').textContent !== {frames!r}")
    await page.until("document.querySelectorAll('#rates path')[2].getAttribute('d').split(' ').length > 2")
    await page.until("document.querySelector('#rates li:nth-child(3) .value').textContent > '1'")
    assert await page.ask("[...document.querySelectorAll('#objects li')].map((li) => li.innerText.split(/\\s+/))") == [
        ["other", "1"],
        ["thing", "1"],
    ]


async def try_switches(page, run):
    inside_mask = pixel(250, 120)
    masked = await page.ask(inside_mask)
    assert max(masked) - min(masked) > 20  # colored
    await page.ask("document.querySelector('[data-switch=masks]').click()")
    await page.until(f"Math.max(...{inside_mask}.map((v) => Math.abs(v - 60))) < 6")
    assert run.stream.controls.state.overlay.masks is False
    await page.ask("document.querySelector('[data-switch=masks]').click()")
    await page.until(f"JSON.stringify({inside_mask}) !== '[60,60,60]'")
    select = "document.getElementById('color-by')"
    await page.ask(f"{select}.value = 'track'; {select}.dispatchEvent(new Event('change'))")
    # The threshold takes the object of score 0.5 away and leaves the one of 0.9.
    await page.ask("threshold.value = 0.7; threshold.dispatchEvent(new Event('input'))")
    await page.until(f"Math.max(...{inside_mask}.map((v) => Math.abs(v - 60))) < 6")
    await page.until("document.querySelector('#objects li[data-name=other] .value').textContent === '0'")
    assert await page.ask("document.querySelector('#objects li[data-name=thing] .value').textContent") == "1"
    assert run.stream.controls.state.min_score == 0.7
    assert run.stream.controls.state.overlay.color_by is ColorBy.TRACK
    await page.ask("threshold.value = threshold.min; threshold.dispatchEvent(new Event('input'))")
    await page.until("document.querySelector('#objects li[data-name=other] .value').textContent === '1'")


async def try_recording(page, run, folder):
    await page.ask("record.click()")
    await page.until("saved.textContent.startsWith('Recording to ')")
    assert await page.ask("record.textContent") == "Stop recording"
    await page.ask("record.click()")
    await page.until("saved.textContent.startsWith('Saved as ') && record.textContent === 'Start recording'")
    (recording,) = folder.glob("*.mp4")
    rows = "[...document.querySelectorAll('#recordings li')]"
    await page.until(f"{rows}.length === 1 && {rows}[0].querySelector('a[download]') !== null")
    assert await page.ask(f"{rows}[0].querySelector('.name').textContent") == recording.name
    assert (
        await page.ask(f"{rows}[0].querySelector('a[download]').getAttribute('href')") == f"recordings/{recording.name}"
    )
    # A player seeks in it: behind what it has loaded, with a range.
    await page.ask(
        "window.player = Object.assign(document.createElement('video'), "
        "{ preload: 'metadata', muted: true, src: document.querySelector('#recordings a').href })"
    )
    await page.until("player.readyState >= 1 && player.duration > 0 && player.seekable.end(0) > 0")
    await page.ask("player.currentTime = player.duration * 0.8")
    await page.until("!player.seeking && player.readyState >= 2")
    assert await page.ask("[player.videoWidth, player.videoHeight]") == [322, 180]
    await page.ask("player.removeAttribute('src'); player.load()")
    page.accepts = False
    await page.ask(f"{rows}[0].querySelector('button').click()")
    assert page.dialogs[0].startswith(f"Delete {recording.name} (")
    assert recording.exists()
    page.accepts = True
    await page.ask(f"{rows}[0].querySelector('button').click()")
    await page.until("document.getElementById('recordings').hidden && saved.hidden")
    assert not recording.exists()


async def try_history(page, run):
    """A page that is opened late shows what was before, at once."""
    await page.until("document.querySelector('#rates path').getAttribute('d').split(' ').length > 4")
    await page.open(run.url)
    await page.until("window.player === undefined && document.querySelectorAll('#rates path').length === 3")
    assert await page.ask("document.querySelector('#rates path').getAttribute('d').split(' ').length") > 4
    await page.until(f"{STATE}.textContent === 'Live'")


async def try_silence(page, run):
    """The server keeps the connections open but sends nothing."""
    run.camera.answers.clear()
    await page.until(f"{STATE}.dataset.state === 'bad'")
    await page.until(f"{STATE}.textContent === 'Connection lost, retrying …'")
    run.camera.answers.set()
    await page.until(f"{STATE}.textContent === 'Live'")


async def try_stall(page, run):
    run.camera.flowing.clear()
    await page.until(f"{STATE}.dataset.state === 'bad'")
    assert await page.ask(f"{STATE}.textContent") == "Stalled: no new picture"
    assert await page.ask("!banner.hidden && banner.textContent.startsWith('Stalled: no new picture for ')")
    run.camera.flowing.set()
    await page.until(f"{STATE}.textContent === 'Live'")


def test_the_page_in_a_browser(tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()

    async def everything(run):
        async with browser_page(BROWSER, tmp_path / "profile") as page:
            await try_live(page, run)
            assert page.problems == []  # nothing blocked, nothing missing, nothing thrown
            await try_switches(page, run)
            await try_recording(page, run, folder)
            await try_history(page, run)
            await try_stall(page, run)
            await try_silence(page, run)
            assert page.problems == []
            await page.resize(390, 844, mobile=True)
            assert await page.ask("document.documentElement.scrollWidth") <= 390
            heights = (
                "[...document.querySelectorAll('button:not([hidden]), .switches label')].map((e) => e.offsetHeight)"
            )
            assert min(await page.ask(heights)) >= 44  # a finger's width

    with served(AnsweringCamera(), output={"record_dir": str(folder)}, overlay={"status": False}) as run:
        asyncio.run(everything(run))


def test_the_page_reports_the_end_of_the_run_and_finds_the_next_one(tmp_path):
    async def over_and_again():
        async with browser_page(BROWSER, tmp_path / "profile") as page:
            with served() as run:
                port = run.port
                await page.open(run.url)
                await page.until(f"{STATE}.textContent === 'Live'")
            await page.until(f"{STATE}.dataset.state === 'bad'")
            assert await page.ask(f"{STATE}.textContent") in (
                "The run has ended. Waiting for the next one …",
                "Connection lost, retrying …",
            )
            with served(serve={"address": str(port)}):
                await page.until(f"{STATE}.textContent === 'Live'")

    asyncio.run(over_and_again())


def test_the_token_in_the_address_opens_the_page_and_vanishes_from_the_address(tmp_path):
    async def with_token(run):
        async with browser_page(BROWSER, tmp_path / "profile") as page:
            await page.open(run.url)
            assert "A token is required" in await page.ask("document.body.innerText")
            await page.open(f"{run.url}?token={run.sink.page.token}")
            await page.until(f"{STATE}.textContent === 'Live'")
            assert await page.ask("location.href") == run.url
            assert await page.ask("document.cookie") == ""  # no script can read it
            await page.ask("document.querySelector('[data-switch=boxes]').click()")
            await page.until("fetch('/api/status').then((a) => a.json()).then((s) => s.display.boxes)")

    with served(serve={"token": "correct-horse-battery"}) as run:
        asyncio.run(with_token(run))


def test_a_page_that_finds_all_places_taken_says_so_until_one_is_free(tmp_path):
    async def everything(run):
        feed = run.sink.feed
        async with browser_page(BROWSER, tmp_path / "profile") as page:
            with feed.listeners.watching(), feed.pictures.watching():
                await page.open(run.url)
                await page.until(f"{STATE}.textContent === 'the limit of 1 viewers is reached (serve.max_viewers)'")
            await page.until(f"{STATE}.textContent === 'Live'")

    with served(serve={"max_viewers": 1}) as run:
        asyncio.run(everything(run))


def tile(camera, expression):
    return f"document.querySelector('[data-camera={camera}]'){expression}"


async def try_grid(page, run):
    await page.open(run.url)
    await page.until(f"{STATE}.textContent === 'Live' && document.querySelectorAll('.tile').length === 3")
    for camera in ("hall", "gate"):
        await page.until(f"{tile(camera, '.querySelector(`.words`)')}.hidden")
        await page.until(f"{tile(camera, '.querySelector(`canvas`)')}.height === 180")  # a picture has come
        await page.until(f"/fps · 1 other, 1 thing$/.test({tile(camera, '.querySelector(`.numbers`).textContent')})")
    assert await page.ask(tile("cellar", ".querySelector('.words').textContent")) == "disabled"
    await page.ask(tile("cellar", ".querySelector('input').click()"))
    await page.until(f"{tile('cellar', '.querySelector(`.words`)')}.hidden")
    await page.ask(tile("gate", ".querySelector('input').click()"))
    await page.until(f"{tile('gate', '.querySelector(`.words`)')}.textContent === 'disabled'")
    assert await page.ask(tile("gate", ".classList.contains('stale')"))
    run.sources["hall"].flowing.clear()
    await page.until(f"{STATE}.textContent === '1 of 2 live'")
    assert await page.ask(tile("hall", ".classList.contains('stale')"))
    run.sources["hall"].flowing.set()
    await page.until(f"{STATE}.textContent === 'Live'")
    assert page.problems == []
    await page.resize(390, 844, mobile=True)
    assert await page.ask("document.documentElement.scrollWidth") <= 390


async def try_page_of_a_camera(page, run):
    await page.open(await page.ask(tile("hall", ".querySelector('h2 a').href")))
    assert await page.ask("location.pathname") == "/cameras/hall/"
    await page.until(f"{STATE}.textContent === 'Live'")
    assert await page.ask("document.getElementById('source').textContent") == "hall"
    await page.ask("document.querySelector('[data-switch=boxes]').click()")
    await page.until("fetch('api/status').then((a) => a.json()).then((s) => s.display.boxes)")
    assert run.cameras.entries["cellar"].controls.state.overlay.boxes is False
    assert page.problems == []
    assert await page.ask("document.getElementById('all').href") == run.url


def test_the_grid_and_the_page_of_a_camera(tmp_path):
    async def everything(run):
        async with browser_page(BROWSER, tmp_path / "profile") as page:
            await try_grid(page, run)
            await try_page_of_a_camera(page, run)

    with served_cameras("hall", "gate", "cellar", disabled=("cellar",), serve={"stalled_after_s": 1.0}) as run:
        asyncio.run(everything(run))


def test_until_the_networks_first_result_live_pictures_have_a_notice(tmp_path):
    prepared = threading.Event()

    class Preparing(TwoThings):
        def segment(self, image_bgr):
            prepared.wait(DEADLINE_S)
            return super().segment(image_bgr)

    async def everything(run):
        async with browser_page(BROWSER, tmp_path / "profile") as page:
            await page.open(run.url)
            await page.until(f"{tile('hall', '?.querySelector(`canvas`).height')} === 180")
            words = tile("hall", ".querySelector('.words')")
            await page.until(f"{words}.textContent === 'loading the model'")
            await page.until(f"/fps$/.test({tile('hall', '.querySelector(`.numbers`).textContent')})")
            await page.until(f"{STATE}.textContent === 'Live'")
            assert not await page.ask(tile("hall", ".classList.contains('stale')"))
            prepared.set()
            await page.until(f"{words}.hidden")
            assert page.problems == []

    with served_cameras("hall", segmenter=Preparing()) as run:
        asyncio.run(everything(run))


def type_into(form, **values):
    """Fills the fields of a form and submits it."""
    fields = "".join(f"form.elements[{name!r}].value = {value!r};" for name, value in values.items())
    return f"(() => {{ const form = {form}; {fields} form.requestSubmit(); }})()"


def test_cameras_are_added_changed_and_removed_on_the_page(tmp_path):
    async def everything(run):
        async with browser_page(BROWSER, tmp_path / "profile") as page:
            await page.open(run.url)
            await page.until(f"!add.hidden && {STATE}.textContent === 'Live'")
            roof = {"name": "roof", "uri": "rtsp://joe:secret-word@cam.lan/live", "detect_uri": "rtsp://cam.lan/sub"}
            await page.ask(type_into("add", name="Gate", uri="test:320x240"))
            await page.until("message.textContent === 'Name: there is a camera gate already; case makes no difference'")
            await page.ask(type_into("add", **roof))
            await page.until("document.querySelectorAll('.tile').length === 3 && add.elements.detect_uri.value === ''")
            (camera,) = [camera for camera in run.cameras.settings.cameras if camera.name == "roof"]
            assert (camera.uri.reveal(), camera.detect_uri.reveal()) == (roof["uri"], roof["detect_uri"])
            form = tile("roof", ".querySelector('form')")
            placeholders = f"[...{form}.querySelectorAll('input')].map((input) => input.placeholder)"
            assert await page.ask(placeholders) == ["rtsp://***@cam.lan/live", "rtsp://cam.lan/sub"]
            await page.ask(tile("roof", ".querySelector('summary').click()"))
            await page.ask(type_into(form, detect_uri="rtsp://cam.lan/sub2"))
            await page.until(f"{placeholders}[1] === 'rtsp://cam.lan/sub2'")
            await page.until("!" + tile("roof", ".querySelector('details').open"))  # until the answer is there, too
            await page.ask(type_into(form, uri="rtsp://evil.example/"))
            await page.until("!message.hidden && message.textContent.includes('serve.camera_sources')")
            page.problems.clear()  # the refusal
            await page.ask(type_into(form, uri="test:320x240"))
            await page.until(f"{placeholders}.join(' ') === 'test:320x240 none'")
            await page.resize(390, 844, mobile=True)
            assert await page.ask("document.documentElement.scrollWidth") <= 390
            await page.ask(f"{form}.querySelector('[type=button]').click()")
            await page.until("document.querySelectorAll('.tile').length === 2")
            assert page.dialogs == ["Remove roof from this run?"]
            assert page.problems == []

    serve = {"edit_cameras": True, "camera_sources": ["test:320x240", "rtsp://cam.lan"]}
    with served_cameras("hall", "gate", serve=serve) as run:
        asyncio.run(everything(run))
