"""A recorder that is switched on and off while the run goes on; each time on makes a file of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from pipeline.controls import Controls
from pipeline.errors import StreamSegmentError
from pipeline.settings.output_settings import RecorderSettings
from pipeline.sinks.base import Delivery, Presentation, RunContext, Sink
from pipeline.sinks.paths import Inputs
from pipeline.sinks.segments import make_recorder

log = logging.getLogger(__name__)


class SwitchedRecorder(Sink):
    """Records while the controls say so.

    The first recording goes to `settings.path`, if that is set, and the ones after it beside it (out-2.mp4). Without a
    path, a recording is named after the time at which it began, in `folder`. No existing file is overwritten but
    `settings.path`.

    A recording that fails ends the run only if it is the one that `settings.path` asked for; any other is switched off
    and the reason is shown in the controls.

    Args:
        settings: path, quality, sound.
        folder: where recordings go that have no path.
        controls: what switches it; told which file is being written.
        inputs: files that must not be overwritten.
        wall_clock: local time, for the names of files.
    """

    name = "recorder"
    delivery = Delivery.EVERY_FRAME

    def __init__(
        self,
        settings: RecorderSettings,
        folder: Path,
        controls: Controls,
        inputs: Inputs | None = None,
        wall_clock: Callable[[], datetime] = datetime.now,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._controls = controls
        self._inputs = inputs or Inputs()
        self._wall_clock = wall_clock
        self._context: RunContext | None = None
        self._recorder: Sink | None = None
        self._asked_for: Sink | None = None
        self._recorders: list[Sink] = []
        self._take = 0
        self._outputs: list[str] = []

    @property
    def wants_overlay(self) -> bool:  # type: ignore[override]
        """While it records."""
        return self._recorder is not None or self._controls.state.recording

    def open(self, context: RunContext) -> None:
        """Check the recording that was asked for beforehand. Raises InputError."""
        self._context = context
        if self._settings.path is not None:
            self._asked_for = make_recorder(self._settings, self._inputs)
            self._asked_for.open(context)

    def write(self, presentation: Presentation) -> None:
        """Record a frame if the controls stood so when it was drawn. Raises RunError for the recording asked for."""
        controls = presentation.controls or self._controls.state
        if not controls.recording or controls.take != self._take:
            self._finish()
        if not controls.recording or not presentation.drawn:
            return  # not drawn: switched on after the frame was made, the next one has its overlay
        if controls.take != self._take:
            self._take = controls.take
            self._start()
        if self._recorder is not None:  # else this take has failed
            self._guarded(lambda recorder: recorder.write(presentation))

    def idle(self, message: str) -> None:
        """Finish a recording that was switched off while no frame comes. Raises RunError as `write` does."""
        if not self._controls.state.recording:
            self._finish()

    def close(self) -> None:
        """Finish the recording. Raises RunError if that fails and it is the one asked for."""
        self._finish()
        self._context = None

    @property
    def outputs(self) -> Sequence[str]:
        """The recordings, in the order in which they began."""
        return tuple(dict.fromkeys(path for recorder in self._recorders for path in recorder.outputs))

    def _start(self) -> None:
        if self._context is None:
            raise RuntimeError("SwitchedRecorder.write needs open() first")
        if self._asked_for is not None and not self._outputs:
            self._recorder, path = self._asked_for, Path(self._settings.path or "")
        else:
            path = self._new_path()
            self._recorder = make_recorder(self._settings.model_copy(update={"path": str(path)}), self._inputs)
            context = self._context
            self._guarded(lambda recorder: recorder.open(context))
        if self._recorder is not None:
            self._outputs.append(str(path))
            self._recorders.append(self._recorder)
            self._controls.recording_started(str(path))

    def _new_path(self) -> Path:
        """A path at which nothing lies yet; segments are numbered on, and so have one path for all takes."""
        if self._settings.segment_s is not None:
            return Path(self._settings.path or self._folder / "recording.mp4")
        if self._settings.path is not None:
            wanted, number = Path(self._settings.path), 2
        else:
            wanted, number = self._folder / f"{self._wall_clock():%Y-%m-%d_%H-%M-%S}.mp4", 1
        path = wanted if number == 1 else wanted.with_stem(f"{wanted.stem}-{number}")
        while path.exists():
            number += 1
            path = wanted.with_stem(f"{wanted.stem}-{number}")
        return path

    def _finish(self) -> None:
        if self._recorder is None:
            return
        self._guarded(lambda recorder: recorder.close())
        self._recorder = None
        self._controls.recording_ended(self._take)

    def _guarded(self, do: Callable[[Sink], None]) -> None:
        """Do something with the recorder; a failure of a recording that was started while running ends only that."""
        recorder = self._recorder
        assert recorder is not None
        try:
            do(recorder)
        except StreamSegmentError as error:
            if recorder is self._asked_for:
                raise
            log.warning("recording ended: %s", error)
            self._recorder = None
            self._controls.recording_ended(self._take, str(error))
            try:
                recorder.close()
            except StreamSegmentError as another:
                log.debug("closing the failed recording: %s", another)
