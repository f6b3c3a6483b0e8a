"""Presents frames: redacts, counts and draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf

from pipeline.controls import Controls, ControlState
from pipeline.drawing.overlay import Overlay
from pipeline.drawing.places import draw_places, name_rectangles
from pipeline.drawing.status import StatusLine
from pipeline.ledger import RunLedger
from pipeline.privacy.redaction import Redactor
from pipeline.records import Clock, Detections, Image, SegmentedFrame, SourceKind, UnredactedFrame
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
        min_score: lower scores are not shown.

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
        min_score: float = 0.0,
    ) -> None:
        self._controls = controls
        self._ledger = ledger
        self._clock = clock
        self._shows_counts = settings.overlay.counts
        self._loading = settings.slate.loading
        self._redactor = Redactor(settings, labels)
        self._live = plan.live
        still, one_class = plan.source.kind is SourceKind.STILLS, len(settings.model.classes) == 1
        self._overlay = Overlay(settings.overlay, labels, still, one_class, min_score)
        self._watcher = SceneWatcher(settings, labels) if plan.tracking is not None else None
        self._rates = StatusLine()
        self._rates_from_s = -inf

    @property
    def scene(self) -> Scene | None:
        """Counts, lines and zones at the newest frame; None where nothing is tracked."""
        return self._watcher.scene if self._watcher is not None else None

    def see(self, detections: Detections) -> None:
        """Take every result, in order, also those that no frame is presented with; in the thread of inference."""
        self._redactor.see(detections)

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
        status = self._status(segmented)
        image_bgr = self._draw(segmented, controls, status) if overlay_wanted else segmented.frame.image_bgr
        image_bgr.flags.writeable = False
        return Presentation(segmented, image_bgr, controls, status)

    def draw(self, segmented: SegmentedFrame) -> Image:
        """The frame with its overlay, a new uint8 (H, W, 3) BGR image."""
        return self._draw(segmented, self._controls.state, self._status(segmented))

    def _draw(self, segmented: SegmentedFrame, controls: ControlState, status: StatusLine) -> Image:
        self._overlay.settings = controls.overlay
        instances = segmented.instances
        if controls.min_score > 0:
            instances = instances.select(instances.scores >= controls.min_score)
        image_bgr, scene, watcher = segmented.frame.image_bgr, segmented.scene, self._watcher
        if watcher is None or scene is None or not controls.overlay.places:
            return self._overlay.draw(image_bgr, instances, status)
        names = name_rectangles(image_bgr.shape[:2], scene, watcher.lines, watcher.zones)
        canvas = self._overlay.draw(image_bgr, instances, status, names)
        draw_places(canvas, scene, watcher.lines, watcher.zones)
        return canvas

    def _status(self, segmented: SegmentedFrame) -> StatusLine:
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
                mask_age_ms=self._mask_age_ms(segmented) if self._live else None,
            )
        scene = segmented.scene
        counts = scene.counts() if scene is not None and self._shows_counts else ()
        return replace(self._rates, counts=counts, notice=self._loading if self._ledger.loading else "")

    def _mask_age_ms(self, segmented: SegmentedFrame) -> float | None:
        """From the capture of the frame that the masks were computed on until now, milliseconds."""
        inferred_from_s = segmented.times.inferred_from_s
        return None if inferred_from_s is None else 1000 * (self._clock() - inferred_from_s)
