"""The attract screen that a kiosk shows while nobody is there, and at its start."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import cv2
import numpy as np

from pipeline.drawing.panels import draw_title
from pipeline.errors import InputError, StreamSegmentError
from pipeline.file_names import user_path
from pipeline.labels import resolve_classes
from pipeline.privacy.redaction import read_picture, scale_to_fill
from pipeline.records import Frame, Image, SegmentedFrame
from pipeline.safe_uri import SourceUri
from pipeline.settings.output_settings import AttractSettings
from pipeline.settings.source_settings import SourceSettings
from pipeline.sources.base import Source
from pipeline.sources.factory import make_source
from pipeline.sources.images import decode_bgra

logger = logging.getLogger(__name__)

_STALE_AFTER_S = 5.0
"""An older result does not say who is there now: the network hangs, or is too slow for an attract screen."""
_DIMMED = 0.45
_PLAIN_BGR = (38, 28, 22)
"""Behind the text while there is neither picture nor camera."""
_ZOOM, _ZOOM_PERIOD_S = 0.06, 40.0
"""A picture is enlarged by up to this share, back and forth."""
_FLOAT, _FLOAT_PERIOD_S = 0.012, 6.0
"""The text moves up and down by this share of the height."""
_MAX_LAG_S = 0.3
"""A video that is later than this plays slower, rather than decoding many frames at once."""
_REOPEN_S = 10.0
"""Seconds until a video that cannot be read any more is tried again."""
_LOGO_WH = (0.5, 0.28)
"""Shares of the screen that the logo takes at most."""
_LOGO_TOP, _TEXT_CENTER, _TEXT_BELOW_LOGO = 0.1, 0.5, 0.66


class AttractTimer:
    """Decides frame by frame whether to show the attract screen.

    Args:
        settings: the delay, and the classes to look for.
        labels: class names by class id.

    Raises:
        InputError: the model lacks one of the classes.
    """

    def __init__(self, settings: AttractSettings, labels: Sequence[str]) -> None:
        if settings.after_s is None:
            raise ValueError("AttractTimer needs after_s")
        self._after_s = settings.after_s
        self._class_ids = sorted(resolve_classes(settings.classes, labels, "attract.classes"))
        self._seen_at_s: float | None = None

    def is_due(self, segmented: SegmentedFrame) -> bool:
        """Whether results have shown nobody for `after_s`. Without a recent result somebody may be there.

        Args:
            segmented: a presented frame; its capture time serves as the clock.
        """
        now_s = segmented.frame.captured_at_s
        inferred_at_s = segmented.times.inference_started_at_s
        result_s = now_s if inferred_at_s is None else min(now_s, inferred_at_s)
        unknown = segmented.instances_index is None or now_s - result_s > _STALE_AFTER_S
        if self._seen_at_s is None or unknown or np.isin(segmented.instances.class_ids, self._class_ids).any():
            self._seen_at_s = now_s
        return result_s - self._seen_at_s >= self._after_s


class AttractScreen:
    """Draws the attract screen: a video, a picture or what is behind it, a logo, text, all in gentle motion.

    Args:
        settings: what to show.

    Raises:
        InputError: the picture, the logo or the video cannot be read.
    """

    def __init__(self, settings: AttractSettings) -> None:
        self._text = settings.text
        self._picture = read_picture("attract.picture", settings.picture) if settings.picture else None
        self._logo = _read_logo(settings.logo) if settings.logo else None
        self._video = LoopedVideo(settings.video) if settings.video else None
        self._filled: Image | None = None
        self._scaled_logo: Image | None = None
        self._scaled_logo_for = (0, 0)

    def draw(self, size_wh: tuple[int, int], now_s: float, behind_bgr: Image | None, text: str | None = None) -> Image:
        """The screen at one moment.

        Args:
            size_wh: width and height in pixels.
            now_s: seconds on any clock that advances.
            behind_bgr: uint8 of that size, not changed: dimmed where there is neither video nor picture.
            text: replaces that of the settings.

        Returns:
            uint8 (height, width, 3), a new array.
        """
        canvas = self._background(size_wh, now_s, behind_bgr)
        has_logo = self._logo is not None
        if has_logo:
            self._draw_logo(canvas)
        height = size_wh[1]
        center = _TEXT_BELOW_LOGO if has_logo else _TEXT_CENTER
        offset = _FLOAT * math.sin(2 * math.pi * now_s / _FLOAT_PERIOD_S)
        draw_title(canvas, self._text if text is None else text, (center + offset) * height)
        return canvas

    def close(self) -> None:
        """Close the video."""
        if self._video is not None:
            self._video.close()

    def _background(self, size_wh: tuple[int, int], now_s: float, behind_bgr: Image | None) -> Image:
        width, height = size_wh
        if self._video is not None:
            return scale_to_fill(self._video.image_at(now_s), height, width)
        if self._picture is not None:
            if self._filled is None or self._filled.shape[:2] != (height, width):
                self._filled = scale_to_fill(self._picture, height, width)
            # From the middle, by a share that swings between 0 and _ZOOM.
            zoom = 1 + _ZOOM * (1 - math.cos(2 * math.pi * now_s / _ZOOM_PERIOD_S)) / 2
            matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 0, zoom)
            return np.asarray(cv2.warpAffine(self._filled, matrix, size_wh), np.uint8)
        if behind_bgr is not None:
            return np.asarray(cv2.convertScaleAbs(behind_bgr, alpha=_DIMMED), np.uint8)
        canvas = np.empty((height, width, 3), np.uint8)
        canvas[:] = _PLAIN_BGR
        return canvas

    def _draw_logo(self, canvas: Image) -> None:
        assert self._logo is not None
        height, width = canvas.shape[:2]
        if self._scaled_logo is None or self._scaled_logo_for != (height, width):
            most_wh = _LOGO_WH[0] * width, _LOGO_WH[1] * height
            scale = min(most / side for most, side in zip(most_wh, self._logo.shape[1::-1], strict=True))
            size_wh = [max(1, round(side * scale)) for side in self._logo.shape[1::-1]]
            interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            self._scaled_logo = np.asarray(cv2.resize(self._logo, size_wh, interpolation=interpolation), np.uint8)
            self._scaled_logo_for = height, width
        logo = self._scaled_logo
        x, y = (width - logo.shape[1]) // 2, round(_LOGO_TOP * height)
        region = canvas[y : y + logo.shape[0], x : x + logo.shape[1]]
        alpha = np.repeat(255 - logo[:, :, 3:], 3, axis=2)
        region[:] = cv2.add(cv2.multiply(region, alpha, scale=1 / 255), logo[:, :, :3])


class LoopedVideo:
    """The pictures of a video file that plays at its own speed, again and again.

    When the file is removed or replaced meanwhile, the last picture stays until it can be read again.

    Args:
        path: the file.

    Raises:
        InputError: it is no readable video file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._source: Source | None = None
        self._is_readable, self._reopen_s = True, -math.inf
        try:
            self._open()
        except InputError as error:
            raise InputError(f"attract.video: expected a video file: {error}") from None

    def image_at(self, now_s: float) -> Image:
        """The picture at a moment, uint8 (H, W, 3); the video continues there after a time without a call."""
        try:
            if self._source is None and now_s >= self._reopen_s:
                self._open()
                self._is_readable = True
            if self._source is not None:
                self._play(self._source, now_s)
        except StreamSegmentError as error:
            if self._is_readable:
                logger.warning("attract.video: %s; its last picture stays until it can be read again", error)
            self._is_readable = False
            self._reopen_s = now_s + _REOPEN_S
            self.close()
        return self._frame.image_bgr

    def close(self) -> None:
        """Close the file."""
        if self._source is not None:
            self._source.close()
            self._source = None

    def _open(self) -> None:
        source = make_source(SourceSettings(uri=SourceUri(str(user_path(self._path, "attract.video"))), loop=True))
        source.open()
        self._source, self._began_s = source, -math.inf
        self._frame = self._next = _read(source)

    def _play(self, source: Source, now_s: float) -> None:
        if now_s - self._began_s - self._next.pts_s > _MAX_LAG_S:
            self._began_s = now_s - self._next.pts_s
        while now_s - self._began_s >= self._next.pts_s:
            self._frame = self._next
            self._next = _read(source)


def _read(source: Source) -> Frame:
    frame = source.read()
    if frame is None:
        raise InputError("no frame can be read")
    return frame


def _read_logo(path: str) -> Image:
    """uint8 (H, W, 4) BGRA, colors premultiplied by alpha."""
    color = read_picture("attract.logo", path)
    file = user_path(path, "attract.logo")
    stored = decode_bgra(np.fromfile(file, np.uint8), file)
    if stored is None:
        return np.dstack([color, np.full(color.shape[:2], 255, np.uint8)])
    alpha = stored[:, :, 3:].astype(np.float32) / 255
    return np.dstack([np.floor(stored[:, :, :3] * alpha).astype(np.uint8), stored[:, :, 3]])
