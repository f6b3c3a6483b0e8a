"""Redaction: the step between inference and everything that shows, stores or serves frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.privacy.anonymizer import Anonymizer
from pipeline.privacy.background import Background
from pipeline.records import SegmentedFrame, UnredactedFrame
from pipeline.settings.presentation_settings import BackgroundMode
from pipeline.settings.schema import Settings


class Redactor:
    """Redacts the frames of a run, in order: replaces the background, then anonymizes.

    Args:
        background, anonymizer: None to leave that step out.
    """

    def __init__(self, background: Background | None, anonymizer: Anonymizer | None) -> None:
        self._background = background
        self._anonymizer = anonymizer

    def apply(self, captured: UnredactedFrame) -> SegmentedFrame:
        """The frame as it may be shown. Nothing in the result leads back to the captured pixels."""
        image = captured.frame.image_bgr
        if self._background is not None:
            image = self._background.replace(image, captured.instances)
        if self._anonymizer is not None:
            image = self._anonymizer.apply(captured, image)
        frame = captured.frame if image is captured.frame.image_bgr else replace(captured.frame, image_bgr=image)
        return SegmentedFrame(frame, captured.instances, captured.instances_index, captured.times)


def make_redactor(settings: Settings, labels: Sequence[str]) -> Redactor:
    """The redactor for the settings. Raises InputError: a class or picture does not exist."""
    names = tuple(labels)
    has_background = settings.background.mode is not BackgroundMode.OFF
    background = Background(settings.background, names) if has_background else None
    return Redactor(background, Anonymizer(settings.privacy, names) if settings.privacy.on else None)
