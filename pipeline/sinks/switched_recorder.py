"""A recorder that is switched on and off during the run; each recording is a file of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipeline.controls import Controls
from pipeline.errors import RunError, StreamSegmentError
from pipeline.file_names import user_path
from pipeline.settings.output_settings import RecorderSettings
from pipeline.sinks.base import Delivery, Presentation, RunContext, Sink
from pipeline.sinks.paths import Outputs, check_folder
from pipeline.sinks.recorder import Recorder
from pipeline.sinks.segments import make_recorder

log = logging.getLogger(__name__)


_FAILURES = (StreamSegmentError, OSError, ValueError)
"""What a recording can fail with: PyAV raises ValueError and OSError besides."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording of this run.

    Attributes:
        path: the file.
        writing: whether it is still being written.
    """

    path: Path
    writing: bool


class SwitchedRecorder(Sink):
    """Records while the controls are set to recording.

    The first recording goes to `settings.path`, if set, and later ones next to it (out-2.mp4). Without a path,
    recordings are named after the time at which they begin, and the camera in a run with several, in `folder`. Names
    that are taken get a number. Segments are kept within their limits also while nothing is recorded.

    A failure of the recording to `settings.path` ends the run; any other recording is switched off, and the controls
    show the reason.

    Args:
        settings: path, quality, audio.
        folder: for recordings without a path.
        controls: switch the recording, and show its file.
        camera: its name in a run with several.
        outputs: the files that the run writes, the one at `settings.path` among them.
        wall_clock: local time, for file names.
        make: makes the recorder of each recording.
    """

    name = "recorder"
    delivery = Delivery.EVERY_FRAME

    def __init__(
        self,
        settings: RecorderSettings,
        folder: Path,
        controls: Controls,
        camera: str | None = None,
        outputs: Outputs | None = None,
        wall_clock: Callable[[], datetime] = datetime.now,
        make: Callable[[RecorderSettings, Outputs], Recorder] = make_recorder,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._controls = controls
        self._camera = camera
        self._outputs = outputs or Outputs()
        self._wall_clock, self._make = wall_clock, make
        self._context: RunContext | None = None
        self._recorder: Recorder | None = None
        self._requested: Recorder | None = None
        self._next: Recorder | None = None
        self._limits_problem = ""
        self._recorders: list[Recorder] = []
        self._take = 0

    @property
    def wants_overlay(self) -> bool:  # type: ignore[override]
        """Whether it records."""
        return self._recorder is not None or self._controls.state.recording

    @property
    def wants_frames(self) -> bool:  # type: ignore[override]
        """Whether it records; `idle` ends a recording that was switched off before its first frame was written."""
        return self.wants_overlay

    def open(self, context: RunContext) -> None:
        """Check the path in the settings, if any. Raises InputError."""
        self._context = context
        if self._settings.path is not None:
            self._next = self._requested = self._make(self._settings, self._outputs)
            self._requested.open(context)

    def write(self, presentation: Presentation) -> None:
        """Record a frame if recording was on when it was drawn. Raises RunError if that fails for `settings.path`."""
        controls = presentation.controls or self._controls.state
        if not controls.recording or controls.take != self._take:
            self._finish()
        if not controls.recording or not presentation.drawn:
            return  # switched on after this frame was drawn without an overlay; the next one has it
        if controls.take != self._take:
            self._take = controls.take
            self._start()
        if self._recorder is not None:  # None after a failure
            self._guarded(lambda recorder: self._write(recorder, presentation))

    def _write(self, recorder: Recorder, presentation: Presentation) -> None:
        recorder.write(presentation)
        if recorder.current != self._controls.state.file:
            self._controls.recording_to(recorder.current)

    def idle(self, message: str) -> None:
        """Finish a recording that was switched off while no frames arrive. Raises RunError as `write` does."""
        if not self._controls.state.recording:
            self._finish()
        if self._recorder is not None:
            self._guarded(lambda recorder: recorder.idle(message))
        elif self._settings.segment_s is not None:
            self._keep_limits()

    def close(self) -> None:
        """Finish the recording. Raises RunError if that fails for the recording to `settings.path`."""
        self._context = None
        try:
            self._finish()
        finally:
            self._controls.set_recording(False)  # the page shows the state after the run, too
            for recorder in (self._requested, self._next):
                if recorder is not None:
                    recorder.close()

    @property
    def outputs(self) -> Sequence[str]:
        """The recordings, in the order of their beginning."""
        return tuple(dict.fromkeys(path for recorder in tuple(self._recorders) for path in recorder.outputs))

    def recordings(self) -> Sequence[Recording]:
        """The recordings that exist, in the order of their beginning. From any thread; looks for each file."""
        current = {recorder.current for recorder in tuple(self._recorders)}
        return [Recording(Path(path), path in current) for path in self.outputs]

    def _start(self) -> None:
        try:
            self._recorder = self._next or self._opened()
        except _FAILURES as error:
            self._fail(error)
            return
        self._next = None
        self._recorders.append(self._recorder)

    def _opened(self) -> Recorder:
        """A recorder for the next recording."""
        if self._context is None:
            raise RuntimeError("SwitchedRecorder.write needs open() first")
        path = None if self._settings.path is None else user_path(self._settings.path, "--output")
        if path is None:
            check_folder(self._folder, "The recording cannot start")
            # segments have the time in their names already
            name = f"{self._wall_clock():%Y-%m-%d_%H-%M-%S}" if self._settings.segment_s is None else "recording"
            path = self._folder / f"{name if self._camera is None else f'{self._camera}_{name}'}.mp4"
        settings = self._settings.model_copy(update={"path": str(path)})
        recorder = self._make(settings, Outputs(self._outputs.inputs, reports=False))
        recorder.open(self._context)
        return recorder

    def _keep_limits(self) -> None:
        """Keep the segments that there are within their limits while nothing is recorded."""
        if self._settings.path is None and not self._folder.is_dir():
            return  # nothing was recorded there
        try:
            if self._next is None:
                self._next = self._opened()
            self._next.idle("")
        except _FAILURES as error:
            if str(error) != self._limits_problem:  # once: it fails with every check
                self._limits_problem = str(error)
                log.warning("old recordings are not deleted: %s", error)

    def _finish(self) -> None:
        if self._recorder is None:
            return
        self._guarded(lambda recorder: recorder.close())
        self._recorder = None
        self._controls.recording_ended(self._take)

    def _guarded(self, action: Callable[[Recorder], None]) -> None:
        """Call the recorder; a failure of any recording but the one to `settings.path` ends only that recording."""
        recorder = self._recorder
        assert recorder is not None
        try:
            action(recorder)
        except _FAILURES as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """End the recording because of an error, or the run if it is the recording to `settings.path`."""
        recorder, self._recorder = self._recorder, None
        if not isinstance(error, StreamSegmentError):
            error = RunError(f"Recording failed: {getattr(error, 'strerror', None) or error}.")
        if recorder is not None and recorder is self._requested:
            raise error
        log.warning("recording ended: %s", error)
        self._controls.recording_ended(self._take, str(error))
        if recorder is not None:
            try:
                recorder.close()
            except _FAILURES as close_error:
                log.debug("closing the failed recording: %s", close_error)
