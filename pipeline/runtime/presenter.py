"""Presents frames: redacts, counts and draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf

from pipeline.controls import Controls, ControlState
from pipeline.drawing.overlay import Overlay, StatusLine
from pipeline.drawing.places import draw_places
from pipeline.ledger import RunLedger
from pipeline.privacy.redaction import Redactor
from pipeline.records import Clock, Image, SegmentedFrame, UnredactedFrame
from pipeline.runtime.plan import SourcePlan
from pipeline.scene import Scene
from pipeline.settings.schema import Settings
from pipeline.sinks.base import Presentation
from pipeline.tracking.watch import SceneWatcher

STATUS_HOLD_S = 0.2
"""How long the rates and the latency of the status line stay, so that they can be read."""


class Presenter:
    """Makes the presentations of a run; in the caller's thread, frame by frame in order.

    Args:
        settings: overlay, privacy and background, lines and zones.
        plan: whether objects are tracked.
        labels: class names by class id.
        controls: what viewers can change while the run lasts.
        ledger: presented frames are entered, and the status line comes from it.
        clock: seconds, monotonic.

    Raises:
        InputError: settings name a class or picture that is not there.
    """

    def __init__(
        self,
        settings: Settings,
        plan: SourcePlan,
        labels: Sequence[str],
        controls: Controls,
        ledger: RunLedger,
        clock: Clock,
    ) -> None:
        self._labels = labels
        self._controls = controls
        self._ledger = ledger
        self._clock = clock
        self._shows_counts = settings.overlay.counts
        self._redactor = Redactor(settings, labels)
        self._overlay_settings = settings.overlay
        self._overlay = Overlay(settings.overlay, labels)
        self._watcher = SceneWatcher(settings, labels) if plan.tracking is not None else None
        self._rates = StatusLine()
        self._rates_from_s = -inf

    @property
    def scene(self) -> Scene | None:
        """Counts, lines and zones at the newest frame; None where nothing is tracked."""
        return self._watcher.scene if self._watcher is not None else None

    def redact(self, captured: UnredactedFrame) -> SegmentedFrame:
        """The frame as it may be seen. Where this raises, nobody may see the frame."""
        return self._redactor.apply(captured)

    def present(self, redacted: SegmentedFrame, overlay_wanted: bool) -> Presentation:
        """Count a frame as presented now, and draw its overlay if any sink wants it."""
        times = replace(redacted.times, presented_at_s=self._clock())
        scene = self._watcher.update(redacted.frame, redacted.instances) if self._watcher is not None else None
        segmented = replace(redacted, times=times, scene=scene)
        self._ledger.presented(segmented)
        controls = self._controls.state  # read once: the frame and every sink use the same
        image_bgr = self._draw(segmented, controls) if overlay_wanted else segmented.frame.image_bgr
        image_bgr.flags.writeable = False
        return Presentation(segmented, image_bgr, controls)

    def draw(self, segmented: SegmentedFrame) -> Image:
        """The frame with its overlay, a new uint8 (H, W, 3) BGR image."""
        return self._draw(segmented, self._controls.state)

    def _draw(self, segmented: SegmentedFrame, controls: ControlState) -> Image:
        if controls.overlay is not self._overlay_settings:
            self._overlay_settings = controls.overlay
            self._overlay = Overlay(controls.overlay, self._labels)
        instances = segmented.instances
        if controls.min_score > 0:
            instances = instances.select(instances.scores >= controls.min_score)
        status = self._status(segmented.scene) if controls.overlay.status else None
        canvas = self._overlay.draw(segmented.frame.image_bgr, instances, status)
        if self._watcher is not None and segmented.scene is not None and controls.overlay.places:
            draw_places(canvas, segmented.scene, self._watcher.lines, self._watcher.zones)
        return canvas

    def _status(self, scene: Scene | None) -> StatusLine:
        now_s = self._clock()
        if not 0 <= now_s - self._rates_from_s < STATUS_HOLD_S:
            recent = self._ledger.recent(now_s)
            self._rates_from_s = now_s
            self._rates = StatusLine(
                capture_fps=recent.capture_fps,
                inference_fps=recent.inference_fps,
                display_fps=recent.display_fps,
                dropped=recent.dropped_total,
                latency_ms=None if recent.last_latency_s is None else 1000 * recent.last_latency_s,
            )
        return replace(self._rates, counts=scene.count_texts() if scene is not None and self._shows_counts else ())
