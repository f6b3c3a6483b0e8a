"""Whether anybody can be recognized in what leaves a run with privacy on, at every exit, by day and by night.

Somebody with a random texture walks through the scene. In what an exit gave for a frame, an 8x8 block of the person is
uncovered if its pixels correlate with the texture. That of independent noise exceeds 0.5 in one of 30,000 blocks.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from contextlib import nullcontext
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache

import av
import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.errors import RunError
from pipeline.records import Frame, Instances, SourceInfo, SourceKind
from pipeline.runtime.stream import Stream
from pipeline.settings.output_settings import VirtualCameraSettings, WindowSettings
from pipeline.settings.schema import Settings
from pipeline.sinks.virtual_camera import VirtualCamera
from pipeline.sinks.window import Window
from pipeline.sources.images import ImagesSource
from pipeline.web.sink import WebSink
from tests.pipeline.fakes import DEADLINE_S, FakeSegmenter, FakeSource
from tests.pipeline.sinks.fake_gui import FakeGui, desktop_of
from tests.pipeline.sinks.test_virtual_camera import FakeLibrary
from tests.pipeline.web.served import CONTROL, request

HEIGHT, WIDTH, FRAMES, FPS = 200, 320, 60, 25
BLOCK = 8
PERSON_HW = (160, 80)
PERSON_Y = 32
UNCOVERED_FROM = 0.5
LEAST_CONTRAST = 0.5
"""Gray levels, a standard deviation: rounding alone reaches it in files; the person's blocks have 1.8 at least."""
MOST_UNCOVERED = 0.005
STILL_EVERY, SNAPSHOT_FROM, RECORD_FROM = 3, 20, 22
EXITS = {"script", "script, drawn", "window", "virtual camera", "file", "stills", "JSON masks", "snapshot", "page"}
VIDEO_EXITS = EXITS | {"page's recording"}

