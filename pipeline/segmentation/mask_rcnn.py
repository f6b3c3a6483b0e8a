"""Mask R-CNN as a segmenter: the only file of the pipeline that knows the network; its boxes become ours here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrcnn.config import MIN_DIM_SHARE
from pipeline.errors import InputError
from pipeline.labels import load_labels, resolve_classes
from pipeline.records import Instances, SourceInfo, SourceKind
from pipeline.segmentation.batching import run_in_batches
from pipeline.segmentation.canvas import CanvasFit, fit_canvas
from pipeline.segmentation.engine_choice import EnginePlan, plan_engines
from pipeline.segmentation.engine_pool import EngineSet, default_workers, side_by_side
from pipeline.segmentation.segmenter import Segmenter
from pipeline.segmentation.weights_file import find_weights
from pipeline.settings.model_settings import ModelSettings
from pipeline.settings.presentation_settings import TrackingSettings
from pipeline.settings.schema import Settings
from pipeline.tracking.tracker import finding_score

FIND_MOST = 100
"""So many objects are looked for at least where more are to be found than are shown."""


class MaskRCNNSegmenter(Segmenter):
    """Runs Mask R-CNN frame by frame.

    Args:
        settings: weights, labels, size, thresholds, engine.
        find_from: find objects of every class from this score on, however few and whichever of them `settings` ask for:
            `segment` gives them all, and `chosen` those that were asked for. None: find only those.
        workers: so many threads will ask at the same time, if the engine gains from it.

    Raises:
        InputError: weights or labels are missing or do not fit, or the engine, backend or device is not there.
    """

    def __init__(self, settings: ModelSettings, find_from: float | None = None, workers: int = 1) -> None:
        self._settings = settings
        self._weights = find_weights(settings.weights)
        self._config, self._labels = _read_file(self._weights.path, settings)
        self._max_dim = int(self._config.IMAGE_MAX_DIM)
        self._chosen_score = float(self._config.DETECTION_MIN_CONFIDENCE or 0.0)
        self._chosen_most = int(self._config.DETECTION_MAX_INSTANCES)
        self._finds_more = find_from is not None
        if find_from is not None:
            self._config.DETECTION_MIN_CONFIDENCE = min(self._chosen_score, find_from)
            self._config.DETECTION_MAX_INSTANCES = max(self._chosen_most, FIND_MOST)
        self._keep_ids = resolve_classes(settings.classes, self._labels) if settings.classes else None
        self._plans = plan_engines(settings, self._weights.path, self._config)
        self._plan = self._plans[0]  # while none is made
        self._wanted_workers = workers
        self._engine: EngineSet | None = None
        self._fit: CanvasFit | None = None

    @property
    def labels(self) -> Sequence[str]:
        """See `Segmenter.labels`."""
        return self._labels

    @property
    def description(self) -> str:
        """See `Segmenter.description`."""
        together = f", {self.workers} frames side by side" if self.workers > 1 else ""
        return (
            f"Mask R-CNN {self._config.BACKBONE}, {len(self._labels)} classes, {self._max_dim} px "
            f"{self._settings.canvas.value} canvas; {self._weights.path.name} ({self._weights.reason}); "
            f"{self._plan_in_use}{together}"
        )

    @property
    def network_source(self) -> tuple[Path, Any]:
        """The weight file, and the Config of its network with the user's settings in it."""
        return self._weights.path, self._config

    @property
    def workers(self) -> int:
        """See `Segmenter.workers`."""
        return side_by_side(self._plan_in_use, self._wanted_workers)

    def open(self) -> None:
        """Load the network. Raises InputError when the weights do not fit, or the engine cannot be had."""
        made_of = self._settings, self._weights.path, self._config
        self._engine = EngineSet(self._plans, *made_of, self._wanted_workers)

    def segment(self, image_bgr: NDArray[np.uint8]) -> Instances:
        """See `Segmenter.segment`."""
        assert self._engine is not None, "open it first"
        fit = self._fit_for(image_bgr)
        raw = self._engine.detect_molded(fit.place(image_bgr)[None], np.array([fit.window], np.int32))[0]
        return self._instances(raw, fit)

    def segment_batch(self, images_bgr: Sequence[NDArray[np.uint8]]) -> list[Instances]:
        """See `Segmenter.segment_batch`."""
        if len(images_bgr) == 1 and self._settings.batch_size == 1:
            return [self.segment(images_bgr[0])]
        assert self._engine is not None, "open it first"
        fits = [self._fit_for(image_bgr) for image_bgr in images_bgr]
        canvases = [fit.place(image_bgr) for fit, image_bgr in zip(fits, images_bgr, strict=True)]
        windows = [fit.window for fit in fits]
        found = run_in_batches(canvases, windows, self._settings.batch_size, self._engine.detect_molded)
        return [self._instances(raw, fit) for raw, fit in zip(found, fits, strict=True)]

    def _fit_for(self, image_bgr: NDArray[np.uint8]) -> CanvasFit:
        fit = self._fit
        if fit is None or fit.frame_hw != image_bgr.shape[:2]:
            height, width = image_bgr.shape[:2]
            fit = self._fit = fit_canvas(height, width, self._max_dim, self._settings.canvas)
        return fit

    def _instances(self, raw: Any, fit: CanvasFit) -> Instances:
        boxes_xyxy = fit.boxes_on_frame(raw.boxes_in_pixels(*fit.canvas_hw))
        keep = (boxes_xyxy[:, 2] > boxes_xyxy[:, 0]) & (boxes_xyxy[:, 3] > boxes_xyxy[:, 1])
        found = Instances(boxes_xyxy, raw.class_ids, raw.scores, raw.mask_probs).select(keep)
        return found if self._finds_more else self._of_kept_classes(found)

    def chosen(self, instances: Instances) -> Instances:
        """See `Segmenter.chosen`."""
        if not self._finds_more:
            return instances
        # Best first, as found: the most are counted before classes are left out, as the network itself does it.
        enough = np.flatnonzero(instances.scores >= self._chosen_score)[: self._chosen_most]
        return self._of_kept_classes(instances.select(enough))

    @property
    def sure_score(self) -> float:
        """See `Segmenter.sure_score`."""
        return self._chosen_score if self._finds_more else 0.0

    def candidates(self, instances: Instances, least_score: float) -> Instances:
        """See `Segmenter.candidates`."""
        if not self._finds_more:
            return instances
        enough = np.flatnonzero(instances.scores >= min(least_score, self._chosen_score))[: self._chosen_most]
        return self._of_kept_classes(instances.select(enough))

    def _of_kept_classes(self, instances: Instances) -> Instances:
        if self._keep_ids is None:
            return instances
        return instances.select(np.isin(instances.class_ids, list(self._keep_ids)))

    def close(self) -> None:
        """Let the network go."""
        self._plan = self._plan_in_use
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    @property
    def _plan_in_use(self) -> EnginePlan:
        return self._engine.plan if self._engine is not None else self._plan


