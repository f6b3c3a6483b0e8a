"""What Python programs get: the objects of one image together with the image, and `segment`, which finds them."""

from __future__ import annotations

import base64
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.drawing.masks import encode_mask, paste_mask
from pipeline.drawing.overlay import Overlay
from pipeline.errors import InputError
from pipeline.file_names import user_path
from pipeline.labels import class_name, plural
from pipeline.records import Image, Instances
from pipeline.segmentation.mask_rcnn_segmenter import MaskRCNNSegmenter
from pipeline.settings.model_settings import ModelSettings
from pipeline.settings.output_settings import OverlaySettings
from pipeline.settings.presentation_settings import BackgroundMode
from pipeline.settings.schema import Settings
from pipeline.sources.images import load_image

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ImageInstances(Instances):
    """The objects found in one image, together with the image. `select` gives some of them.

    Attributes:
        image_bgr: uint8 (H, W, 3), read-only: the image, redacted as the privacy settings say.
        labels: class names by class id; labels[0] is "BG".
        overlay: how `draw` draws, and from which probability on a pixel belongs to an object.
        min_score: `draw` shows no lower scores, which objects have that are lost for a moment.
    """

    image_bgr: Image = field(kw_only=True)
    labels: Sequence[str] = field(kw_only=True)
    overlay: OverlaySettings = field(kw_only=True, default=OverlaySettings())
    min_score: float = field(kw_only=True, default=0.0)

    @classmethod
    def of(
        cls,
        instances: Instances,
        image_bgr: Image,
        labels: Sequence[str],
        overlay: OverlaySettings,
        min_score: float = 0.0,
    ) -> ImageInstances:
        """Instances in the pixels of an image, with it."""
        fields = {name: getattr(instances, name) for name in Instances.__slots__}
        return cls(**fields, image_bgr=image_bgr, labels=labels, overlay=overlay, min_score=min_score)

    @property
    def names(self) -> list[str]:
        """The class name of each object."""
        return [class_name(class_id, self.labels) for class_id in self.class_ids.tolist()]

    def masks(self, height: int | None = None, width: int | None = None) -> NDArray[np.bool_]:
        """The pixels of each object: bool (N, height, width), by default of the image's size."""
        full_height, full_width = self.image_bgr.shape[:2]
        height, width = height or full_height, width or full_width
        scale = np.array([width / full_width, height / full_height] * 2, np.float32)
        masks = np.zeros((len(self), height, width), np.bool_)
        for mask, probs, box in zip(masks, self.mask_probs, self.boxes_xyxy * scale, strict=True):
            inside, y0, x0 = paste_mask(probs, box, height, width, self.overlay.mask_threshold)
            mask[y0 : y0 + inside.shape[0], x0 : x0 + inside.shape[1]] = inside
        return masks

    def to_coco(self, image_id: int = 0) -> list[dict[str, Any]]:
        """The objects as COCO results: image_id, category_id, bbox (x, y, width, height), score, segmentation (RLE)."""
        height, width = self.image_bgr.shape[:2]
        results = []
        for i, (x1, y1, x2, y2) in enumerate(self.boxes_xyxy.tolist()):
            inside, y0, x0 = paste_mask(
                self.mask_probs[i], self.boxes_xyxy[i], height, width, self.overlay.mask_threshold
            )
            results.append(
                {
                    "image_id": image_id,
                    "category_id": int(self.class_ids[i]),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": float(self.scores[i]),
                    "segmentation": encode_mask(inside, y0, x0, height, width),
                }
            )
        return results

    def to_supervision(self) -> supervision.Detections:
        """The objects for the package supervision, which has to be installed."""
        try:
            import supervision
        except ImportError:
            raise InputError("to_supervision needs the package supervision: pip install supervision") from None
        return supervision.Detections(
            xyxy=np.array(self.boxes_xyxy),
            mask=self.masks(),
            confidence=np.array(self.scores),
            class_id=self.class_ids.astype(int),
            tracker_id=None if self.track_ids is None else self.track_ids.astype(int),
            data={"class_name": np.array(self.names, str)},
        )

    def draw(self, image_bgr: Image | None = None) -> Image:
        """The image, or another one of its size, with masks and labels: a new uint8 (H, W, 3) BGR array.

        Raises:
            InputError: the other one is no such array.
        """
        if image_bgr is not None and (image_bgr.shape != self.image_bgr.shape or image_bgr.dtype != np.uint8):
            raise InputError(
                f"expected a uint8 array {self.image_bgr.shape}, as the image is, got {image_bgr.dtype} "
                f"{image_bgr.shape}"
            )
        return Overlay(self.overlay, self.labels, still=True, min_score=self.min_score).draw(
            self.image_bgr if image_bgr is None else image_bgr, self
        )

    def __repr__(self) -> str:
        height, width = self.image_bgr.shape[:2]
        counts = ", ".join(plural(count, name) for name, count in Counter(self.names).items())
        return f"<{counts or 'nothing'} in {width}x{height}>"

    def _repr_html_(self) -> str:
        """The drawing, for notebooks."""
        data = base64.b64encode(cv2.imencode(".jpg", self.draw())[1].tobytes()).decode("ascii")
        return f'<img style="max-width: 100%" alt="segmented image" src="data:image/jpeg;base64,{data}">'


_lock = threading.Lock()
_loaded: dict[ModelSettings, MaskRCNNSegmenter] = {}
"""The network that `segment` used last."""


def segment(
    image: str | Path | NDArray[np.uint8], settings: Settings | Mapping[str, Any] | None = None
) -> ImageInstances:
    """Find the objects in one image.

    The network stays loaded for the next call with the same `model` settings.

    Args:
        image: an image file, or uint8 (H, W, 3) in BGR order, as OpenCV reads it.
        settings: of which `model` and `overlay` count, or the same as a dictionary, such as
            {"model": {"weights": "coco-r50-v2", "min_score": 0.5}}.

    Raises:
        InputError: the image or the model cannot be used, or settings ask for privacy or a background, which need a
            `Stream`.
    """
    if not isinstance(settings, Settings):
        settings = Settings.model_validate(settings or {})
    if settings.privacy.on or settings.background.mode is not BackgroundMode.OFF:
        raise InputError("segment() neither redacts nor replaces backgrounds: use a Stream, which takes images too")
    image_bgr = load_image(user_path(str(image), "image")) if isinstance(image, str | Path) else image
    is_image = isinstance(image_bgr, np.ndarray) and image_bgr.dtype == np.uint8 and image_bgr.size > 0
    if not is_image or image_bgr.shape[2:] != (3,):
        got = f"{image_bgr.dtype} {image_bgr.shape}" if isinstance(image_bgr, np.ndarray) else type(image).__name__
        raise InputError(f"expected an image file or a uint8 array (H, W, 3) in BGR order, got {got}")
    if image_bgr is image:  # the caller may use the array for the next picture
        image_bgr = image_bgr.copy()
    image_bgr.flags.writeable = False
    with _lock:
        segmenter = _loaded.get(settings.model) or _load(settings.model)
        (found,) = segmenter.segment_batch([image_bgr])
    return ImageInstances.of(segmenter.detections.high(found), image_bgr, segmenter.labels, settings.overlay)


def _load(model: ModelSettings) -> MaskRCNNSegmenter:
    segmenter = MaskRCNNSegmenter.of(model)
    segmenter.open()
    for other in _loaded.values():
        other.close()
    _loaded.clear()
    _loaded[model] = segmenter
    return segmenter
