"""What lies over a frame before anything is drawn on it: another background, and the privacy cover on top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.privacy.background import Background
from pipeline.privacy.cover import Privacy
from pipeline.records import SegmentedFrame, UnredactedFrame
from pipeline.settings.privacy_settings import BackgroundMode
from pipeline.settings.schema import Settings


class Redactor:
    """Changes the frames of a run, in order, before anybody outside the stream sees them.

    Args:
        background, privacy: None for none.
    """

    def __init__(self, background: Background | None, privacy: Privacy | None) -> None:
        self._background = background
        self._privacy = privacy

    def apply(self, captured: UnredactedFrame) -> SegmentedFrame:
        """The frame as it may be seen. Nothing in what is returned leads back to the frame as it was captured."""
        image = captured.frame.image_bgr
        if self._background is not None:
            image = self._background.replace(image, captured.instances)
        if self._privacy is not None:
            image = self._privacy.cover(captured, image)
        frame = captured.frame if image is captured.frame.image_bgr else replace(captured.frame, image_bgr=image)
        return SegmentedFrame(frame, captured.instances, captured.instances_index, captured.times)


def make_redactor(settings: Settings, labels: Sequence[str]) -> Redactor:
    """The redactor for these settings. Raises InputError: a class or picture is not there."""
    names = tuple(labels)
    has_background = settings.background.mode is not BackgroundMode.OFF
    background = Background(settings.background, names) if has_background else None
    return Redactor(background, Privacy(settings.privacy, names) if settings.privacy.on else None)