def segmenter_for(settings: Settings, steadying: TrackingSettings, info: SourceInfo, live: bool) -> MaskRCNNSegmenter:
    """The segmenter of a run.

    Args:
        settings: of the run.
        steadying: the settings of tracking that hold in it.
        info: the open source.
        live: whether the newest frame wins.

    Frames go through the network side by side only where every frame of a video counts: one frame by itself is faster
    on all cores, the frames between key frames wait for one result after the other, and pictures differ in size.
    """
    privacy, model = settings.privacy, settings.model
    wanted = [privacy.min_score if privacy.on else None, finding_score(steadying, info)]
    find_from = min((score for score in wanted if score is not None), default=None)
    workers = 1
    if not live and info.kind is SourceKind.RECORDED:
        workers = model.workers or (default_workers(model.batch_size) if settings.motion.infers_all else 1)
    return MaskRCNNSegmenter(model, find_from, workers)


def _read_file(path: Path, settings: ModelSettings) -> tuple[Any, tuple[str, ...]]:
    """The Config that a weight file asks for, the user's settings over it, and the class names. Loads no Keras.

    Raises:
        InputError: the file is no Mask R-CNN checkpoint, or the class names are not as many as its classes.
    """
    from mrcnn.weights.checkpoint import WeightsError, summarize
    from mrcnn.weights.metadata import class_names_from_metadata, config_from_metadata

    try:
        summary = summarize(path)
        names = class_names_from_metadata(summary.metadata) if summary.metadata else None
        if settings.labels is not None or names is None:
            labels = load_labels(settings.labels, summary.num_classes)
        else:
            labels = tuple(names)
        overrides = _overrides(settings)
        if summary.metadata is not None:
            return config_from_metadata(summary.metadata, **overrides), labels
        if summary.backbone is None:
            raise InputError(f"{path} has another backbone than ResNet-50 or ResNet-101, and does not say which")
        return _matterport_config(summary.num_classes, summary.backbone, overrides), labels
    except WeightsError as error:
        raise InputError(str(error)) from None


def _matterport_config(num_classes: int, backbone: str, overrides: dict[str, Any]) -> Any:
    """The original's defaults, for a file of the original's."""
    from mrcnn.config import Config

    settings = {"NAME": "stream", "NUM_CLASSES": num_classes, "BACKBONE": backbone, "GPU_COUNT": 1, "IMAGES_PER_GPU": 1}
    config = type("StreamConfig", (Config,), {**settings, **overrides})()
    config.validate()
    return config


def _overrides(settings: ModelSettings) -> dict[str, Any]:
    """What the user set, under the names that Config has for it."""
    named = {
        "IMAGE_MAX_DIM": settings.max_dim,
        "IMAGE_MIN_DIM": None if settings.max_dim is None else round(settings.max_dim * MIN_DIM_SHARE),
        "DETECTION_MIN_CONFIDENCE": settings.min_score,
        "DETECTION_NMS_THRESHOLD": settings.nms_threshold,
        "DETECTION_MAX_INSTANCES": settings.max_instances,
        "POST_NMS_ROIS_INFERENCE": settings.proposals,
    }
    return {name: value for name, value in named.items() if value is not None}
