"""The network of a run with several cameras: loaded once, whatever classes and scores each of them wants."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import InputError
from pipeline.records import Clock
from pipeline.runtime.inference import SegmenterFor, filter_for
from pipeline.runtime.inference_service import InferenceService
from pipeline.runtime.network_share import NetworkShare
from pipeline.runtime.plan import RunPlan, SourcePlan, plan_run
from pipeline.segmentation.detection_filter import DetectionFilter
from pipeline.segmentation.engine_pool import default_workers
from pipeline.segmentation.machine import Machine
from pipeline.segmentation.mask_rcnn_segmenter import MaskRCNNSegmenter
from pipeline.segmentation.network_model import read_model
from pipeline.segmentation.segmenter import Segmenter
from pipeline.segmentation.supervision import SupervisedSegmenter
from pipeline.settings.presentation_settings import PresentationMode
from pipeline.settings.schema import Settings


class SharedNetwork:
    """The segmenter of a run, its supervision and its service.

    Args:
        run: the settings that all cameras share.
        cameras: the settings of each camera, also of those that are disabled.
        segmenter: used in place of the one that the settings describe; it reports what all cameras need.
        clock: seconds, monotonic.

    Attributes:
        segmenter: of all cameras.

    Raises:
        InputError: weights or labels are missing or do not fit, or a camera's settings contradict each other.
    """

    def __init__(self, run: Settings, cameras: Sequence[Settings], segmenter: Segmenter | None, clock: Clock) -> None:
        self._model = None if segmenter is not None else read_model(run.model)
        if segmenter is None:
            assert self._model is not None
            wanted = DetectionFilter.for_all([self._most_wanted(camera) for camera in cameras])
            # Side by side also where one source by itself would not gain: there is always another camera's frame. But
            # supervision watches one inference at a time, which then gets all cores.
            workers = run.model.workers or default_workers(run.model.batch_size, Machine().cores())
            workers = 1 if run.supervision.restart else workers
            segmenter = MaskRCNNSegmenter(self._model, wanted, workers)
        if run.supervision.restart:
            segmenter = SupervisedSegmenter(segmenter, run.supervision, lambda: self._service.ended, clock)
        self.segmenter = segmenter
        self._service = InferenceService(segmenter, clock, run.model.batch_size)

    @property
    def error(self) -> BaseException | None:
        """What ended the network, and with it the run; None while all is well."""
        return self._service.error

    def raise_if_lost(self) -> None:
        """Raise what ended the network, if something did."""
        if self._service.error is not None:
            raise self._service.error

    def start(self) -> None:
        """Load the network, in a thread."""
        self._service.start()

    def stop(self) -> None:
        """Let it end, without waiting for it."""
        self._service.stop()

    def close(self) -> None:
        """Release it."""
        self._service.close()

    def share_of(self, weight: float) -> SegmenterFor:
        """What gives a camera of this weight its share of the network, once its source is open."""

        def share(run: RunPlan, source: SourcePlan) -> NetworkShare:
            detections = self.segmenter.detections
            if self._model is not None:
                detections = filter_for(self._model.for_camera(run.settings.model), run, source)
            return self._service.share(weight, detections)

        return share

    def check(self, name: str, camera: Settings) -> None:
        """Raises InputError if a camera that comes later needs more than the network reports."""
        if self._model is not None and self._most_wanted(camera).needs_more_than(self.segmenter.detections):
            raise InputError(
                f"camera {name} needs objects of lower scores, or more of them, than the network reports in this run: "
                "restart the program with it in `cameras`"
            )

    def _most_wanted(self, camera: Settings) -> DetectionFilter:
        """What a camera may need, whatever its source turns out to be."""
        assert self._model is not None
        run, tracking = plan_run(camera), camera.tracking
        is_smooth = camera.presentation is not PresentationMode.EXACT
        low_score = tracking.low_score if tracking.enabled and is_smooth else None
        return self._model.for_camera(camera.model).detection_filter(low_score, run.redaction_score)
