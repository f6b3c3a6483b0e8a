"""Background replacement: blurs everything behind the chosen objects, or replaces it by a color or a picture.

Shape letters: H, W frame height and width in pixels.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.drawing.masks import paste_mask
from pipeline.drawing.palette import parse_color
from pipeline.errors import InputError
from pipeline.file_names import user_path
from pipeline.labels import resolve_classes
from pipeline.privacy.anonymizer import coarsen
from pipeline.records import Instances
from pipeline.settings.presentation_settings import BackgroundMode, BackgroundSettings

Image = NDArray[np.uint8]
_MASK_THRESHOLD = 0.5


class Background:
    """Replaces the background of the chosen objects.

    Args:
        settings: the new background, and the classes in front of it.
        labels: class names by class id.

    Raises:
        InputError: the model does not have one of the classes, or the picture cannot be read.
    """

    def __init__(self, settings: BackgroundSettings, labels: tuple[str, ...]) -> None:
        self._settings = settings
        self._class_ids = sorted(resolve_classes(settings.classes, labels, "background.classes"))
        self._picture = _read(settings) if settings.mode is BackgroundMode.PICTURE else None
        self._cached: Image | None = None

    def replace(self, image_bgr: Image, instances: Instances) -> Image:
        """Composites the objects of the chosen classes over the new background.

        Args:
            image_bgr: uint8 (H, W, 3), not changed.
            instances: in pixels of the image; their opacity applies.

        Returns:
            uint8 (H, W, 3), a new array.
        """
        alpha = self._alpha(instances, image_bgr.shape[0], image_bgr.shape[1])
        background = self._background(image_bgr)
        return np.asarray(cv2.blendLinear(image_bgr, background, alpha, np.float32(1.0) - alpha), np.uint8)

    def _alpha(self, instances: Instances, height: int, width: int) -> NDArray[np.float32]:
        """float32 (H, W), 0 … 1: the alpha matte of the objects."""
        matte = np.zeros((height, width), np.uint8)
        for i in np.flatnonzero(np.isin(instances.class_ids, self._class_ids)):
            mask, y0, x0 = paste_mask(instances.mask_probs[i], instances.boxes_xyxy[i], height, width, _MASK_THRESHOLD)
            part = matte[y0 : y0 + mask.shape[0], x0 : x0 + mask.shape[1]]
            opacity = 1.0 if instances.opacity is None else float(instances.opacity[i])
            np.maximum(part, mask.view(np.uint8) * np.uint8(round(255 * opacity)), out=part)
        side = 2 * round(self._settings.edge * height) + 1
        soft = cv2.blur(matte, (side, side)) if side > 1 else matte
        return np.asarray(soft, np.float32) * np.float32(1 / 255)

    def _background(self, image_bgr: Image) -> Image:
        if self._settings.mode is BackgroundMode.BLUR:
            return coarsen(image_bgr, self._settings.cells, cv2.INTER_LINEAR)
        if self._cached is None or self._cached.shape != image_bgr.shape:
            if self._picture is None:
                self._cached = np.full(image_bgr.shape, parse_color(self._settings.color), np.uint8)
            else:
                self._cached = scale_to_fill(self._picture, image_bgr.shape[0], image_bgr.shape[1])
        return self._cached


def scale_to_fill(picture_bgr: Image, height: int, width: int) -> Image:
    """Scales a picture to fill a frame of this size, and crops it at the center."""
    scale = max(height / picture_bgr.shape[0], width / picture_bgr.shape[1])
    size_wh = (max(width, round(picture_bgr.shape[1] * scale)), max(height, round(picture_bgr.shape[0] * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = np.asarray(cv2.resize(picture_bgr, size_wh, interpolation=interpolation), np.uint8)
    x, y = (size_wh[0] - width) // 2, (size_wh[1] - height) // 2
    return np.ascontiguousarray(scaled[y : y + height, x : x + width])


def read_picture(setting: str, path: str) -> Image:
    """Reads a picture, uint8 (H, W, 3) BGR. Raises InputError, which names the setting."""
    try:
        data = np.frombuffer(user_path(path, setting).read_bytes(), np.uint8)
    except OSError as error:
        raise InputError(f"{setting}: cannot read {path}: {error.strerror or error}") from None
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise InputError(f"{setting}: {path} is not a readable picture; expected a file such as .jpg or .png")
    return np.asarray(image, np.uint8)


def _read(settings: BackgroundSettings) -> Image:
    if settings.picture is None:
        raise InputError("background.mode is picture: set background.picture to an image file")
    return read_picture("background.picture", settings.picture)
