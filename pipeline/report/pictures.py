"""Pictures of moments, from a video that may be shown: the run's recording, or its source if there was no privacy."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from pipeline.errors import InputError, RunError
from pipeline.records import Image
from pipeline.report.statistics import Recording
from pipeline.settings.presentation_settings import PrivacyMode
from pipeline.sinks.recorder import FORMATS
from pipeline.sinks.recording_tag import tagged_privacy
from pipeline.sources.container import open_input
from pipeline.sources.video import VideoFile

JPEG_QUALITY = 80


@dataclass(frozen=True, slots=True)
class PictureSource:
    """A video from which pictures of a recording may be taken.

    Attributes:
        path: the video; None if none may be used.
        start_s: the video's time of the first frame of the detections, seconds.
        text: where the pictures come from, or why there are none.
    """

    path: Path | None
    start_s: float = 0.0
    text: str = ""

    def picture(self, at: float) -> Image | None:
        """The frame at a time from the first frame on, seconds; None if the video has none there, or is damaged."""
        if self.path is None:
            return None
        try:
            with VideoFile(self.path, start_s=max(0.0, self.start_s + at - 0.001)) as video:
                frame = video.read()
        except (InputError, RunError):
            return None
        return None if frame is None else frame.image_bgr


def find_pictures(
    recording: Recording, detections: Path, given: Path | None = None, required: bool = False
) -> PictureSource:
    """The video whose pictures a report of this recording may show.

    Recordings that the program wrote have a tag that says whether they are redacted. If the run was private, only a
    redacted one is used; if the detections do not say so, only a tagged one. Sources are used if privacy was off.

    Args:
        recording: the recording.
        detections: its detections file.
        given: the only video to consider; otherwise, it is searched beside the detections.
        required: whether the user gave it, with --video.

    Raises:
        InputError: the required video is no video, or must not be shown.
    """
    reasons = []
    for path in _candidates(recording, detections) if given is None else [given]:
        found = _usable(recording, path)
        if not isinstance(found, str):
            return found
        if required:
            raise InputError(f"--video {path}: {found}")
        reasons.append(f"{path.name}: {found}")
    nothing = "no video of this run is beside the detections; --video FILE names one"
    return PictureSource(None, text="; ".join(reasons) or nothing)


def _candidates(recording: Recording, detections: Path) -> Iterable[Path]:
    """The files that may be the run's recording or its source."""
    beside = [detections.with_suffix("")] + [detections.with_suffix(suffix) for suffix in FORMATS if suffix != ".gif"]
    source = Path(recording.source).name
    paths = [*beside, detections.parent / source, Path(source)]
    return dict.fromkeys(path for path in paths if path.suffix and path.is_file())


def _usable(recording: Recording, path: Path) -> PictureSource | str:
    """Pictures from a video, or why it must not be used."""
    try:
        with open_input(str(path.absolute())) as container:
            video = container.streams.video
            size_wh = (video[0].codec_context.width, video[0].codec_context.height) if video else (0, 0)
            privacy = tagged_privacy(container.metadata)
    except (av.FFmpegError, OSError, ValueError) as error:
        return f"it cannot be read as a video ({getattr(error, 'strerror', None) or error})"
    # A recording has even sides, and a source may be stored on its side.
    width, height = recording.size_wh
    if not any(abs(a - width) <= 1 and abs(b - height) <= 1 for a, b in (size_wh, size_wh[::-1])):
        return "its picture is {}x{}, that of the detections {}x{}".format(*size_wh, *recording.size_wh)
    asked = recording.run.privacy if recording.run is not None else None
    if asked is not PrivacyMode.OFF and asked is not None and privacy in (None, PrivacyMode.OFF):
        return f"the run redacted people (--privacy {asked.value}), but this is not its recording"
    if asked is None and privacy is None:
        return "the detections do not say whether people were to be redacted, so only the run's own recording is shown"
    if privacy is not None:
        return PictureSource(path, 0.0, f"pictures: {path.name}, which the run recorded")
    return PictureSource(path, recording.first_pts_s, f"pictures: {path.name}")


def jpeg_uri(image_bgr: Image, width: int) -> str:
    """A data: URI of the image, scaled down to a width in pixels."""
    height = max(1, round(image_bgr.shape[0] * width / image_bgr.shape[1]))
    if width < image_bgr.shape[1]:
        image_bgr = np.asarray(cv2.resize(image_bgr, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    encoded = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode('ascii')}"