_random = np.random.default_rng(11)
# Squares of 2x2 blocks: what is left of them in a blurred person does not correlate with the texture within a block.
CLOTHES = np.kron(_random.uniform(0.4, 1.6, (10, 5)), np.ones((2 * BLOCK, 2 * BLOCK)))
TEXTURE = CLOTHES * _random.uniform(0.5, 1.5, PERSON_HW)
"""Reflectance of the person, relative to the mean of the background."""
WALL = cv2.resize(_random.uniform(0.7, 1.3, (10, 16)), (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
WALL *= _random.uniform(0.7, 1.3, (HEIGHT, WIDTH))


@dataclass(frozen=True)
class Light:
    """Mean gray level of the background, and standard deviation of the camera's noise."""

    brightness: float
    noise: float


DAY, NIGHT = Light(100, 2), Light(16, 0.7)
LIGHTS = pytest.mark.parametrize("light", [DAY, pytest.param(NIGHT, marks=pytest.mark.slow)], ids=["day", "night"])


def person_x(index):
    """The person enters from the left and walks 4 pixels a frame."""
    return 4 * index - PERSON_HW[1]


@cache
def scene(index, light):
    """uint8 (H, W, 3): frame `index`, which its first pixel tells the engine."""
    reflectance = WALL.copy()
    x = person_x(index)
    x1, x2 = max(0, x), min(WIDTH, x + PERSON_HW[1])
    reflectance[PERSON_Y : PERSON_Y + PERSON_HW[0], x1:x2] = TEXTURE[:, x1 - x : x2 - x]
    noise = np.random.default_rng(index).normal(0, light.noise, (HEIGHT, WIDTH, 3))
    image = np.clip(np.rint(light.brightness * reflectance[..., None] + noise), 0, 255).astype(np.uint8)
    image[0, 0] = index
    image.flags.writeable = False
    return image


def blocks(image, x1, x2):
    """float64 (N, 64): the blocks between two columns at the person's height, each with mean 0."""
    part = image[PERSON_Y : PERSON_Y + PERSON_HW[0], x1:x2].astype(float)
    rows = part.reshape(PERSON_HW[0] // BLOCK, BLOCK, -1, BLOCK).swapaxes(1, 2).reshape(-1, BLOCK * BLOCK)
    return rows - rows.mean(axis=1, keepdims=True)


CENTERED_TEXTURE = blocks(np.pad(TEXTURE, ((PERSON_Y, 0), (0, 0))), 0, PERSON_HW[1])


def correlations(image, index):
    """float64 (N,): of each block of the person that lies in the frame, with the texture there."""
    x = person_x(index)
    visible = np.array([0 <= x + column <= WIDTH - BLOCK for column in range(0, PERSON_HW[1], BLOCK)])
    if not visible.any():
        return np.zeros(0)
    first, last = x + BLOCK * np.flatnonzero(visible)[[0, -1]]
    shown = blocks(image.mean(axis=2) if image.ndim == 3 else image, first, last + BLOCK)
    texture = CENTERED_TEXTURE[np.tile(visible, PERSON_HW[0] // BLOCK)]
    shown[shown.std(axis=1) < LEAST_CONTRAST] = 0
    spread = np.sqrt(np.square(shown).sum(axis=1) * np.square(texture).sum(axis=1))
    return (shown * texture).sum(axis=1) / np.maximum(spread, 1e-6)


def uncovered(image, index):
    """The share of the person's blocks that can be recognized."""
    found = correlations(image, index)
    return float((found > UNCOVERED_FROM).mean()) if found.size else 0.0


@dataclass(frozen=True)
class Footage:
    """What the scene comes from, and the settings that go with it."""

    kind: SourceKind
    settings: dict

    @property
    def is_live(self):
        return self.kind is SourceKind.LIVE or self.settings.get("source") == {"policy": "live"}

    @property
    def most_uncovered(self):
        """Frames that are presented with their own result are covered as it says; others as well as can be."""
        return 0.0 if self.settings.get("presentation") == "exact" or self is PHOTOGRAPHS else MOST_UNCOVERED

    def source(self, folder, light, gate):
        if self.kind is SourceKind.STILLS:
            return Photographs(folder, light, gate)
        return Hall(self.kind, light, gate)


EXACT = Footage(SourceKind.LIVE, {"presentation": "exact"})
SMOOTH = Footage(SourceKind.LIVE, {"presentation": "smooth"})
KEYFRAMES = Footage(SourceKind.RECORDED, {"motion": {"infer_every": 7}})
PHOTOGRAPHS = Footage(SourceKind.STILLS, {})
LIVE_PHOTOGRAPHS = Footage(SourceKind.STILLS, {"source": {"policy": "live"}})


class Hall(FakeSource):
    """The scene as a camera or a file."""

    def __init__(self, kind, light, gate):
        super().__init__(FRAMES, kind, gate, clock=time.monotonic)
        self._light = light

    def open(self):
        return SourceInfo("hall", self.kind, WIDTH, HEIGHT, fps=FPS, time_base=Fraction(1, 1000))

    def read(self):
        frame = super().read()
        if frame is None:
            return None
        image = scene(frame.index, self._light)
        return Frame("hall", frame.index, frame.pts, frame.time_base, frame.captured_at_s, image)


class Photographs(ImagesSource):
    """The scene as a folder of photographs."""

    def __init__(self, folder, light, gate):
        paths = [folder / f"{index:02d}.png" for index in range(FRAMES)]
        for index, path in enumerate(paths):
            cv2.imwrite(str(path), scene(index, light), [cv2.IMWRITE_PNG_COMPRESSION, 0])
        super().__init__(paths, "photographs")
        self._gate = gate

    def read(self):
        frame = super().read()
        if frame is not None:
            self._gate(frame.index)
        return frame


class Progress:
    """How far a run has come, in frames, and the turns of those who wait for it.

    Attributes:
        shows_all: whether frames are presented before they were inferred.
    """

    def __init__(self, shows_all):
        self.shows_all = shows_all
        self.given, self.inferring, self.presented = 0, 0, 0
        self.ended = False
        self._changed = threading.Condition()

    def advance(self, **counts):
        with self._changed:
            for name, count in counts.items():
                setattr(self, name, max(getattr(self, name), count))
            self._changed.notify_all()

    def end(self):
        self.advance(ended=True)

    def wait_for(self, condition):
        with self._changed:
            self._changed.wait_for(lambda: self.ended or condition(), DEADLINE_S)


class Prompt(FakeSegmenter):
    """Finds the person in every frame."""

    def __init__(self, progress):
        super().__init__()
        self.progress = progress

    def may_give(self, index):
        """The gate of the source: a frame comes when the one before has been presented."""
        self.progress.wait_for(lambda: self.progress.presented >= index)
        self.progress.advance(given=index + 1)
        return True

    def segment(self, image_bgr):
        index = int(image_bgr[0, 0, 0])
        x1, x2 = max(0, person_x(index)), min(WIDTH, person_x(index) + PERSON_HW[1])
        if x2 <= x1:
            return Instances.empty()
        box = np.array([[x1, PERSON_Y, x2, PERSON_Y + PERSON_HW[0]]], np.float32)
        return Instances(box, np.array([1], np.int32), np.array([0.9], np.float32), np.ones((1, 28, 28), np.float32))


class Late(Prompt):
    """Each result takes as long as nine frames, and until the one before has been presented."""

    LAG = 9

    def __init__(self, progress):
        super().__init__(progress)
        self._last = -1

    def may_give(self, index):
        """Frames come while the engine works, as many as it is late."""
        self.progress.wait_for(lambda: self.progress.inferring + self.LAG >= index)
        if self.progress.shows_all:
            return super().may_give(index)
        self.progress.advance(given=index + 1)
        return True

    def segment(self, image_bgr):
        index = int(image_bgr[0, 0, 0])
        self.progress.advance(inferring=index)
        last, self._last = self._last, index
        self.progress.wait_for(
            lambda: self.progress.given >= min(index + self.LAG, FRAMES) and self.progress.presented > last
        )
        return super().segment(image_bgr)


class Held(Prompt):
    """Answers for a keyframe when all frames before it have been presented: none is while it works."""

    def segment(self, image_bgr):
        self.progress.wait_for(lambda: self.progress.presented >= int(image_bgr[0, 0, 0]))
        return super().segment(image_bgr)

    def may_give(self, index):
        """A file is read as fast as its frames are taken."""
        return True


class Repeating(Prompt):
    """Gives each result twice: the second time for the frame after, unless that was dropped."""

    def __init__(self, progress):
        super().__init__(progress)
        self._last = None

    def segment(self, image_bgr):
        index, last, self._last = int(image_bgr[0, 0, 0]), self._last, None
        if last is not None and last[0] == index - 1:
            return last[1]
        result = super().segment(image_bgr)
        self._last = index, result
        return result


class Hanging(Prompt):
    """Does not answer for frames 25 to 27; unless something restarts it, it does not see the others."""

    def segment(self, image_bgr):
        if 25 <= int(image_bgr[0, 0, 0]) <= 27:
            self.progress.wait_for(lambda: False)
        return super().segment(image_bgr)


class Failing(Prompt):
    """Fails at every fifth frame."""

    def segment(self, image_bgr):
        if int(image_bgr[0, 0, 0]) % 5 == 3:
            raise RuntimeError("failed on purpose")
        return super().segment(image_bgr)


class IndexedWindow(Window):
    """Keeps what was on the screen and in stills, and of which frame: slates show the last one."""

    def __init__(self, stills_dir):
        self.gui, self.shown, self.stills, self._index = FakeGui(), [], [], 0
        super().__init__(WindowSettings(stills_dir=str(stills_dir)), desktop=desktop_of(self.gui))

    def write(self, presentation):
        self._index = presentation.segmented.frame.index
        super().write(presentation)
        self._keep()

    def idle(self, message):
        if self.paused:
            self.gui.press(" ")  # an image stays until a key
        super().idle(message)
        self._keep()

    def _keep(self):
        self.shown += [(self._index, image) for image in self.gui.shown]
        self.gui.shown.clear()
        self.stills += [(self._index, path) for path in self.outputs[len(self.stills) :]]


class IndexedCamera(VirtualCamera):
    """Keeps which frame the device got: viewers skip frames."""

    def __init__(self):
        self.device, self.indices = FakeLibrary(), []
        super().__init__(VirtualCameraSettings(device="auto"), self.device)

    def write(self, presentation):
        super().write(presentation)
        self.indices.append(presentation.segmented.frame.index)


@dataclass
class Seen:
    """What each exit gave: (frame index, image)."""

    exits: dict[str, list[tuple[int, np.ndarray]]] = field(default_factory=dict)

    def add(self, name, index, image):
        self.exits.setdefault(name, []).append((index, image))

    def worst(self):
        """The largest share of the person's blocks in a frame, by exit."""
        return {name: max(uncovered(image, index) for index, image in got) for name, got in self.exits.items()}

    def background_share(self):
        """The share of frames in which the right edge, where nobody comes, is visible to the script."""
        part = np.s_[40:180, WIDTH - 40 :]
        both = [(image[part].mean(axis=2).ravel(), WALL[part].ravel()) for _, image in self.exits["script"]]
        return np.mean([a.std() > 0 and np.corrcoef(a, b)[0, 1] > 0.8 for a, b in both])


def run(folder, engine_type, light, footage, mode="silhouette"):
    """A run with every exit open; returns what they gave."""
    progress, seen = Progress(shows_all=footage is not EXACT), Seen()
    engine, window, camera = engine_type(progress), IndexedWindow(folder / "stills"), IndexedCamera()
    supervised = footage is EXACT or engine_type is Failing
    output = "out/" if footage.kind is SourceKind.STILLS else "out.mkv"
    settings = Settings.model_validate(
        {
            "window": {"mode": "off"},
            "overlay": {"status": False, "labels": False},
            "privacy": {"mode": mode, "classes": ["thing"], "late_after_s": 1.0},
            "supervision": {"restart": supervised, "timeout_s": 0.3, "start_timeout_s": 0.3, "restarts": 1000},
            "output": {"path": f"{folder}/{output}", "crf": 4, "preset": "ultrafast", "record_dir": str(folder)},
            "detections": {"path": str(folder / "out.jsonl")},
            "serve": {"address": "0", "jpeg_quality": 95},
            **footage.settings,
        }
    )
    stream = Stream(settings, source=footage.source(folder, light, engine.may_give), segmenter=engine)
    for sink in (window, camera):
        stream.add_sink(sink)
    fails = engine_type is Failing and not footage.is_live
    indices, browser = [], None
    with pytest.raises(RunError, match="failed on purpose") if fails else nullcontext(), stream:
        (page,) = [sink for sink in stream.sinks if isinstance(sink, WebSink)]
        browser = Browser(page, progress, records=footage.kind is not SourceKind.STILLS)
        try:
            for item in stream:
                index = item.frame.index
                indices.append(index)
                seen.add("script", index, item.frame.image_bgr)
                seen.add("script, drawn", index, stream.draw(item))
                if len(indices) % STILL_EVERY == 0:
                    window.gui.press("s")
                browser.visit(index)
                progress.advance(presented=index + 1)
                if index == FRAMES - 1:
                    progress.end()
        finally:
            progress.end()
    for index, image in window.shown:
        seen.add("window", index, image)
    for index, path in window.stills:
        seen.add("stills", index, cv2.imread(path))
    for index, image in zip(camera.indices, camera.device.frames, strict=True):
        seen.add("virtual camera", index, image)
    collect_files(seen, folder, indices[0], browser.recording_from)
    browser.collect(seen)
    return seen


class Browser:
    """Somebody at the page, who watches, requests a snapshot, and starts a recording."""

    def __init__(self, page, progress, records):
        self._page, self._progress, self._records = page, progress, records
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._live = opener.open(page.page.url + "stream.mjpg", timeout=DEADLINE_S)
        self._seen, self._snapshot, self._switched = [], None, False
        self.recording_from = None

    def visit(self, index):
        """After each frame, which is on the page when this returns."""
        self._seen.append((index, self._next_picture()))
        if self._switched and self.recording_from is None:
            self.recording_from = index
        if self._records and not self._switched and index >= RECORD_FROM:
            self._switched = True
            for on in (b"false", b"true"):
                status, _, body = request(self._page.page.url + "api/recording", b'{"on": %s}' % on, CONTROL)
                assert status == 200, body
        if self._snapshot is None and index >= SNAPSHOT_FROM:
            self._snapshot = Snapshot(self._page, index, self._progress)

    def _next_picture(self):
        while line := self._live.readline():
            name, _, value = line.partition(b":")
            if name == b"Content-Length":
                self._live.readline()
                return cv2.imdecode(np.frombuffer(self._live.read(int(value)), np.uint8), cv2.IMREAD_COLOR)
        raise AssertionError("the live pictures ended before the run")

    def collect(self, seen):
        self._live.close()
        for index, image in self._seen:
            seen.add("page", index, image)
        self._snapshot.collect(seen)


class Snapshot(threading.Thread):
    """Requests a snapshot from the page, as a browser does."""

    def __init__(self, page, index, progress):
        super().__init__()
        self._url, self._first, self._progress = page.page.url + "snapshot.jpg", index, progress
        self._answer = None
        self.start()
        end_s = time.monotonic() + DEADLINE_S
        while page.feed.stills.count == 0 and self.is_alive() and time.monotonic() < end_s:
            self.join(0.002)  # until the page has the request: the next frame answers it

    def run(self):
        status, _, body = request(self._url)
        assert status == 200, body
        self._answer = self._progress.presented, cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)

    def collect(self, seen):
        """Which frame it shows is not in it: one of those that were presented meanwhile."""
        self.join(DEADLINE_S)
        last, image = self._answer
        for index in range(self._first, min(last + 2, FRAMES)):
            seen.add("snapshot", index, image)


def collect_files(seen, folder, first_index, recording_from):
    """What lies in the files of a run."""
    for name, path, start in (
        ("file", folder / "out.mkv", first_index),
        ("page's recording", folder / "out-2.mkv", recording_from),
    ):
        if path.exists():
            with av.open(str(path)) as file:
                for frame in file.decode(video=0):
                    seen.add(name, start + round(frame.time * FPS), frame.to_ndarray(format="bgr24"))
    for path in (folder / "out").glob("*.png"):
        seen.add("file", int(path.stem), cv2.imread(str(path)))
    for line in (folder / "out.jsonl").read_text().splitlines():
        record = json.loads(line)
        union = np.zeros((HEIGHT, WIDTH), np.uint8)
        for found in record["objects"]:
            union |= coco_mask.decode(found["mask"])
        seen.add("JSON masks", record["frame"], union)


def assert_nobody_recognized(seen, footage):
    assert set(seen.exits) == (EXITS if footage.kind is SourceKind.STILLS else VIDEO_EXITS)
    assert {name: share for name, share in seen.worst().items() if share > footage.most_uncovered} == {}


@pytest.mark.parametrize("footage", [EXACT, SMOOTH], ids=["exact", "smooth"])
@LIGHTS
@pytest.mark.parametrize("engine", [Prompt, Late, Repeating, Hanging, Failing])
def test_nobody_can_be_recognized_at_any_exit(tmp_path, engine, light, footage):
    seen = run(tmp_path, engine, light, footage)
    assert_nobody_recognized(seen, footage)
    assert seen.background_share() > 0.1, "a picture that is all covered proves nothing"


@LIGHTS
@pytest.mark.parametrize("engine", [Prompt, Held, Failing])
def test_nobody_can_be_recognized_between_keyframes_of_a_file(tmp_path, engine, light):
    seen = run(tmp_path, engine, light, KEYFRAMES)
    assert_nobody_recognized(seen, KEYFRAMES)
    assert seen.background_share() > 0.1
    shown = [index for index, _ in seen.exits["script"]]
    assert shown == list(range(28 if engine is Failing else FRAMES))


@LIGHTS
def test_nobody_can_be_recognized_in_photographs(tmp_path, light):
    seen = run(tmp_path, Prompt, light, PHOTOGRAPHS)
    assert_nobody_recognized(seen, PHOTOGRAPHS)
    assert seen.background_share() == 1.0


@pytest.mark.parametrize("engine", [Late, Repeating, Hanging, Failing])
def test_nobody_can_be_recognized_in_photographs_that_do_not_wait_for_their_result(tmp_path, engine):
    seen = run(tmp_path, engine, DAY, LIVE_PHOTOGRAPHS)
    assert_nobody_recognized(seen, LIVE_PHOTOGRAPHS)


@pytest.mark.parametrize("mode", ["blur", "pixelate"])
def test_nobody_can_be_recognized_in_a_blur_or_in_cells(tmp_path, mode):
    """Silhouettes above are flat; a gradient correlates with the texture of a block now and then, by chance."""
    seen = run(tmp_path, Late, DAY, SMOOTH, mode)
    assert max(seen.worst().values()) <= MOST_UNCOVERED
    assert seen.background_share() > 0.1


@pytest.mark.parametrize("footage", [EXACT, SMOOTH, KEYFRAMES, PHOTOGRAPHS], ids=["exact", "smooth", "keys", "photos"])
@LIGHTS
def test_without_privacy_every_exit_that_has_pixels_fails_the_proof(tmp_path, light, footage):
    worst = run(tmp_path, Prompt, light, footage, mode="off").worst()
    assert set(worst) == (EXITS if footage.kind is SourceKind.STILLS else VIDEO_EXITS)
    assert {name for name, share in worst.items() if share < 0.6} == {"JSON masks"}
