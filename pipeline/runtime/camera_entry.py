"""One camera of a run with several: its stream, the thread that presents it, and what viewers read of it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from pipeline.controls import Controls
from pipeline.errors import StageStuckError
from pipeline.ledger import RunLedger, RunSummary
from pipeline.records import SegmentedFrame
from pipeline.runtime.stream import Stream
from pipeline.settings.camera_settings import CameraSettings
from pipeline.settings.schema import Settings
from pipeline.sinks.base import Delivery, Presentation, RunContext, Sink
from pipeline.sinks.switched_recorder import Recording
from pipeline.threads.stage import FirstError, Stage
from pipeline.web.view import RunView

END_DEADLINE_S = 90.0
"""How long the thread of a camera that was stopped may take: a stream has deadlines of its own, which are shorter."""


class CameraHost(ABC):
    """What a camera needs of the run that it belongs to. Everything is called in any thread."""

    @abstractmethod
    def make_stream(self, entry: CameraEntry, settings: Settings) -> Stream:
        """A stream with these settings. Raises InputError if its source is not there."""

    @abstractmethod
    def make_sinks(self, entry: CameraEntry) -> Sequence[Sink]:
        """The sinks that a stream gets besides those of its settings."""

    @abstractmethod
    def present(self, entry: CameraEntry, segmented: SegmentedFrame) -> None:
        """Take a frame that the camera's sinks have got; may wait."""

    @abstractmethod
    def on_failure(self, entry: CameraEntry) -> None:
        """The camera's run has failed; its `error` is set."""


