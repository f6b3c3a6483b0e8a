"""Several cameras in one run: a stream each, one network for all.

with Cameras(settings) as cameras:
    for camera, segmented in cameras:
        print(camera, segmented.frame.pts_s, len(segmented.instances))
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.controls import Controls
from pipeline.errors import InputError, OutputClosedError
from pipeline.records import Clock, SegmentedFrame
from pipeline.runtime.camera_entry import END_DEADLINE_S, CameraEntry, CameraHost
from pipeline.runtime.camera_settings_check import check_folders, check_outputs, check_run, settings_of
from pipeline.runtime.camera_summaries import CamerasSummary, CameraSummary
from pipeline.runtime.closing_run import ClosingRun
from pipeline.runtime.newest_by_camera import NewestByCamera
from pipeline.runtime.shared_network import SharedNetwork
from pipeline.runtime.stream import Stream
from pipeline.runtime.viewer_feed import ViewerFeed
from pipeline.segmentation.segmenter import Segmenter
from pipeline.settings.camera_settings import CameraSettings
from pipeline.settings.schema import Settings
from pipeline.settings.source_settings import SourceSettings
from pipeline.sinks.base import CamerasViewer, Presentation, RunContext, Sink
from pipeline.sinks.factory import make_cameras_window
from pipeline.sinks.switched_recorder import Recording
from pipeline.sinks.systemd import make_systemd_notifier
from pipeline.sources.base import Source
from pipeline.sources.factory import make_source

if TYPE_CHECKING:
    from pipeline.web.camera_pages import CameraPages

logger = logging.getLogger(__name__)

POLL_S = 1 / 30
"""How often viewers and the end are polled while no frame comes."""
UNSEEN_POLL_S = 0.25
"""How often `run` looks at the cameras where it shows nothing; the end comes so much later. Each look takes 0.1 ms."""


class Cameras(CameraHost, ClosingRun):
    """The cameras of `settings.cameras`: each a `Stream` in a thread of its own, all with one network.

    Iterate over it inside a `with` block: (name, frame) as they are presented, of a live camera the newest frame, of a
    file every one. Or call `run`. Both end when the last camera has ended, after `stop()`, or with the network, whose
    error they raise. A camera that fails ends alone: see `CameraEntry.error`.

    Args:
        settings: of the run, with `cameras`.
        segmenter: used in place of the one that the settings describe; it reports what all cameras need.
        source_of: makes the source of a camera from its name and settings; None: as a `Stream` does.
        clock: seconds, monotonic.

    Attributes:
        settings: of the run; replaced whole when cameras are added or removed.
        entries: the cameras by name, in the order of the settings; replaced whole.
        pages: their page; None without `serve.address`.

    Raises:
        InputError: there are no cameras, or the settings or the source of one are wrong.
    """

    def __init__(
        self,
        settings: Settings | Mapping[str, Any],
        *,
        segmenter: Segmenter | None = None,
        source_of: Callable[[str, SourceSettings], Source] | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.settings = settings if isinstance(settings, Settings) else Settings.model_validate(settings)
        self.clock = clock
        check_run(self.settings)
        self._source_of = source_of or (lambda _, source: make_source(source, clock))
        self._own_sinks: defaultdict[str, list[Sink]] = defaultdict(list)
        self._sink_makers: list[Callable[[CameraEntry], Sink]] = []
        self._viewer: CamerasViewer | None = None
        self._handed: NewestByCamera[SegmentedFrame] = NewestByCamera()
        self._shown: NewestByCamera[tuple[Presentation, RunContext]] = NewestByCamera()
        self._hands_over = False
        self._begun = threading.Event()
        self._lock = threading.RLock()
        self._recorded: dict[str, Sequence[Recording]] = {}
        # No Events: the lock of one would block a signal handler that interrupts a thread inside it.
        self._stopping = self._stopped = False
        self._changing = 0
        self._opened_at_s: float | None = None
        self._notifier = make_systemd_notifier()
        self.pages: CameraPages | None = None
        if self.settings.serve.address is not None:
            from pipeline.web.camera_pages import CameraPages

            self.pages = CameraPages(self.settings.serve, self)
            self.add_sinks(self.pages.make_sink)
        own = {camera.name: settings_of(self.settings, camera) for camera in self.settings.cameras}
        check_outputs(own)
        self._network = SharedNetwork(self.settings, list(own.values()), segmenter, clock)
        self.entries: Mapping[str, CameraEntry] = {
            camera.name: CameraEntry(camera, own[camera.name], self) for camera in self.settings.cameras
        }
        for camera in self._enabled():
            self.entries[camera].prepare()

    # -- before it is opened ------------------------------------------------------------------------------------------

    def add_sink(self, camera: str, sink: Sink) -> None:
        """Add a sink of your own to a camera; before `open`.

        It is opened anew each time that the camera is enabled. `MAIN_THREAD` sinks run in the camera's thread.

        Raises:
            InputError: there is no camera of this name.
        """
        self._named(camera)
        self._own_sinks[camera].append(sink)

    def add_sinks(self, make: Callable[[CameraEntry], Sink]) -> None:
        """Add a sink to every camera, also to those that come later; before `open`.

        Args:
            make: makes the sink of a camera, each time that it is enabled, before its source is open.
        """
        self._sink_makers.append(make)

    def set_viewer(self, viewer: CamerasViewer) -> None:
        """Show all cameras in one place, instead of the window of the settings; before `open`, which opens it."""
        self._viewer = viewer

    # -- the run ------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Load the network and start the cameras that are enabled; waits for neither.

        Raises:
            InputError: the viewer or the page cannot be opened, or a window is required on a machine without a screen.
        """
        if self.opened:
            raise RuntimeError("cameras run once: make new ones with the same settings")
        if self._viewer is None:
            self._viewer = make_cameras_window(self.settings, self._controls_of)
        with contextlib.ExitStack() as undo:
            if self.pages is not None:
                self.pages.open()
                undo.callback(self.pages.close)
            if self._viewer is not None:
                self._viewer.open(list(self.entries))
            undo.pop_all()
        self._opened_at_s = self.clock()
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            self.closes_at_exit()
            self._network.start()
            for camera in self._enabled():
                self.entries[camera].start()
            undo.pop_all()

    def __iter__(self) -> Iterator[tuple[str, SegmentedFrame]]:
        """Presented frames, each with the name of its camera; raises the network's error at the end."""
        self._check_opened()
        self._hands_over = True
        self._begun.set()
        ended = False
        while not ended:
            ended = self._ended  # before the last items are taken: none comes after it
            self._refresh(0.0)
            with contextlib.suppress(TimeoutError):
                yield self._handed.get(0.0 if ended else POLL_S)
                ended = False
        self._network.raise_if_lost()

    def run(self, watch: Callable[[], None] = lambda: None) -> None:
        """Present everything to sinks and viewer until the end; raises the network's error.

        Args:
            watch: called about 30 times a second; four times if nothing shows the cameras in one place.
        """
        self._check_opened()
        self._begun.set()
        while not self._ended:
            self._refresh(POLL_S if self._viewer is not None else UNSEEN_POLL_S)
            watch()
        self._network.raise_if_lost()

    def stop(self) -> None:
        """Request the end; from any thread or signal handler, more than once."""
        self._stopped = True
        self._stop_all()

    def close(self) -> None:
        """End all cameras, then the network. May be called twice.

        Raises:
            StageStuckError: a thread did not end.
        """
        if self._opened_at_s is None or self._wall_s is not None:
            return
        if not self._ended:
            self._stopped = True  # the caller left the loop
        self._stop_all()
        with self._lock:  # what another thread has started meanwhile ends as well; from here on, nothing starts
            self._stop_all()
        self._handed.close()
        self._network.stop()
        until_s = time.monotonic() + END_DEADLINE_S
        if self._notifier is not None:
            self._notifier.close()
        with contextlib.ExitStack() as closing:
            if self._viewer is not None:
                closing.callback(self._viewer.close)
            if self.pages is not None:
                closing.callback(self.pages.close)
            closing.callback(self._network.close)
            for entry in self.entries.values():
                closing.callback(entry.join, until_s)  # all end at the same time
        self._wall_s = self.clock() - self._opened_at_s

    # -- while it runs ------------------------------------------------------------------------------------------------

    def is_enabled(self, camera: str) -> bool:
        """Whether a camera is to run. Raises InputError if there is none of this name."""
        return self._named(camera).enabled

    def enable(self, camera: str) -> None:
        """Start a camera that is disabled, has failed or has ended; from any thread.

        Raises:
            InputError: there is no camera of this name, or its source is not there.
            StageStuckError: its last run does not end.
        """
        self._check_opened()
        with self._lock:
            if not self._stopping:
                self._named(camera).start()

    def disable(self, camera: str) -> None:
        """Let a camera's run end, with its outputs finished; from any thread. It can be enabled again.

        Raises:
            InputError: there is no camera of this name.
        """
        self._check_opened()
        with self._lock:
            self._disable(camera)

    def add(self, camera: CameraSettings | Mapping[str, Any], before: str | None = None) -> None:
        """Add a camera, and start it if it is enabled; from any thread.

        Args:
            camera: its entry in the settings.
            before: the camera that comes after it; None: it is the last.

        Raises:
            InputError: its settings are wrong, its name is taken, its source is not there, or it needs the network to
                report more than this run's other cameras did.
        """
        self._check_opened()
        with self._lock:
            cameras: list[CameraSettings | Mapping[str, Any]] = list(self.settings.cameras)
            place = len(cameras) if before is None else list(self.entries).index(self._named(before).name)
            cameras.insert(place, camera)
            settings = self.settings.with_cameras(cameras)
            added = settings.cameras[place]
            own = {each.name: settings_of(settings, each) for each in settings.cameras}
            check_outputs(own)
            self._network.check(added.name, own[added.name])
            entry = CameraEntry(added, own[added.name], self, recorded=self._recorded.get(added.name.casefold()))
            entry.prepare()
            entries = {**self.entries, added.name: entry}
            self.settings, self.entries = settings, {each.name: entries[each.name] for each in settings.cameras}
            if added.enabled and not self._stopping:
                entry.start()

    def remove(self, camera: str) -> None:
        """End a camera's run, with its outputs finished, and forget it; from any thread but the camera's own.

        Raises:
            InputError: there is no camera of this name.
            StageStuckError: its run does not end.
        """
        self._check_opened()
        with self._lock:
            entry = self._disable(camera)
            begun = entry.recordings()
            if entry.has_run:
                self._recorded[camera.casefold()] = begun
            self.settings = self.settings.with_cameras([each for each in self.settings.cameras if each.name != camera])
            self.entries = {name: each for name, each in self.entries.items() if name != camera}
        entry.join()
        with self._lock:
            if self._recorded.get(camera.casefold()) is begun:  # no camera of this name has come and gone meanwhile
                self._recorded[camera.casefold()] = entry.recordings()

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Inside the block the run does not end with its last camera, which may make room for another one."""
        with self._lock:
            self._changing += 1
        try:
            yield
        finally:
            with self._lock:
                self._changing -= 1

    @property
    def opened(self) -> bool:
        """Whether `open` has begun (and stays True after `close`)."""
        return self._opened_at_s is not None

    @property
    def output_closed(self) -> bool:
        """Whether nobody reads standard output any more."""
        return any(isinstance(entry.error, OutputClosedError) for entry in self.entries.values())

    def summary(self) -> CamerasSummary:
        """What the run did so far; final after `close`."""
        began_s = self._opened_at_s if self._opened_at_s is not None else self.clock()
        return CamerasSummary(
            cameras=tuple(CameraSummary(one.name, tuple(one.summaries), one.error) for one in self.entries.values()),
            model=self._network.segmenter.description,
            restarts=self._network.segmenter.restarts,
            wall_s=self._wall_s if self._wall_s is not None else self.clock() - began_s,
            stopped=self._stopped,
        )

    # -- for the cameras, in their threads ----------------------------------------------------------------------------

    def make_stream(self, entry: CameraEntry, settings: Settings) -> Stream:
        """See `CameraHost.make_stream`."""
        try:
            source = self._source_of(entry.name, settings.source)
            check_folders(settings)
            segmenter_for = self._network.share_of(entry.weight)
            return Stream(settings, source=source, segmenter=segmenter_for, clock=self.clock, camera=entry.name)
        except InputError as error:
            raise InputError(f"camera {entry.name}: {error}") from None

    def make_sinks(self, entry: CameraEntry) -> Sequence[Sink]:
        """See `CameraHost.make_sinks`."""
        made = [make(entry) for make in self._sink_makers]
        viewer = [] if self._viewer is None else [ViewerFeed(entry.name, self._viewer, self._shown)]
        return [*self._own_sinks.get(entry.name, ()), *made, *viewer]

    def present(self, entry: CameraEntry, segmented: SegmentedFrame) -> None:
        """See `CameraHost.present`."""
        while not (self._begun.wait(POLL_S) or entry.stopped):
            pass  # nobody takes frames yet
        if self._hands_over:
            self._handed.put(entry.name, segmented, waits=not entry.live)

    def on_failure(self, entry: CameraEntry) -> None:
        """See `CameraHost.on_failure`."""
        # The network's error is everybody's, and raised; who reads standard output has left, needs no line.
        if entry.error is not self._network.error and not isinstance(entry.error, OutputClosedError):
            logger.error("camera %s has ended: %s", entry.name, entry.error)

    # -----------------------------------------------------------------------------------------------------------------

    def _enabled(self) -> list[str]:
        return [camera.name for camera in self.settings.cameras if camera.enabled]

    def _controls_of(self, camera: str) -> Controls | None:
        return self.entries[camera].controls if camera in self.entries else None

    def _named(self, camera: str) -> CameraEntry:
        if camera not in self.entries:
            raise InputError(f"there is no camera {camera}; the cameras are {', '.join(self.entries)}")
        return self.entries[camera]

    def _disable(self, camera: str) -> CameraEntry:
        entry = self._named(camera)
        entry.disable()
        self._handed.forget(camera)  # the thread that iterates may be this one, and take no more for now
        return entry

    @property
    def _ended(self) -> bool:
        """Whether the run ends: it was stopped, or the last camera that is not disabled has ended by itself."""
        if self._stopping or self._network.error is not None:
            return True
        if self._changing:
            return False
        entries = list(self.entries.values())
        return any(entry.enabled for entry in entries) and not any(entry.running for entry in entries)

    def _refresh(self, wait_s: float) -> None:
        """Let viewer and service manager see how things are; waits so long for a frame to show."""
        states = {name: entry.state for name, entry in self.entries.items()}
        if self._notifier is not None:
            coming = sum(not state for state in states.values())
            self._notifier.idle(f"{coming} of {len(states)} cameras running")
        if self._viewer is None:
            time.sleep(wait_s)
            return
        with contextlib.suppress(TimeoutError):
            for number in range(max(1, len(states))):  # without cameras it waits, too
                camera, shown = self._shown.get(0.0 if number else wait_s)
                if camera in self.entries:  # not a last frame of one that was removed meanwhile
                    self._viewer.write(camera, *shown)
        self._viewer.idle(states)
        if self._viewer.stop_requested:
            self.stop()

    def _stop_all(self) -> None:
        self._stopping = True
        for entry in self.entries.values():
            entry.stop()

    def _check_opened(self) -> None:
        if not self.opened:
            raise RuntimeError("the cameras are not open: use them in a `with` block")
