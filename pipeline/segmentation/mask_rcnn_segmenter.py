"""Mask R-CNN as a segmenter: places frames on canvases, runs an engine, and converts its boxes to ours."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.records import Instances
from pipeline.segmentation.batching import run_in_batches
from pipeline.segmentation.canvas import CanvasFit, fit_canvas
from pipeline.segmentation.detection_filter import DetectionFilter
from pipeline.segmentation.engine_choice import EngineChoice, EngineSelection
from pipeline.segmentation.engine_pool import EnginePool
from pipeline.segmentation.engine_trials import EngineTrials
from pipeline.segmentation.machine import Machine
from pipeline.segmentation.network_model import NetworkModel, read_model
from pipeline.segmentation.segmenter import Segmenter
from pipeline.settings.model_settings import Canvas, ModelSettings

if TYPE_CHECKING:
    from mrcnn.engines.base import RawDetections


class MaskRCNNSegmenter(Segmenter):
    """Runs Mask R-CNN on frames, and reports what a detection filter needs, of every class.

    Args:
        model: the network.
        detections: whose `report_score` and `report_most` say how much is reported.
        workers: how many threads will call `segment_batch` at the same time, if the engine gains from it.
        machine: what engines there are; None: this machine.

    Raises:
        InputError: the engine, backend or device is not there.
    """

    def __init__(
        self, model: NetworkModel, detections: DetectionFilter, workers: int = 1, machine: Machine | None = None
    ) -> None:
        self.model = model.reporting(detections)
        self.detections = detections
        self._interrupted = threading.Event()
        self._selection = EngineSelection(self.model, machine, workers)
        self._trials = EngineTrials(self._selection, self._interrupted.is_set)
        self._choice = self._selection.choices[0]  # until one is made
        self._pool: EnginePool | None = None
        self._fit: CanvasFit | None = None

    @classmethod
    def of(cls, settings: ModelSettings) -> MaskRCNNSegmenter:
        """A segmenter that reports what these settings want to see, for single images.

        Raises:
            InputError: weights or labels are missing or do not fit, or the engine, backend or device is not there.
        """
        model = read_model(settings)
        return cls(model, model.detection_filter())

    @property
    def labels(self) -> Sequence[str]:
        """See `Segmenter.labels`."""
        return self.model.labels

    @property
    def description(self) -> str:
        """See `Segmenter.description`."""
        model, workers = self.model, self.choice.workers
        canvas = {Canvas.TIGHT: "", Canvas.PAD64: ", padded to 64", Canvas.SQUARE: ", square"}[model.settings.canvas]
        together = f", {workers} frames side by side" if workers > 1 else ""
        return (
            f"Mask R-CNN {model.config.BACKBONE}, {len(model.labels)} classes, {model.config.IMAGE_MAX_DIM} px"
            f"{canvas}; {model.weights.path.name} ({model.weights.reason}); "
            f"{self.choice}{together}"
        )

    @property
    def choice(self) -> EngineChoice:
        """What computes the network; until `open`, what will be tried first."""
        return self._pool.choice if self._pool is not None else self._choice

    @property
    def workers(self) -> int:
        """See `Segmenter.workers`."""
        return self._pool.most if self._pool is not None else self._choice.workers

    @property
    def preparing(self) -> bool:  # type: ignore[override]
        """See `Segmenter.preparing`."""
        pool = self._pool
        return pool is not None and pool.preparing

    def open(self) -> None:
        """Load the network. Raises InputError when the weights do not fit, or no engine can be made."""
        self._pool = EnginePool(self._selection, self._trials)

    def segment_batch(self, images_bgr: Sequence[NDArray[np.uint8]]) -> list[Instances]:
        """See `Segmenter.segment_batch`."""
        assert self._pool is not None, "open it first"
        fits = [self._fit_for(image_bgr) for image_bgr in images_bgr]
        canvases = [fit.place(image_bgr) for fit, image_bgr in zip(fits, images_bgr, strict=True)]
        windows = [fit.window for fit in fits]
        found = run_in_batches(canvases, windows, self.model.settings.batch_size, self._pool.detect_molded)
        return [_instances(raw, fit) for raw, fit in zip(found, fits, strict=True)]

    def interrupt(self) -> None:
        """See `Segmenter.interrupt`."""
        self._interrupted.set()

    def close(self) -> None:
        """See `Segmenter.close`."""
        self._choice = self.choice
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def _fit_for(self, image_bgr: NDArray[np.uint8]) -> CanvasFit:
        fit = self._fit
        if fit is None or fit.frame_hw != image_bgr.shape[:2]:
            height, width = image_bgr.shape[:2]
            fit = self._fit = fit_canvas(height, width, self.model.config, self.model.settings.canvas)
        return fit


def _instances(raw: RawDetections, fit: CanvasFit) -> Instances:
    """From Matterport's normalized (y1, x1, y2, x2) on the canvas to (x1, y1, x2, y2) in pixels of the frame."""
    boxes_xyxy = fit.boxes_on_frame(raw.boxes_in_pixels(*fit.canvas_hw))
    keep = (boxes_xyxy[:, 2] > boxes_xyxy[:, 0]) & (boxes_xyxy[:, 3] > boxes_xyxy[:, 1])
    return Instances(boxes_xyxy, raw.class_ids, raw.scores, raw.mask_probs).select(keep)
