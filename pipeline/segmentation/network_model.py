"""The network of a run: its weight file, the Config in it with the user's settings laid over, its class names."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mrcnn.config import min_dim_for
from pipeline.errors import InputError
from pipeline.labels import is_unused, load_labels, resolve_classes
from pipeline.segmentation.detection_filter import REPORT_MOST, DetectionFilter
from pipeline.segmentation.weights_file import WeightsChoice, coco_hint, find_weights
from pipeline.settings.model_settings import ModelSettings

if TYPE_CHECKING:
    from mrcnn.config import Config


@dataclass(frozen=True, slots=True)
class NetworkModel:
    """Everything that an engine is made of. Made by `read_model`.

    Attributes:
        settings: engine, precision, device, batch size.
        weights: the weight file and why it was chosen.
        config: the Config of its network.
        labels: class names by class id; labels[0] is "BG".
    """

    settings: ModelSettings
    weights: WeightsChoice
    config: Config
    labels: tuple[str, ...]

    def detection_filter(self, low_score: float | None = None, redaction_score: float | None = None) -> DetectionFilter:
        """The thresholds of the settings, or else of the weight file.

        Args:
            low_score: the tracker's low threshold; None where nothing below the high one continues a track.
            redaction_score: privacy needs detections of all classes from this score on; None where it is off.

        Raises:
            InputError: the settings name a class that the network does not have.
        """
        high = float(self.config.DETECTION_MIN_CONFIDENCE or 0.0)
        most = int(self.config.DETECTION_MAX_INSTANCES)
        low = high if low_score is None else min(low_score, high)
        needs_more = low_score is not None or redaction_score is not None
        report_most = max(most, REPORT_MOST) if needs_more else None
        complete_below = None
        if redaction_score is not None:
            # Several proposals compete for an object: half as many objects as proposals leave some without one. That
            # all proposals are used up says nothing: so they are in an empty frame.
            complete_below = min(report_most or most, max(1, int(self.config.POST_NMS_ROIS_INFERENCE) // 2))
        return DetectionFilter(
            high_score=high,
            low_score=low,
            max_instances=most,
            class_ids=resolve_classes(self.settings.classes, self.labels, "--classes (model.classes)")
            if self.settings.classes
            else self._named(),
            report_score=low if redaction_score is None else min(low, redaction_score),
            report_most=report_most,
            complete_below=complete_below,
        )

    def _named(self) -> frozenset[int] | None:
        """The classes that stand for something; None if all do."""
        named = frozenset(class_id for class_id, label in enumerate(self.labels) if class_id and not is_unused(label))
        return named if len(named) < len(self.labels) - 1 else None

    def reporting(self, detections: DetectionFilter) -> NetworkModel:
        """The same network, reporting what a filter needs."""
        config = copy.copy(self.config)
        config.DETECTION_MIN_CONFIDENCE = detections.report_score
        config.DETECTION_MAX_INSTANCES = detections.report_most or config.DETECTION_MAX_INSTANCES
        return replace(self, config=config)

    def for_camera(self, settings: ModelSettings) -> NetworkModel:
        """The same network with the thresholds and classes of other settings."""
        config = copy.copy(self.config)
        if settings.min_score is not None:
            config.DETECTION_MIN_CONFIDENCE = settings.min_score
        if settings.max_instances is not None:
            config.DETECTION_MAX_INSTANCES = settings.max_instances
        return replace(self, settings=settings, config=config)


def read_model(settings: ModelSettings) -> NetworkModel:
    """Find the weight file and read what it says of its network. Loads no framework.

    Raises:
        InputError: there is no weight file, it is no Mask R-CNN checkpoint, or the class names are not as many as its
            classes.
    """
    from mrcnn.weights.checkpoint import WeightsError, read_checkpoint

    weights = find_weights(settings.weights)
    try:
        checkpoint = read_checkpoint(weights.path)
        labels = checkpoint.class_names
        if settings.labels is not None:
            labels = load_labels(settings.labels, checkpoint.num_classes)
        if labels is None:
            raise InputError(
                f"{weights.path} has {checkpoint.num_classes} classes without names, and not as many as COCO: give "
                "--labels a file with one name per line, the background first"
            )
        return NetworkModel(settings, weights, checkpoint.config(_overrides(settings, checkpoint.config())), labels)
    except WeightsError as error:
        raise InputError(f"{error}. {coco_hint()}") from None


def _overrides(settings: ModelSettings, config: Config) -> dict[str, object]:
    """What the user set, under the names that Config has for it; the shorter side's share stays the file's."""
    named = {
        "IMAGE_MAX_DIM": settings.max_dim,
        "IMAGE_MIN_DIM": None if settings.max_dim is None else min_dim_for(config, settings.max_dim),
        "DETECTION_MIN_CONFIDENCE": settings.min_score,
        "DETECTION_NMS_THRESHOLD": settings.nms_threshold,
        "DETECTION_MAX_INSTANCES": settings.max_instances,
        "POST_NMS_ROIS_INFERENCE": settings.proposals,
    }
    return {name: value for name, value in named.items() if value is not None}
