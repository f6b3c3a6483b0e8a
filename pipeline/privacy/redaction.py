"""What lies over a frame before anything is drawn on it: another background, and the privacy cover on top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.privacy.background import Background
from pipeline.privacy.cover import Privacy
from pipeline.records import SegmentedFrame
from pipeline.settings.privacy_settings import BackgroundMode
from pipeline.settings.schema import Settings


class Veil:
    """Changes the frames of a run, in order, before anybody outside the stream sees them.

    Args:
        background, privacy: None for none.
    """

    def __init__(self, background: Background | None, privacy: Privacy | None) -> None:
        self._background = background
        self._privacy = privacy

    def over(self, segmented: SegmentedFrame) -> SegmentedFrame:
        """The same frame as it may be seen. Nothing in what is returned leads back to the frame as it was captured."""
        image = segmented.frame.image_bgr
        if self._background is not None:
            image = self._background.replace(image, segmented.instances)
        if self._privacy is not None:
            image = self._privacy.cover(segmented, image)
        if image is segmented.frame.image_bgr:
            return replace(segmented, finding=None)
        return replace(segmented, frame=replace(segmented.frame, image_bgr=image), finding=None)


def make_veil(settings: Settings, labels: Sequence[str]) -> Veil:
    """The veil that the settings ask for. Raises InputError: a class or picture is not there."""
    names = tuple(labels)
    has_background = settings.background.mode is not BackgroundMode.OFF
    background = Background(settings.background, names) if has_background else None
    return Veil(background, Privacy(settings.privacy, names) if settings.privacy.on else None)
