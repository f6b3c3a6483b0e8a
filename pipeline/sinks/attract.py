"""The attract screen: what a kiosk's window shows after nobody has been seen for a while."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.drawing.chips import draw_banner
from pipeline.labels import resolve_classes
from pipeline.privacy.redaction import read_picture, scale_to_fill
from pipeline.records import SegmentedFrame
from pipeline.settings.output_settings import AttractSettings

Image = NDArray[np.uint8]

_STALE_AFTER_S = 5.0
"""An older result does not say who is there now: the network hangs, or is too slow for an attract screen."""


class AttractScreen:
    """Decides frame by frame whether to show the attract screen, and draws it.

    Args:
        settings: the delay, the classes to look for, and what to show.
        labels: class names by class id.

    Raises:
        InputError: the model lacks one of the classes, or the picture cannot be read.
    """

    def __init__(self, settings: AttractSettings, labels: Sequence[str]) -> None:
        if settings.after_s is None:
            raise ValueError("AttractScreen needs after_s")
        self._after_s = settings.after_s
        self._text = settings.text
        self._class_ids = sorted(resolve_classes(settings.classes, labels, "attract.classes"))
        self._picture = read_picture("attract.picture", settings.picture) if settings.picture else None
        self._seen_at_s: float | None = None
        self._screen: Image | None = None

    def apply(self, segmented: SegmentedFrame, image_bgr: Image) -> Image:
        """Returns the image itself, or the attract screen in its size after results showed nobody for `after_s`.

        Without a recent result somebody may be there, so that the image itself is shown.

        Args:
            segmented: a presented frame; its capture time serves as the clock.
            image_bgr: uint8 (H, W, 3), what is shown otherwise.
        """
        now_s = segmented.frame.captured_at_s
        inferred_at_s = segmented.times.inference_started_at_s
        result_s = now_s if inferred_at_s is None else min(now_s, inferred_at_s)
        unknown = segmented.instances_index is None or now_s - result_s > _STALE_AFTER_S
        if self._seen_at_s is None or unknown or np.isin(segmented.instances.class_ids, self._class_ids).any():
            self._seen_at_s = now_s
        if result_s - self._seen_at_s < self._after_s:
            return image_bgr
        if self._picture is None:
            return _with_text(np.asarray(cv2.convertScaleAbs(image_bgr, alpha=0.45), np.uint8), self._text)
        if self._screen is None or self._screen.shape != image_bgr.shape:
            filled = scale_to_fill(self._picture, image_bgr.shape[0], image_bgr.shape[1])
            self._screen = _with_text(filled, self._text)
        return self._screen


def _with_text(image_bgr: Image, text: str) -> Image:
    if text:
        draw_banner(image_bgr, text)
    return image_bgr
