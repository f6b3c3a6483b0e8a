"""Several cameras that share one engine, each in front of a film of its own, and what leaves the run of each."""

from __future__ import annotations

from pathlib import Path

from pipeline.runtime.camera_group import Cameras
from pipeline.sinks.base import Delivery, Sink
from tests.pipeline.privacy.engines import Progress, Scripted
from tests.pipeline.privacy.exits import Hall, Seen, collect_files
from tests.pipeline.privacy.film import FRAMES


class Shared(Scripted):
    """An engine that gets the frames of all cameras."""

    def __init__(self, films, progresses):
        super().__init__(None, None)
        self._films, self._progresses = films, progresses

    def segment(self, image_bgr):
        camera = int(image_bgr[0, 1, 0])
        return self.act(image_bgr, self._progresses[camera], self._films[camera])

    def gate(self, camera):
        """When the source of a camera may give a frame: once the one before has been presented."""

        def may_give(index):
            progress = self._progresses[camera]
            progress.wait_for(lambda: progress.presented >= index)
            progress.advance(given=index + 1)
            return True

        return may_give


class Watching(Sink):
    """Keeps what a camera's run gives to scripts and to viewers."""

    name, delivery, wants_overlay = "watching", Delivery.EVERY_FRAME, True

    def __init__(self, seen, progress):
        self._seen, self._progress = seen, progress
        self.first = None

    def open(self, context):
        pass

    def write(self, presentation):
        frame = presentation.segmented.frame
        self.first = frame.index if self.first is None else self.first
        self._seen.add("script", frame.index, frame.image_bgr)
        self._seen.add("script, drawn", frame.index, presentation.annotated_bgr)
        self._progress.advance(presented=frame.index + 1)
        if frame.index == FRAMES - 1:
            self._progress.end()

    def close(self):
        self._progress.end()


def run_cameras(folder: Path, films, footage, script, mode) -> list[Seen]:
    """A run with a camera for each film, which all show their number in their second pixel."""
    progresses = [Progress(shows_all=True) for _ in films]
    engine = Shared(films, progresses)
    engine.script = script
    seen = [Seen(film) for film in films]
    watching = [Watching(*both) for both in zip(seen, progresses, strict=True)]
    for number in range(len(films)):
        (folder / f"c{number}").mkdir()
    settings = {
        "cameras": [{"name": f"c{number}", "uri": "test:"} for number in range(len(films))],
        "window": {"mode": "off"},
        "overlay": {"status": False, "labels": False},
        "privacy": {"mode": mode, "classes": ["thing"], "late_after_s": 1.0},
        "supervision": {"restart": True, "timeout_s": 0.3, "start_timeout_s": 0.3, "restarts": 1000},
        "output": {"path": f"{folder}/{{camera}}/out.mkv", "crf": 4, "preset": "ultrafast", "min_free_bytes": 0},
        "detections": {"path": f"{folder}/{{camera}}/out.jsonl"},
        **footage.settings,
    }
    cameras = Cameras(
        settings,
        segmenter=engine,
        source_of=lambda name, _: Hall(footage.kind, films[int(name[1:])], engine.gate(int(name[1:]))),
    )
    cameras.add_sinks(lambda entry: watching[int(entry.name[1:])])
    with cameras:
        cameras.run()
    for number, watcher in enumerate(watching):
        collect_files(seen[number], folder / f"c{number}", watcher.first, None)
    return seen