class CameraEntry:
    """A camera of a run with several, from which viewers read; any attribute from any thread.

    Enabled, it runs a `Stream` in a thread of its own; each time that it is enabled, a new one.

    Args:
        camera: its entry in the settings.
        settings: its own, complete.
        host: the run.
        wall_clock: local time, for texts.
        recorded: recordings of the last camera of this name that has run; None: there was none.

    Attributes:
        name, weight: of the camera.
        settings: its own, complete.
        enabled: whether it is to run; `Cameras.enable` and `disable` change it.
        error: what ended its last run; None while all is well.
        summaries: of its runs that have ended.
    """

    def __init__(
        self,
        camera: CameraSettings,
        settings: Settings,
        host: CameraHost,
        wall_clock: Callable[[], datetime] = datetime.now,
        recorded: Sequence[Recording] | None = None,
    ) -> None:
        self.name, self.weight, self.settings = camera.name, camera.weight, settings
        self.enabled = False
        self.error: BaseException | None = None
        self.summaries: list[RunSummary] = []
        self._host = host
        self._wall_clock = wall_clock
        self._is_successor = recorded is not None
        self._stream: Stream | None = None
        self._stage: Stage | None = None
        self._offline_since: datetime | None = None
        self._stopped: Stream | None = None
        self._not_run = RunView(RunLedger(), Controls(settings.overlay), time.monotonic)
        self._recorded = list(recorded or ())

    # -- for viewers --------------------------------------------------------------------------------------------------

    @property
    def ledger(self) -> RunLedger:
        """Counts, rates and latencies of its present run, or else of its last one; empty before the first."""
        return self._stream.ledger if self._stream is not None else RunLedger()

    @property
    def controls(self) -> Controls | None:
        """What can be changed while it runs; None before its first run."""
        return self._stream.controls if self._stream is not None else None

    @property
    def view(self) -> RunView:
        """What the page may read of its present run, or else of its last one; recordings of all its runs."""
        view = self._stream.view if self._stream is not None else self._not_run
        return replace(view, waiting_for=lambda: self.state, recordings=self.recordings)

    def recordings(self) -> Sequence[Recording]:
        """The recordings that exist of all its runs, and of cameras of its name before it."""
        now = self._stream.view.recordings() if self._stream is not None else ()
        written = {recording.path for recording in now}
        return [*(one for one in self._recorded if one.path not in written and one.path.is_file()), *now]

    @property
    def running(self) -> bool:
        """Whether its thread runs."""
        return self._stage is not None and self._stage.running

    @property
    def has_run(self) -> bool:
        """Whether it has been started, or a camera of its name before it."""
        return self._is_successor or self._stage is not None

    @property
    def live(self) -> bool:
        """Whether the newest frame wins, rather than every frame being processed; True until that is known."""
        return self._stream is None or not self._stream.opened or self._stream.plan.live

    @property
    def state(self) -> str:
        """What keeps frames from coming, such as "offline since 14:03" or "disabled"; "" while they come."""
        stream = self._stream
        if not self.enabled:
            return "disabled"
        if self.error is not None:
            return f"failed: {self.error}"
        if not self.running:
            return "ended"
        if stream is None or not stream.opened:
            return "connecting"
        since = self._offline_since
        if since is None:
            return stream.view.waiting_for()
        is_today = since.date() == self._wall_clock().date()
        return f"offline since {since:%H:%M}" if is_today else f"offline since {since:%Y-%m-%d %H:%M}"

    # -- for `Cameras` ------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the stream of the next run. Raises InputError if its source is not there."""
        settings = self.settings
        if self.has_run:  # what an earlier run has recorded stays
            output = settings.output.model_copy(update={"overwrite": False})
            settings = settings.model_copy(update={"output": output})
        self._stream = self._host.make_stream(self, settings)

    def start(self) -> None:
        """Enable it, and start its thread; does nothing while it runs.

        Raises:
            InputError: its source is not there.
            StageStuckError: its last run does not end.
        """
        if self.enabled and self.running:
            return
        self.join()
        if self._stream is None or self._stage is not None:
            self.prepare()
        stream = self._stream
        assert stream is not None
        for sink in (_OfflineWatch(self, stream), *self._host.make_sinks(self)):
            stream.add_sink(sink)
        self.error, self._offline_since = None, None
        errors = FirstError(on_first=lambda: self._fail(errors.error, stream))
        self._stage = Stage(f"camera {self.name}", partial(self._run, stream), errors)
        self._stage.start()
        self.enabled = True  # not before: a camera that is enabled and does not run has ended

    def disable(self) -> None:
        """Stop it until it is started again; its thread ends by itself."""
        self.enabled = False
        self.stop()

    def stop(self) -> None:
        """Let its run end; from any thread or signal handler."""
        self._stopped = stream = self._stream
        if stream is not None:
            stream.stop()

    @property
    def stopped(self) -> bool:
        """Whether its present or last run was stopped."""
        return self._stream is not None and self._stopped is self._stream

    def join(self, until_s: float | None = None) -> None:
        """Wait for the thread to end.

        Args:
            until_s: on `time.monotonic`; None: END_DEADLINE_S from now on.

        Raises:
            StageStuckError: it does not.
        """
        left_s = END_DEADLINE_S if until_s is None else max(0.0, until_s - time.monotonic())
        if self._stage is not None and not self._stage.wait(left_s):
            raise StageStuckError(f"camera {self.name} did not end within {END_DEADLINE_S:g} s: it is left behind")

    def note_offline(self, is_offline: bool, frame_age_s: float | None) -> None:
        """Note whether the source is lost; the first time, since when no frame came."""
        if not is_offline:
            self._offline_since = None
        elif self._offline_since is None:
            self._offline_since = self._wall_clock() - timedelta(seconds=frame_age_s or 0.0)

    def _run(self, stream: Stream) -> None:
        """The thread: opens the stream, presents it, closes it. A failure ends this camera only."""
        try:
            with stream:
                for segmented in stream:
                    self._host.present(self, segmented)
        finally:
            self._recorded = list(self.recordings())
            if stream.opened:
                self.summaries.append(stream.summary())

    def _fail(self, error: BaseException | None, stream: Stream) -> None:
        """Keep what ended the run; that it was stopped before its source was open is no failure."""
        if stream.opened or self._stopped is not stream:
            self.error = error
            self._host.on_failure(self)


class _OfflineWatch(Sink):
    """Notes in the presenting thread since when a camera's source is lost."""

    name = "offline watch"
    delivery = Delivery.MAIN_THREAD
    wants_overlay = False

    def __init__(self, entry: CameraEntry, stream: Stream) -> None:
        self._entry, self._stream = entry, stream

    def open(self, context: RunContext) -> None:
        """Does nothing."""

    def write(self, presentation: Presentation) -> None:
        """A frame came."""
        self._entry.note_offline(False, None)

    def idle(self, message: str) -> None:
        """No frame came; a source that is not lost is only slow."""
        is_offline = self._stream.offline
        self._entry.note_offline(is_offline, self._frame_age_s() if is_offline else None)

    def _frame_age_s(self) -> float | None:
        now_s = self._stream.clock()
        last_s = self._stream.ledger.last_presented_s
        return None if last_s is None else now_s - last_s

    def close(self) -> None:
        """Does nothing."""
