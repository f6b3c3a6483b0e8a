"""Redaction: the step between inference and everything that shows, stores or serves frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.privacy.anonymizer import Anonymizer
from pipeline.privacy.background import Background
from pipeline.records import SegmentedFrame
from pipeline.settings.privacy_settings import BackgroundMode
from pipeline.settings.schema import Settings


class Redactor:
    """Redacts the frames of a run, in order: replaces the background, then anonymizes.

    Args:
        background, anonymizer: None to leave that step out.
    """

    def __init__(self, background: Background | None, anonymizer: Anonymizer | None) -> None:
        self._background = background
        self._anonymizer = anonymizer

    def apply(self, segmented: SegmentedFrame) -> SegmentedFrame:
        """The frame that may be shown. It holds no reference to what it redacts."""
        image = segmented.frame.image_bgr
        if self._background is not None:
            image = self._background.replace(image, segmented.instances)
        if self._anonymizer is not None:
            image = self._anonymizer.apply(segmented, image)
        if image is segmented.frame.image_bgr:
            return replace(segmented, finding=None)
        return replace(segmented, frame=replace(segmented.frame, image_bgr=image), finding=None)


def make_redactor(settings: Settings, labels: Sequence[str]) -> Redactor:
    """The redactor for the settings. Raises InputError: a class or picture does not exist."""
    names = tuple(labels)
    has_background = settings.background.mode is not BackgroundMode.OFF
    background = Background(settings.background, names) if has_background else None
    return Redactor(background, Anonymizer(settings.privacy, names) if settings.privacy.on else None)
