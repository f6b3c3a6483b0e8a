"""Mask R-CNN as a segmenter: the only file of the pipeline that knows the network; its boxes become ours here."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.backend import BackendChoice, prepare_backend
from pipeline.canvas import CanvasFit, fit_canvas
from pipeline.errors import InputError
from pipeline.labels import load_labels, resolve_classes
from pipeline.records import Instances
from pipeline.segmenter import Segmenter
from pipeline.settings import ModelSettings
from pipeline.weights_file import find_weights

logger = logging.getLogger(__name__)

COCO_CLASSES = 81
"""Classes of a weight file that does not say: Matterport's COCO model, the background included."""


class MaskRCNNSegmenter(Segmenter):
    """Runs Mask R-CNN frame by frame.

    Args:
        settings: weights, labels, size, thresholds, device.

    Raises:
        InputError: weights or labels are missing or do not fit, or the backend or device is not there.
    """

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._weights = find_weights(settings.weights)
        self._backend: BackendChoice = prepare_backend(settings.backend, settings.device)
        self._config, file_labels = _read_config(self._weights.path)
        labels = load_labels(settings.labels, None) if settings.labels else file_labels
        self._labels: Sequence[str] = labels if labels is not None else load_labels(None, COCO_CLASSES)
        self._config.NUM_CLASSES = len(self._labels)
        self._max_dim = _apply(settings, self._config)
        self._keep_ids = resolve_classes(settings.classes, self._labels) if settings.classes else None
        self._detector: Any = None
        self._fit: CanvasFit | None = None

    @property
    def labels(self) -> Sequence[str]:
        """See `Segmenter.labels`."""
        return self._labels

    @property
    def description(self) -> str:
        """See `Segmenter.description`."""
        return (
            f"Mask R-CNN {self._config.BACKBONE}, {len(self._labels)} classes, {self._max_dim} px "
            f"{self._settings.canvas.value} canvas; {self._weights.path.name} ({self._weights.reason}); "
            f"Keras on {self._backend.backend.value}, {self._backend.device_name}"
        )

    def open(self) -> None:
        """Build the network and load the weights. Raises InputError when they do not fit."""
        from mrcnn.network.detector import Detector
        from mrcnn.network.network import MaskRCNNNetwork
        from mrcnn.weights import WeightsError, load_weights

        self._config.validate()
        network = MaskRCNNNetwork(self._config)
        try:
            load_weights(network, self._weights.path)
        except WeightsError as error:
            raise InputError(str(error)) from None
        self._detector = Detector(network)

    def segment(self, image_bgr: NDArray[np.uint8]) -> Instances:
        """See `Segmenter.segment`."""
        fit = self._fit
        if fit is None or fit.frame_hw != image_bgr.shape[:2]:
            height, width = image_bgr.shape[:2]
            fit = self._fit = fit_canvas(height, width, self._max_dim, self._settings.canvas)
        canvas_rgb = fit.place(image_bgr)
        raw = self._detector.detect_molded(canvas_rgb[None], np.array([fit.window]))[0]
        boxes_xyxy = fit.boxes_on_frame(raw.boxes_in_pixels(*fit.canvas_hw))
        keep = (boxes_xyxy[:, 2] > boxes_xyxy[:, 0]) & (boxes_xyxy[:, 3] > boxes_xyxy[:, 1])
        if self._keep_ids is not None:
            keep &= np.isin(raw.class_ids, list(self._keep_ids))
        return Instances(boxes_xyxy, raw.class_ids, raw.scores, raw.mask_probs).select(keep)

    def close(self) -> None:
        """Let the network go."""
        self._detector = None


def _read_config(path: Any) -> tuple[Any, tuple[str, ...] | None]:
    """The Config that a weight file asks for, and its class names if it carries them."""
    from mrcnn.config import Config
    from mrcnn.metadata import class_names_from_metadata, config_from_metadata
    from mrcnn.weights import WeightsError, read_metadata

    try:
        metadata = read_metadata(path)
        if metadata is None:
            return Config(), None
        names = class_names_from_metadata(metadata)
        return config_from_metadata(metadata), None if names is None else tuple(names)
    except WeightsError as error:
        raise InputError(str(error)) from None


def _apply(settings: ModelSettings, config: Any) -> int:
    """Put the user's settings over the weights' own; returns the longer side of the canvas in pixels."""
    if settings.max_dim is not None:
        config.IMAGE_MAX_DIM = settings.max_dim
    overrides = {
        "DETECTION_MIN_CONFIDENCE": settings.min_score,
        "DETECTION_NMS_THRESHOLD": settings.nms_threshold,
        "DETECTION_MAX_INSTANCES": settings.max_instances,
    }
    for name, value in overrides.items():
        if value is not None:
            setattr(config, name, value)
    return int(config.IMAGE_MAX_DIM)
