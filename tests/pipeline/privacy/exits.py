"""Everything that leaves a run: a run of a film with every exit open, and what they gave."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.errors import RunError
from pipeline.records import Frame, SourceInfo, SourceKind
from pipeline.runtime.stream import Stream
from pipeline.settings.output_settings import VirtualCameraSettings, WindowSettings
from pipeline.settings.schema import Settings
from pipeline.sinks.virtual_camera import VirtualCamera
from pipeline.sinks.window import Window
from pipeline.sources.base import SourceState
from pipeline.sources.images import ImagesSource
from pipeline.web.sink import WebSink
from tests.pipeline.fakes import DEADLINE_S, FakeSource
from tests.pipeline.privacy.engines import Failing, Progress
from tests.pipeline.privacy.film import FPS, FRAMES, MOST_UNCOVERED, WALL, WIDTH, Film
from tests.pipeline.sinks.fake_gui import FakeGui, desktop_of
from tests.pipeline.sinks.test_virtual_camera import FakeLibrary
from tests.pipeline.web.served import CONTROL, request

STILL_EVERY, SNAPSHOT_FROM, RECORD_FROM = 3, 20, 22
EXITS = {"script", "script, drawn", "window", "virtual camera", "file", "stills", "JSON masks", "snapshot", "page"}
VIDEO_EXITS = EXITS | {"page's recording"}


@dataclass(frozen=True)
class Footage:
    """What the scene comes from, and the settings that go with it."""

    kind: SourceKind
    settings: dict

    @property
    def is_live(self):
        return self.kind is SourceKind.LIVE or self.settings.get("source") == {"policy": "live"}

    @property
    def is_exact(self):
        """Whether frames are presented when they have been inferred."""
        return self.settings.get("presentation") == "exact"

    @property
    def most_uncovered(self):
        """Frames that are presented with their own result are covered as it says; others as well as can be."""
        return 0.0 if self.is_exact or self is PHOTOGRAPHS else MOST_UNCOVERED

    def source(self, folder, film, gate):
        if self.kind is SourceKind.STILLS:
            return Photographs(folder, film, gate)
        return Hall(self.kind, film, gate)


EXACT = Footage(SourceKind.LIVE, {"presentation": "exact"})
SMOOTH = Footage(SourceKind.LIVE, {"presentation": "smooth"})
RECORDED = Footage(SourceKind.RECORDED, {"presentation": "exact"})
KEYFRAMES = Footage(SourceKind.RECORDED, {"motion": {"infer_every": 7}})
PHOTOGRAPHS = Footage(SourceKind.STILLS, {})
LIVE_PHOTOGRAPHS = Footage(SourceKind.STILLS, {"source": {"policy": "live"}})


class Hall(FakeSource):
    """The scene as a camera or a file."""

    def __init__(self, kind, film, gate):
        super().__init__(FRAMES, kind, gate, clock=time.monotonic)
        self._film = film
        self._state = SourceState()

    @property
    def state(self):
        return self._state

    def open(self):
        return self._info(0)

    def _info(self, index):
        height, width = self._film.size_hw(index)
        return SourceInfo("hall", self.kind, width, height, fps=FPS, time_base=Fraction(1, 1000))

    def read(self):
        frame = super().read()
        if frame is None:
            return None
        image = self._film.image(frame.index)
        if frame.index and frame.index == self._film.enlarged:
            self._state.reopened_as = self._info(frame.index)
        return Frame("hall", frame.index, frame.pts, frame.time_base, frame.captured_at_s, image)


class Photographs(ImagesSource):
    """The scene as a folder of photographs."""

    def __init__(self, folder, film, gate):
        paths = [folder / f"{index:02d}.png" for index in range(FRAMES)]
        for index, path in enumerate(paths):
            cv2.imwrite(str(path), film.image(index), [cv2.IMWRITE_PNG_COMPRESSION, 0])
        super().__init__(paths, "photographs")
        self._gate = gate

    def read(self):
        frame = super().read()
        if frame is not None:
            self._gate(frame.index)
        return frame


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
    """What each exit gave of a film: (frame index, image)."""

    film: Film
    exits: dict[str, list[tuple[int, np.ndarray]]] = field(default_factory=dict)

    def add(self, name, index, image):
        self.exits.setdefault(name, []).append((index, image))

    def worst(self):
        """The largest share of the person's blocks in a frame, by exit."""
        return {
            name: max(self.film.uncovered(image, index) for index, image in got) for name, got in self.exits.items()
        }

    def background_share(self):
        """The share of frames in which the right edge, where nobody comes, is visible to the script."""
        part = np.s_[40:180, WIDTH - 40 :]
        both = [(image[part].mean(axis=2).ravel(), WALL[part].ravel()) for _, image in self.exits["script"]]
        return np.mean([a.std() > 0 and np.corrcoef(a, b)[0, 1] > 0.8 for a, b in both])


def run(folder, engine_type, film, footage, mode="silhouette", press=()):
    """A run with every exit open; returns what they gave.

    Args:
        folder: of its files.
        engine_type: makes the engine, from the progress of the run and the film.
        film: what is to be seen.
        footage: what it comes from, with the settings that go with it.
        mode: of privacy.
        press: frames after which the window is paused, or goes on.
    """
    progress, seen = Progress(shows_all=not footage.is_exact), Seen(film)
    engine, window, camera = engine_type(progress, film), IndexedWindow(folder / "stills"), IndexedCamera()
    fails = engine_type is Failing or "raise" in getattr(engine, "script", ())
    supervised = footage.is_exact or fails
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
    is_watched = footage.kind is SourceKind.RECORDED and not supervised
    clock = quick_clock if is_watched else time.monotonic
    stream = Stream(settings, source=footage.source(folder, film, engine.may_give), segmenter=engine, clock=clock)
    for sink in (window, camera):
        stream.add_sink(sink)
    indices, browser = [], None
    ends = nullcontext() if footage.is_live or not fails else expected_failure(engine_type is Failing)
    with ends, stream:
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
                if index in press:
                    window.gui.press(" ")
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


def quick_clock():
    """Seconds of which 20 go by in one: a file that is watched is presented in its own time."""
    return 20 * time.monotonic()


def expected_failure(is_certain):
    """A run of a file ends when its engine fails, if it comes to that."""
    return pytest.raises(RunError, match="failed on purpose") if is_certain else suppress(RunError)


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
        if self._snapshot is not None:
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
        union = np.zeros((record["height"], record["width"]), np.uint8)
        for found in record["objects"]:
            union |= coco_mask.decode(found["mask"])
        seen.add("JSON masks", record["frame"], union)
